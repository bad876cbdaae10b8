"""Results that anyone may have made: a table that is not as ours are is told in one line, by its file and column."""

import json
import math
import shutil
from pathlib import Path

import page_results as made
import pandas as pd
import pytest
from click.testing import CliRunner

import initbench as ib
from initbench.analysis.results import Results
from initbench.cli import main

ASSETS = Path(__file__).parent / "assets" / "results-0.1.0"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "variance"):
        shutil.copytree(ASSETS / name, name)
        shutil.copytree(ASSETS / name, f"whole/{name}")
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


def change(path, alter):
    alter(pd.read_parquet(path)).to_parquet(path, index=False)


READERS = {
    "train/runs": [["report", "train"], ["compare", "train", "--by=optimizer"], ["verify", "train", "--runs=1"],
                   ["reproduce", "train", "--runs=1"], ["merge", "train", "whole/train", "--out=both"],
                   ["status", "train"], ["export", "train", "--to=csv"]],
    "variance/layers": [["report", "variance"], ["compare", "variance", "--by=init"], ["reproduce", "variance"],
                        ["merge", "variance", "whole/variance", "--out=both"],
                        ["export", "variance", "--to=tensorboard"],
                        ["variance", "--init=he", "--activation=relu", "--depth=2", "--width=3", "--seeds=1",
                         "--batch=2", "--baseline=variance", "--no-figures"]],
}  # fmt: skip
LACKING = {"train/runs": "cell_id", "variance/layers": "layer"}


@pytest.mark.parametrize(("table", "words"), [(table, words) for table, each in READERS.items() for words in each],
                         ids=lambda given: given if isinstance(given, str) else given[0])  # fmt: skip
def test_a_table_that_lacks_a_column_is_named_with_it(run, table, words):
    column = LACKING[table]
    change(f"{table}.parquet", lambda rows: rows.drop(columns=column))
    done = run(*words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.output
    assert f"{table}.parquet" in done.stderr
    if words[0] != "status":  # which is told by its digest
        assert done.stderr.startswith(f"Error: {table}.parquet is not one of ours: it lacks the column '{column}'")


@pytest.mark.parametrize(("alter", "told"), [
    (lambda rows: rows.assign(seed="one"), "the column 'seed' should hold a whole number in each row"),
    (lambda rows: rows.assign(init=None), "the column 'init' should hold a word in each row"),
    (lambda rows: rows.assign(test_accuracy="high"), "the column 'test_accuracy' should hold numbers"),
    (lambda rows: rows.assign(width=[[1]] * len(rows)), "the column 'width' should hold words or numbers"),
    (lambda rows: rows.assign(width=[math.nan, *rows["width"][1:]]), "the column 'width' should hold a level in each "
                                                                     "row"),
    (lambda rows: rows.assign(loss=[None, *rows["loss"][1:]]), "the column 'loss' should hold a level in each row"),
    (lambda rows: pd.concat([rows, rows]), "two rows of it are of one cell_id"),
    (lambda rows: rows.iloc[:0], "it has no rows"),
])  # fmt: skip
def test_what_a_column_holds_is_told(run, alter, told):
    change("train/runs.parquet", alter)
    done = run("report", "train")
    assert (done.stderr, done.exit_code) == (f"Error: train/runs.parquet is not one of ours: {told}\n", 1)
    assert not Path("reports").exists()


def test_a_bin_without_an_end_is_told(run):
    change("variance/histograms.parquet", lambda rows: rows.assign(low=[math.nan, *rows["low"][1:]]))
    done = run("report", "variance")
    told = "Error: variance/histograms.parquet is not one of ours: the column 'low' should hold a number in each row\n"
    assert (done.stderr, done.exit_code) == (told, 1)


@pytest.mark.parametrize(("alter", "told"), [
    (lambda rows: rows.assign(word="word"), "the column 'word' should hold "),
    (lambda rows: rows.iloc[:1], "a pairing should have a row forward and one backward"),
])  # fmt: skip
def test_what_verdicts_lack_is_told(run, alter, told):
    change("variance/verdicts.parquet", alter)
    done = run("report", "variance")
    assert done.stderr.startswith(f"Error: variance/verdicts.parquet is not one of ours: {told}")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)


