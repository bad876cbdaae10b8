"""Plug-ins through the program: listed, predicted, measured, trained, reported; told apart by content; read without."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from plugin_catalogues import lent_catalogues, program

import initbench as ib
from initbench.core import plugins
from initbench.initializers import INITIALIZERS
from initbench.kinds import Where, work_of

EXAMPLES = Path(__file__).parent.parent / "examples"
PLUGINS = [f"--plugin={path}" for path in sorted(EXAMPLES.glob("*.py"))]
NAMES = {"initializers": "mine", "activations": "shifted_leak", "datasets": "rings", "optimizers": "SignMomentum"}
VARIANCE = ["--depth=3", "--width=16", "--batch=8", "--seeds=2", "--no-figures"]
TRAIN = ["--set=init=mine,he", "--set=activation=shifted_leak", "--set=optimizer=SignMomentum", "--set=depth=1",
         "--set=lr=0.01", "--set=momentum=0", "--set=nesterov=false", "--set=batch_size=32", "--set=width=8",
         "--set=steps=20", "--set=record_every=10", "--dataset=rings", "--no-figures"]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plugin(tmp_path):
    """The first example, with another scale if one is given."""

    def write(scale="1.5"):
        text = (EXAMPLES / "my_initializer.py").read_text()
        (tmp_path / "my.py").write_text(text.replace("1.5 /", f"{scale} /"))
        return "--plugin=my.py"

    with lent_catalogues():
        yield write


def run(*arguments):
    done = program(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_example_is_listed_and_shown():
    with lent_catalogues():
        for kind, name in NAMES.items():
            assert run("list", kind, *PLUGINS).splitlines()[-2].split()[0] == name
            assert run("show", name, *PLUGINS).startswith(name)


def test_they_are_predicted_measured_trained_and_reported_and_read_without_them():
    with lent_catalogues():
        pair = ["--init=mine", "--init=he", "--activation=shifted_leak", *PLUGINS]
        predicted = pd.read_csv(io.StringIO(run("predict", *pair, "--depth=3", "--width=16", "--format=csv")))
        assert set(predicted.init) == {"mine", "he_normal"}
        run("variance", *pair, *VARIANCE, "--out=v")
        run("variance", "--init=mine", "--activation=relu", "--input=rings", *VARIANCE[:1], *VARIANCE[2:], "--width=16",
            "--out=w", *PLUGINS)  # fmt: skip
        run("train-grid", *TRAIN, "--out=t", *PLUGINS)
    assert "mine" not in INITIALIZERS
    for folder in ("v", "w", "t"):
        assert "mine" in Path(run("report", folder).split()[-1]).read_text()
        run("export", folder, "--to=csv")
        run("status", folder)
    compared = ib.compare("t", by="init", baseline="mine")
    assert set(compared.level) | set(compared.baseline) >= {"mine", "he_normal"}
    assert "mine" in run("compare", "t", "--by=init", "--baseline=mine")
    runs = ib.load("t").runs
    assert set(runs.init) == {"mine", "he_normal"}
    assert set(runs.status) == {"finished"}
    assert set(json.loads(Path("t/manifest.json").read_text())["plugins"]) == {
        "initializer mine", "activation shifted_leak", "data set rings", "optimizer SignMomentum"}  # fmt: skip


def test_stored_runs_are_those_of_the_plain_loop():
    with lent_catalogues():
        run("train-grid", *TRAIN, "--out=t", *PLUGINS)
        table = pd.read_csv(io.StringIO(run("verify", "t", "--runs=2", "--format=csv", *PLUGINS)))
    assert table.agrees.all()
    assert table.loss_64.max() < 1e-9


def test_other_code_is_another_variance_study(plugin):
    pair = ["variance", "--init=mine", "--activation=relu", *VARIANCE]
    run(*pair, plugin())
    before = json.loads(Path("results/variance/manifest.json").read_text())
    assert program(*pair, plugin()).stderr == ""  # the same code: nothing is computed
    assert program(*pair, plugin("3.0")).stderr == ("The results of another study in results/variance were replaced.\n")
    after = json.loads(Path("results/variance/manifest.json").read_text())
    assert before["key"] != after["key"]
    assert before["plugins"].keys() == after["plugins"].keys() == {"initializer mine"}
    assert before["plugins"] != after["plugins"]


def test_other_code_is_another_training(plugin):
    train = ["train-grid", "--set=init=mine", *TRAIN[3:-2], "--set=optimizer=sgd", "--set=activation=relu",
             "--no-figures", "--out=t"]  # fmt: skip
    run(*train, plugin())
    done = program(*train, plugin("3.0"))
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: t holds this study's results with another")


def test_studies_without_plugins_have_the_keys_that_they_had(plugin):
    pair = ["variance", "--init=he", "--activation=relu", *VARIANCE]
    run(*pair)
    without = json.loads(Path("results/variance/manifest.json").read_text())
    run(*pair, plugin())
    assert json.loads(Path("results/variance/manifest.json").read_text()) == without
    assert "plugins" not in without


PARTS = {
    "jacobian": {"init": "mine", "activation": "relu", "depth": 2, "width": 4, "seeds": 1, "batch": 4},
    "calibration": {"cases": [{"init": ["mine"], "activation": ["relu"], "width": 4, "batch": 2, "depth": 2,
                               "repetitions": 2}]},
    "landscape": {"fix": {"init": "mine", "depth": 1, "width": 4, "steps": 3}, "seeds": 1, "resolution": 2},
}  # fmt: skip


@pytest.mark.parametrize("kind", PARTS)
def test_other_code_is_another_part_of_a_study(kind, plugin, tmp_path):
    told = []
    for scale in ("1.5", "3.0", "3.0"):
        (tmp_path / f"{scale}.py").write_text(
            (EXAMPLES / "my_initializer.py").read_text().replace("1.5 /", f"{scale} /")
        )
        with lent_catalogues():
            plugins.load(tmp_path / f"{scale}.py")
            work_of({"kind": kind, **PARTS[kind]}, "part", Where())(tmp_path / kind, lambda done, of: None)
        told.append(json.loads((tmp_path / kind / "manifest.json").read_text()))
    assert told[0]["key"] != told[1]["key"]
    assert told[1] == told[2]  # nothing is computed again
    assert told[0]["plugins"].keys() == {"initializer mine"}
    assert told[0]["plugins"] != told[1]["plugins"]


def test_other_code_of_an_activation_is_another_phase_diagram(tmp_path):
    keys = set()
    for slope in ("0.1", "0.3"):
        (tmp_path / "my.py").write_text(
            f"import initbench as ib\n\n\n@ib.activation\ndef bent(z):\n    return z.clamp(min=0) + {slope} * z\n"
        )
        with lent_catalogues():
            plugins.load(tmp_path / "my.py")
            work_of({"kind": "phase", "activation": "bent"}, "part", Where())(tmp_path / "p", lambda done, of: None)
        keys.add(json.loads((tmp_path / "p" / "manifest.json").read_text())["key"])
    assert len(keys) == 2
