"""Study files and results are anyone's: no code runs from them, no path leaves the folder, no markup is believed."""

import ast
import json
import pickle
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import page_results
import pandas as pd
import pytest
from click.testing import CliRunner

import initbench
from initbench.analysis.page import html
from initbench.analysis.page.answers import Answer
from initbench.analysis.page.provenance import again
from initbench.analysis.results import Results
from initbench.cli import main
from initbench.core.errors import UsageError, WorkError
from initbench.datasets import DATASETS

PACKAGE = Path(initbench.__file__).parent
ELSEWHERE = ["../../x", "/tmp/x", "a/b", "..", ".", "", "a\x00b", "a\nb", "-rf", "~", "C:\\x"]
SIGNAL = 'kind = "variance"\ninit = "he"\nactivation = "relu"\ndepth = 2\nwidth = 3\nbatch = 2\nseeds = 1\n'


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


class Armed:
    """What writes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("fired"),)


@pytest.mark.parametrize("name", [name for name in ELSEWHERE if name])
def test_the_name_of_a_part_leads_nowhere_else(run, name):
    Path("study.toml").write_text(f"[parts.{json.dumps(name)}]\n{SIGNAL}")
    before = set(Path.cwd().parent.iterdir())
    done = run("run", "study.toml", "--out=here/there", "--no-figures")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "a name has letters, digits, and _ . - between" in done.stderr
    assert [path.name for path in Path.cwd().iterdir()] == ["study.toml"]
    assert set(Path.cwd().parent.iterdir()) == before


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_name_of_a_figure_leads_nowhere_else(run, name):
    figure = f'[[figure]]\nname = {json.dumps(name)}\nmeasure = "growth"\nx = "init"\n'
    Path("study.toml").write_text(SIGNAL + figure)
    done = run("run", "study.toml")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert [path.name for path in Path.cwd().iterdir()] == ["study.toml"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_name_of_a_study_leads_nowhere_else(run, name):
    Path("study.toml").write_text(f"name = {json.dumps(name)}\n[fix]\nsteps = 1\n")
    assert run("train-grid", "study.toml").exit_code == 2
    assert [path.name for path in Path.cwd().iterdir()] == ["study.toml"]


def test_a_study_file_runs_no_code(run):
    for text in ('init = "__import__(\'pathlib\').Path(\'fired\').touch()"', 'plugin = "evil.py"',
                 'init = "he_normal(scale=__import__(\'os\'))"', 'activation = "torchvision:resnet18"'):  # fmt: skip
        Path("evil.py").write_text("open('fired', 'w')")
        Path("study.toml").write_text(f'kind = "variance"\n{text}\n')
        assert run("run", "study.toml").exit_code == 2
        assert not Path("fired").exists()


@pytest.fixture
def results(tmp_path):
    return page_results.training(tmp_path / "mine", init=["he_normal", "zeros"], seed=[0, 1])


@pytest.mark.parametrize("told", [{"tables": ["../../x"]}, {"tables": [1]}, {"tables": 1}, {"kind": "a/b"},
                                  {"versions": {"torch": "1; rm -rf ~"}}, {"started": "now"}, {"seconds": "long"},
                                  {"cells": "many"}])  # fmt: skip
def test_a_manifest_that_is_not_as_ours_is_refused_by_its_name(run, results, told):
    path = results / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    for command in (["status"], ["export", "--to=csv"]):
        done = run(*command, results)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith(f"Error: {path} is not one of ours: {next(iter(told))}")


def test_a_table_is_of_the_folder_itself(tmp_path, results):
    shutil.copy(results / "runs.parquet", tmp_path / "other.parquet")
    with pytest.raises(UsageError, match=r"has no table '\.\./other'"):
        Results(results).table("../other")


@pytest.mark.parametrize("told", [{"parts": {"../..": "0"}}, {"parts": {}}, {"parts": ["mine"]},
                                  {"figures": {"../x": {"x": [1]}}},
                                  {"figures": {"x": {"x": [1], "y": []}}}, {"outcomes": {"claim": ["a"]}},
                                  {"question": 3}, {"layout": "1"}])  # fmt: skip
def test_an_answer_that_is_not_as_ours_is_refused_by_its_name(run, results, told):
    kept = {"layout": 1, "parts": {"": page_results.MANIFEST["key"]}, "name": "n", "question": "q", "source": "",
            "caveats": [], "outcomes": {}, "figures": {}, "text": "", "full": False}  # fmt: skip
    path = results / "answer.json"
    path.write_text(json.dumps(kept | told))
    done = run("report", results)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"Error: {path} is not one of ours: ")
    assert not Path("reports").exists()


def test_numbers_that_cannot_be_drawn_are_told(results):
    kept = Answer("n", figures={"mine": pd.DataFrame({"x": [1]})})
    from initbench.analysis.page.drawings import figures

    with pytest.raises(WorkError, match="the figure 'mine' cannot be drawn: KeyError"):
        list(figures(kept, {"": Results(results)}))


def test_a_page_believes_no_markup(tmp_path):
    mark = page_results.HOSTILE
    out = page_results.phase(tmp_path / "mine")
    study = (out / "study.toml").read_text(encoding="utf-8").splitlines()
    study = [f"question = {json.dumps(mark)}", *(line for line in study if not line.startswith("question"))]
    (out / "study.toml").write_text("\n".join(study), encoding="utf-8")
    told = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**told, "device": mark, "plugins": {mark: mark}}))
    page = html(out, title=mark)
    assert mark not in page
    assert page.count("&lt;script&gt;alert(1)") >= 4  # title, question, device, plug-ins


def test_what_ends_the_study_file_among_the_commands_does_not_stand_in_it(results):
    text = "question = 'x'\nEND_OF_STUDY\ntouch fired\n"
    commands = again(Answer("n", text=text), {"": Results(results)})
    first = commands.splitlines()[0]
    end = first.partition("<<'")[2].rstrip("'")
    assert end not in text
    assert commands.splitlines().index(end) > commands.splitlines().index("touch fired")


@cache
def parsed():
    """Every file of the package, as Python reads it."""
    return {path: list(ast.walk(ast.parse(path.read_text("utf-8")))) for path in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize("word", ["pickle", "cPickle", "joblib", "shelve", "yaml", "dill", "cloudpickle", "marshal"])
def test_nothing_is_read_that_may_run_code(word):
    importing = {path.name for path, nodes in parsed().items() for node in nodes
                 if isinstance(node, ast.Import | ast.ImportFrom)
                 and word in [alias.name for alias in node.names] + [getattr(node, "module", "")]}  # fmt: skip
    assert importing == ({"plugins.py"} if word == "marshal" else set())  # which writes, to make a hash


def calls(name):
    """Every call of something of this name in the package, with its keywords."""
    for path, nodes in parsed().items():
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
                yield path.name, {key.arg: ast.unparse(key.value) for key in node.keywords}


def test_what_could_unpickle_is_told_not_to():
    assert all(told.get("weights_only") == "True" for _, told in calls("torch.load"))
    assert [told["allow_pickle"] for _, told in calls("np.load")] == ["False"]
    assert not list(calls("pd.read_pickle"))
    running = {file for name in ("exec", "eval") for file, _ in calls(name)}
    assert running == {"interruption.py", "plugins.py"}  # of an empty text, and of a file that the user names


def test_an_archive_of_pickles_runs_nothing(run):
    parts = {name: np.array([Armed()] * 3, dtype=object) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez("armed.npz", **parts)
    Path("plain.npz").write_bytes(pickle.dumps(Armed()))
    for name in ("armed.npz", "plain.npz"):
        with pytest.raises(UsageError, match=r"is no \.npz file"):
            DATASETS.make(f"npz(path='{name}')")
        assert not Path("fired").exists()