def test_growths_beyond_all_numbers_are_told_as_infinite(run):
    change("variance/verdicts.parquet", lambda rows: rows.assign(measured_growth=10**18, measured_growth_se=10**18))
    done = run("report", "variance")
    assert done.exit_code == 0, done.output
    assert "±∞ %" in Path("reports/variance/report.html").read_text(encoding="utf-8")


def test_curves_without_a_loss_are_not_drawn(tmp_path, run):
    fix = {"depth": 1, "width": 4, "steps": 4, "record_every": 1}
    made_of = ib.run(ib.Study(compare={"init": ["he", "zeros"]}, fix=fix, seeds=2), tmp_path / "bare")
    change(made_of.folder / "curves.parquet", lambda rows: rows.assign(train_loss=None, val_loss=None))
    done = run("report", made_of.folder)
    assert done.exit_code == 0, done.output
    assert not Path("reports/bare/learning_curves.png").exists()


def test_where_every_run_failed_the_numbers_are_missing_and_the_page_says_so(tmp_path, run):
    out = made.training(tmp_path / "lost", **{**made.FEW, "lr": [0.1]})
    nothing = dict.fromkeys(["train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"])
    change(out / "runs.parquet", lambda rows: rows.assign(status="failed", note="no memory", **nothing))
    done = run("report", out)
    assert done.exit_code == 0, done.output
    assert Results(out).runs["test_loss"].dtype == float
    assert "36 failed" in Path("reports/lost/report.html").read_text(encoding="utf-8")


def test_runs_that_failed_are_told_and_are_none_that_did_not_diverge(tmp_path, run):
    out = made.training(tmp_path / "some", **{**made.FEW, "lr": [0.1], "activation": ["relu"]})
    change(out / "runs.parquet", lambda rows: rows.assign(
        status=rows["status"].mask(rows["seed"].eq(1) & rows["init"].eq("ones"), "failed"),
        test_accuracy=rows["test_accuracy"].mask(rows["seed"].eq(1) & rows["init"].eq("ones"))))  # fmt: skip
    done = run("compare", out, "--by=init", "--no-figures")
    assert (done.stderr, done.exit_code) == ("Note: of 12 runs 1 failed: they have no number\n", 0)
    assert "ones undecided (1 seeds without a number)" in done.stdout
    rates = run("compare", out, "--by=init", "--table=divergence", "--format=csv").stdout.splitlines()
    table = pd.DataFrame([line.split(",") for line in rates[1:]], columns=rates[0].split(",")).set_index("level")
    assert dict(table["n"].astype(int)) == {**dict.fromkeys(made.LEVELS["init"], 2), "ones": 1}


def test_a_baseline_that_cannot_be_compared_is_one_line_also_where_results_were_replaced(run):
    words = ["variance", "--init=he", "--activation=relu", "--width=3", "--seeds=2", "--batch=2", "--no-figures"]
    assert run(*words, "--depth=2").exit_code == 0
    done = run(*words, "--depth=3", "--baseline=whole/variance")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: the baseline has none of these pairings, or another depth: there is nothing to compare\n"
    )
    assert run(*words, "--depth=2").stderr == "The results of another study in results/variance were replaced.\n"


def test_two_figures_of_one_name_are_refused(run):
    signal = 'kind = "variance"\ninit = "he"\nactivation = "relu"\ndepth = 2\nwidth = 3\nbatch = 2\nseeds = 1\n'
    Path("study.toml").write_text(signal + '[[figure]]\nmeasure = "growth"\nx = "init"\n' * 2)
    done = run("run", "study.toml")
    message = "2 figures are called 'relation'; each needs a name of its own"
    assert (done.stderr, done.stdout, done.exit_code) == (f"Error: study.toml: {message}\n", "", 2)
    assert not Path("results").exists()


