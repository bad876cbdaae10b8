"""Results of several machines as one folder: the union of cells, and what several hold held against each other."""

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
import without_torch
from click.testing import CliRunner

import initbench as ib
from initbench.analysis.union import united
from initbench.cli import main
from initbench.core.errors import UsageError, WorkError

GRID = ["--set=activation=relu", "--set=optimizer=sgd", "--set=momentum=0.9", "--set=nesterov=false", "--set=steps=10",
        "--set=width=8", "--set=depth=1", "--set=batch_size=32", "--set=record_every=5"]  # fmt: skip


LACKS = "together they lack he_normal with tanh, and a study has every initializer with every activation"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def trained(run, out, *settings):
    rates = [] if any(setting.startswith("lr=") for setting in settings) else ["lr=0.1,0.01"]
    told = [f"--set={setting}" for setting in (*rates, *settings)]
    done = run("train-grid", *GRID, *told, "--no-figures", f"--out={out}")
    assert done.exit_code == 0, done.output


def propagated(run, out, *inits, activations=("relu",)):
    names = [*(f"--init={init}" for init in inits), *(f"--activation={name}" for name in activations)]
    done = run("variance", *names, "--depth=2", "--width=8", "--seeds=3", "--batch=4", "--no-figures", f"--out={out}")
    assert done.exit_code == 0, done.output


def same_rows(found, wanted):
    """Whatever their order; times, and how a run went about its work, apart."""
    own = ["stack_size", "device", *(name for name in wanted if name.endswith("seconds"))]
    left, right = (table.drop(columns=own, errors="ignore") for table in (found, wanted))
    by = [name for name in ("cell_id", "init", "activation", "law", "seed", "step", "layer") if name in left]
    left, right = (table.sort_values(by).reset_index(drop=True) for table in (left, right))
    pd.testing.assert_frame_equal(left, right[list(left)], rtol=1e-5, atol=1e-5)


def test_a_grid_split_by_initializer_and_seed_is_the_whole_one(run):
    trained(run, "he", "init=he", "seeds=2")
    trained(run, "xavier", "init=xavier", "seeds=[0]")
    trained(run, "rest", "init=xavier", "seeds=[1]")
    trained(run, "whole", "init=he,xavier", "seeds=2")
    done = run("merge", "he", "xavier", "rest", "--out=all")
    assert (done.exit_code, done.stderr) == (0, "")
    both, whole = ib.load("all"), ib.load("whole")
    for table in ("runs", "curves", "layer_curves"):
        same_rows(both.table(table), whole.table(table))
    for key in ("seeds", "compare", "fix"):
        assert both.study[key] == whole.study[key]
    assert "exclude" not in both.study
    assert both.manifest["cells"] == both.manifest["trainings"] == 8


def test_cells_that_no_folder_has_are_excluded_by_the_study(run):
    trained(run, "a", "init=he", "seeds=3")
    trained(run, "b", "init=he,xavier", "lr=0.01", "seeds=2")
    assert run("merge", "a", "b", "--out=c").exit_code == 0
    study = ib.load("c").study
    cells = ib.Study(**{name: value for name, value in study.items() if name != "kind"}).cells()
    assert sorted((cell.init, cell.lr, cell.seed) for cell in cells) == sorted(
        [("he_normal", lr, seed) for lr in (0.1, 0.01) for seed in range(3)]
        + [("xavier_normal", 0.01, seed) for seed in range(2)]
    )
    assert run("verify", "c", "--runs=1", "--check").exit_code == 0