def test_parts_that_lack_what_where_says_are_left_out_and_told(run):
    done = run("export", "whole", "--to=csv", "--into=exports", "--where=optimizer=sgd")
    assert done.exit_code == 0, done.output
    assert {path.name for path in Path("exports").iterdir() if path.suffix != ".lock"} >= {"train"}
    assert not Path("exports/variance").exists()
    assert "Without: whole/variance has no factor 'optimizer'" in done.stdout
    nowhere = run("export", "whole", "--to=csv", "--where=optimizer=nothing")
    assert (nowhere.exit_code, nowhere.stdout, nowhere.stderr.count("\n")) == (2, "", 1)


def test_tables_beyond_memory_are_refused_before_they_are_made(run, monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**30 // 4096}
    monkeypatch.setattr("initbench.datasets.fitness.os.sysconf", pages.__getitem__)
    monkeypatch.setattr("initbench.grid.variance.predicted", lambda *_: pytest.fail("computed"))
    done = run("predict", "--depth=100000")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert "rows: needs about " in done.stderr
    done = run("variance", "--depth=100", "--width=3", "--seeds=100000")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert not Path("results").exists()


@pytest.fixture
def trained(tmp_path):
    study = ib.Study(compare={"init": ["he", "xavier"]}, fix={"width": 8, "steps": 5, "activation": "relu"}, seeds=2)
    return ib.run(study, tmp_path / "out").folder


READING = [["compare", "--by=init", "--no-figures"], ["report"], ["export", "--to=csv"], ["verify", "--runs=1"]]


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_who_reads_a_table_that_was_changed_is_told(trained, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    untouched = CliRunner().invoke(main, [command[0], str(trained), *command[1:]])
    assert (untouched.exit_code, "not as it was written" in untouched.stderr) == (0, False), untouched.output
    table = pd.read_parquet(trained / "runs.parquet")
    table.assign(test_accuracy=0.99).to_parquet(trained / "runs.parquet")
    found = CliRunner().invoke(main, [command[0], str(trained), *command[1:]])
    assert found.exit_code == 0
    assert f"Note: {trained}/runs.parquet is not as it was written\n" in found.stderr


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_a_manifest_that_was_changed_vouches_for_no_table_and_is_told(trained, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    told = (trained / "manifest.json").read_text()
    assert '"tables"' in told
    (trained / "manifest.json").write_text(told.replace('"cells": 4', '"cells": 5'))
    found = CliRunner().invoke(main, [command[0], str(trained), *command[1:]])
    assert found.exit_code == 0
    assert f"Note: {trained}/manifest.json is not one of ours, or damaged\n" in found.stderr


def test_a_table_that_was_changed_is_told_where_it_is_merged(run):
    change("train/runs.parquet", lambda rows: rows)  # written by another version of Parquet
    done = run("merge", "train", "whole/train", "--out=both")
    assert done.exit_code == 0, done.output
    assert "Note: train/runs.parquet is not as it was written\n" in done.stderr


@pytest.mark.parametrize("command", [*READING, ["reproduce"], ["merge", "whole", "--out=both"], ["status"]],
                         ids=lambda command: command[0])  # fmt: skip
def test_a_newer_versions_folder_is_refused_by_who_reads_it(trained, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "whole")
    told = json.loads((trained / "manifest.json").read_text())
    del told["seal"]
    (trained / "manifest.json").write_text(json.dumps({**told, "layout": 99}))
    found = CliRunner().invoke(main, [command[0], str(trained), *command[1:]])
    message = f"Error: {trained} was made by a newer version of initbench; use that\n"
    assert (found.exit_code, found.stderr) == (1, message)


def test_verify_names_the_plugin_that_is_not_there(trained):
    told = json.loads((trained / "manifest.json").read_text())
    del told["seal"]
    (trained / "manifest.json").write_text(json.dumps({**told, "plugins": {"initializer mine": "0123"}}))
    found = CliRunner().invoke(main, ["verify", str(trained)])
    assert found.exit_code == 2
    assert "the results rest on a plug-in that is not there: initializer mine; give its file" in found.stderr