def test_the_merged_folder_is_a_results_folder(run):
    trained(run, "a", "init=he")
    trained(run, "b", "init=xavier")
    assert run("merge", "a", "b", "--out=c").exit_code == 0
    assert "cells      8" in run("status", "c").output
    assert run("status", "c", "--check").exit_code == 0
    assert run("compare", "c", "--by=init", "--no-figures").exit_code == 0
    assert run("report", "c").exit_code == 0
    assert run("export", "c", "--to=csv").exit_code == 0
    assert run("reproduce", "c").exit_code == 0
    told = ib.load("c").manifest["merged"]
    assert [(each["folder"], each["key"]) for each in told] == [(n, ib.load(n).manifest["key"]) for n in ("a", "b")]
    before = {path: path.read_bytes() for path in Path("c").glob("*.parquet")}
    assert run("merge", "a", "b", "--out=c").exit_code == 0
    assert {path: path.read_bytes() for path in Path("c").glob("*.parquet")} == before


def test_verdicts_are_judged_anew_over_all_pairings(run):
    propagated(run, "a", "he", activations=("relu", "tanh"))
    propagated(run, "b", "xavier", activations=("relu", "tanh"))
    propagated(run, "whole", "he", "xavier", activations=("relu", "tanh"))
    assert run("merge", "a", "b", "--out=c").exit_code == 0
    both, whole = ib.load("c"), ib.load("whole")
    for table in ("layers", "predictions", "residuals"):
        same_rows(both.table(table), whole.table(table))
    pd.testing.assert_frame_equal(*(found.verdicts.sort_values(["init", "activation", "direction"], ignore_index=True)
                                    for found in (both, whole)), rtol=1e-4)  # fmt: skip
    assert both.study == whole.study


def changed(folder, column, change):
    path = Path(folder) / "runs.parquet"
    runs = pd.read_parquet(path)
    runs[column] = change(runs[column])
    runs.to_parquet(path)


def test_a_conflict_is_told_by_cell_and_column_and_nothing_is_written(run):
    trained(run, "a", "init=he")
    trained(run, "b", "init=he,xavier")
    changed("b", "test_loss", lambda values: values * 1.01)
    done = run("merge", "a", "b", "--out=c")
    runs = ib.load("a").runs
    first = f"name {runs.name[0]}, seed {runs.seed[0]}, cell_id {runs.cell_id[0]}"
    assert done.exit_code == 1
    assert done.stderr == ("Note: b/runs.parquet is not as it was written\n"
                           f"Error: b differs from those before it: runs test_loss, {first}; nothing was written;"
                           " --keep first or --keep last says whose is taken\n")  # fmt: skip
    assert not Path("c").exists()
    with pytest.raises(WorkError, match="b differs from those before it: runs test_loss"):
        ib.merge(["a", "b"], "c")
    for keep, whose in (("first", "a"), ("last", "b")):
        assert run("merge", "a", "b", f"--out={keep}", f"--keep={keep}").exit_code == 0
        kept = ib.load(keep).runs.set_index("cell_id").test_loss
        wanted = ib.load(whose).runs.set_index("cell_id").test_loss
        assert (kept[runs.cell_id] == wanted[runs.cell_id]).all()
        assert ib.load(keep).manifest["conflicts"] == 1


def test_a_difference_of_rounding_is_told_and_allowed(run):
    trained(run, "a", "init=he")
    trained(run, "b", "init=he,xavier")
    changed("b", "test_loss", lambda values: values * (1 + 1e-6))
    done = run("merge", "a", "b", "--out=c")
    assert done.exit_code == 0
    assert "within tolerance" in done.output


def test_a_run_that_failed_gives_way_to_one_that_did_not(run):
    trained(run, "a", "init=he")
    trained(run, "b", "init=he")
    changed("a", "status", lambda values: ["failed", *values[1:]])
    changed("a", "test_loss", lambda values: [float("nan"), *values[1:]])
    for order in itertools.permutations("ab"):
        out = "".join(order)
        assert run("merge", *order, f"--out={out}").exit_code == 0
        merged = ib.load(out)
        assert set(merged.runs.status) == {"finished"}
        assert merged.runs.test_loss.notna().all()
        assert len(merged.curves) == len(ib.load("b").curves)


def told_otherwise(folder, **entries):
    path = Path(folder) / "manifest.json"
    told = json.loads(path.read_text()) | entries
    told.pop("seal", None)
    path.write_text(json.dumps(told))


def test_other_versions_are_told_and_other_data_is_refused(run):
    trained(run, "a", "init=he")
    trained(run, "b", "init=xavier")
    versions = ib.load("b").manifest["versions"]
    told_otherwise("b", versions={**versions, "torch": "2.0.0"})
    done = run("merge", "a", "b", "--out=c")
    assert (done.exit_code, done.stderr) == (0, f"Note: torch: {versions['torch']} and 2.0.0\n")
    manifest = ib.load("c").manifest
    assert "torch" not in manifest["versions"]
    assert [each["versions"]["torch"] for each in manifest["merged"]] == [versions["torch"], "2.0.0"]
    told_otherwise("b", data={"digits": "0000000000000000"})
    done = run("merge", "a", "b", "--out=d")
    assert (done.exit_code, done.stderr) == (2, "Error: the data set digits is another in b than in a\n")


def test_what_cannot_be_merged_gets_one_line(run):
    trained(run, "t", "init=he")
    propagated(run, "he", "he")
    propagated(run, "tanh", "xavier", activations=("tanh",))
    Path("several").mkdir()
    propagated(run, "several/one", "he")
    for folders, message in [
        (["t"], "give two folders or more to be merged"),
        (["t", "t"], "give two folders or more to be merged"),
        (["t", "he"], "results of one kind can be merged, not of train and variance"),
        (["t", "nowhere"], "nowhere holds no results: there is no manifest.json"),
        (["t", "several"], "several holds several results; merge them one by one, as several/one"),
        (["he", "tanh"], LACKS),
    ]:
        done = run("merge", *folders, "--out=c")
        assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")
        assert not Path("c").exists()


@pytest.mark.parametrize(("change", "message"), [
    ({"widths": [4, 8]}, r"the studies differ in widths: \[4, 4\] and \[4, 8\]; such results are not of one study"),
    ({"kind": "phase"}, "results of one kind can be merged, not of variance and phase"),
])  # fmt: skip
def test_studies_of_other_networks_are_not_one(change, message):
    study = {"kind": "variance", "init": ["he_normal"], "activation": ["relu"], "widths": [4, 4], "seeds": 2}
    with pytest.raises(UsageError, match=message):
        united([study, {**study, **change}])


def test_a_study_that_is_made_as_one_is_merged_with_the_very_same_alone():
    study = {"kind": "landscape", "question": "a", "compare": {"init": ["he_normal"]}}
    assert united([study, {**study, "question": "b"}]) == study
    with pytest.raises(UsageError, match="a study of kind landscape is made as one: merge results of the very same"):
        united([study, {**study, "compare": {"init": ["zeros"]}}])


def test_a_factor_that_one_study_chooses_is_chosen_in_all():
    one = {"kind": "train", "name": "one", "seeds": 1, "compare": {}, "tune": {"lr": [0.1, 0.2]}, "fix": {"depth": 1}}
    other = {"kind": "train", "name": "two", "seeds": 1, "compare": {}, "tune": {}, "fix": {"lr": 0.3, "depth": 2}}
    found = united([one, other])
    assert (found["tune"], found["compare"], found["fix"]) == ({"lr": [0.1, 0.2, 0.3]}, {"depth": [1, 2]}, {})
    assert found["exclude"] == [{"lr": [0.1, 0.2], "depth": [2]}, {"lr": [0.3], "depth": [1]}]


def test_results_are_merged_where_no_torch_is_installed(run, tmp_path):
    propagated(run, "a", "he")
    propagated(run, "b", "xavier")
    without_torch.run("import initbench as ib; ib.merge(['a', 'b'], 'c')", cwd=tmp_path)
    assert len(ib.load("c").verdicts) == 4
