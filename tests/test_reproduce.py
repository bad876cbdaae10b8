"""The same command gives the same tables: bit by bit here, within a tolerance elsewhere; `initbench reproduce`."""

import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from plugin_catalogues import lent_catalogues, program

import initbench as ib
from initbench.analysis.equality import BIT_EQUAL, DIFFERS, ROUNDING, WITHIN, compared
from initbench.analysis.tolerance import tolerance
from initbench.cli import main
from initbench.engine import tuning
from initbench.grid.reproduce import NUDGED, otherwise
from initbench.grid.study import Study
from initbench.grid.training import prepare
from initbench.grid.training_plan import identity

STUDY = """
question = "Is it the same?"
[parts.train]
kind = "train"
seeds = 2
compare = { init = ["he", "orthogonal", "lsuv"], optimizer = ["sgd", "adam"], lr = [0.1, 0.01] }
fix = { activation = "relu", depth = 2, width = 16, steps = 20, record_every = 10, dropout = 0.1 }
[parts.variance]
kind = "variance"
init = ["he", "orthogonal"]
activation = ["relu", "silu"]
depth = 3
width = 32
seeds = 2
batch = 16
[parts.jacobian]
kind = "jacobian"
init = "he"
activation = "tanh"
depth = 2
width = 16
seeds = 1
batch = 8
spectrum = true
[parts.phase]
kind = "phase"
activation = "tanh"
weight_variances = [0.5, 1.5]
bias_variances = [0.0, 0.1]
[parts.landscape]
kind = "landscape"
seeds = 1
compare = { init = ["he", "xavier"] }
fix = { depth = 1, width = 8, steps = 10, lr = 0.1 }
points = 5
resolution = 5
"""
MAGNIFYING = ["--set=init=xavier", "--set=activation=tanh", "--set=depth=2", "--set=width=32", "--set=optimizer=adam",
              "--set=lr=0.1,0.001", "--set=steps=100", "--set=momentum=0", "--set=nesterov=false",
              "--set=batch_size=64", "--set=seeds=1"]  # fmt: skip
"""Adam with 0.1 magnifies a difference in the last bit a million times, with 0.001 hardly."""
QUIET = ("--no-figures", "--executor=threads")  # nothing here is drawn, or so much that processes train sooner
TWO, FOUR = "2 threads, no stacks", "4 threads, stacks of 8"
PARTS = ("train", "variance", "jacobian", "phase", "landscape")
LIKE_ANOTHER_CPU = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
"""Vectors of a few numbers in place of many: sums are added up in another order."""


def start(folder, *arguments, stack=32, threads=1, **environment):
    """The real program in a process of its own, in `folder`, with stacks of at most `stack`."""
    cache = folder / "cache" / "initbench"
    cache.mkdir(parents=True, exist_ok=True)
    untuned = {"forward": "batched", "gradient": "batched", "evaluation": "batched", "stack": stack}
    (cache / "tuning.json").write_text(json.dumps({tuning.machine(): untuned}))
    set_so = {
        "OMP_NUM_THREADS": str(threads),
        "XDG_CACHE_HOME": str(cache.parent),
        "MKL_DYNAMIC": "FALSE",
        **environment,
    }  # else there are no more threads than cores
    command = [sys.executable, "-m", "initbench", *arguments]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, **set_so}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def ended(process):
    told, errors = process.communicate()
    return process.returncode, told, errors


def answered(tmp_path_factory, *ways):
    """The study file answered in each of these ways, two processes beside each other; the results folders."""
    folders = [tmp_path_factory.mktemp("way") for _ in ways]
    for some in (slice(0, 2), slice(2, 4)):
        running = []
        for folder, way in zip(folders[some], ways[some], strict=True):
            (folder / "same.toml").write_text(STUDY)
            running.append(start(folder, "run", "same.toml", *QUIET, "--device=cpu", **way))
        for process in running:
            assert ended(process)[0] == 0
    return [folder / "results/same" for folder in folders]


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    """Twice as it is; with 2 threads and no stacks; with 4 threads and small ones."""
    given = {"once": {}, "twice": {}, TWO: {"threads": 2, "stack": 1}, FOUR: {"threads": 4, "stack": 8}}
    return dict(zip(given, answered(tmp_path_factory, *given.values()), strict=True))


def untimed(path):
    table = pd.read_parquet(path)
    own = {"stack_size", "device"}
    return table.drop(columns=[name for name in table if name.endswith("seconds") or name in own])


def tables_of(folder):
    return {path.relative_to(folder): untimed(path) for part in PARTS for path in (folder / part).glob("*.parquet")}


def test_the_same_command_twice_gives_bit_equal_tables(ways):
    once, twice = tables_of(ways["once"]), tables_of(ways["twice"])
    assert len(once) == 3 + 5 + 1 + 1 + 2
    for name, table in once.items():
        pd.testing.assert_frame_equal(table, twice[name], check_exact=True)


@pytest.mark.parametrize("way", [TWO, FOUR])
def test_threads_and_stacks_change_rounding_alone(ways, way):
    there = tables_of(ways[way])
    for path, table in tables_of(ways["once"]).items():
        found = compared(path.stem, table, there[path])
        assert set(found.word) <= {BIT_EQUAL, WITHIN}, found.to_string()
    losses = [table[Path("train/runs.parquet")].test_loss for table in (tables_of(ways["once"]), there)]
    np.testing.assert_allclose(*losses, rtol=tolerance("test_loss").share)


def test_the_manifest_tells_threads_processor_and_tuning(ways):
    told = ib.load(ways[TWO] / "train").manifest
    assert (told["threads"], told["processor"]) == (2, tuning.processor())
    assert told["tuning"]["stack"] == 1
    assert ib.load(ways[FOUR] / "variance").manifest["threads"] == 4


def test_every_part_is_made_again_bit_equal(ways):
    code, told, errors = ended(start(ways["once"].parents[1], "reproduce", "results/same", "--format=csv"))
    table = pd.read_csv(io.StringIO(told))
    assert (code, errors) == (0, "")
    assert set(table.part) == set(PARTS)
    assert set(table.word) == {BIT_EQUAL}


def test_on_another_processor_trainings_are_held_to_their_own_rounding(tmp_path):
    assert program("train-grid", *MAGNIFYING, *QUIET, f"--out={tmp_path / 't'}").exit_code == 0
    code, told, errors = ended(start(tmp_path, "reproduce", "t", "--format=csv", **LIKE_ANOTHER_CPU))
    table = pd.read_csv(io.StringIO(told))
    assert code == 0, told + errors
    if "Note: processor" in errors:  # where torch has no other vectors there is nothing to tell
        assert table[table.column == "test_loss"].word.tolist() == [ROUNDING]
        assert table[table.column == "test_loss"].rounding.tolist() == [1]


# one process from here on


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


SMALL = ["--set=init=he,zeros", "--set=activation=relu", "--set=depth=1", "--set=lr=0.1", "--set=momentum=0.9",
         "--set=nesterov=false", "--set=optimizer=sgd", "--set=steps=10", "--set=width=8"]  # fmt: skip


@pytest.fixture
def trained(run):
    """Eight runs in the folder t."""
    assert run("train-grid", *SMALL, *QUIET, "--out=t").exit_code == 0
    return Path("t")


def forged(column, change):
    path = Path("t/runs.parquet")
    runs = pd.read_parquet(path)
    runs[column] = change(runs[column])
    runs.to_parquet(path)
    return runs


def test_a_forged_number_is_told_by_table_column_and_cell(run, trained):
    runs = forged("test_loss", lambda values: values + np.array([0, 0, 0.25, 0.5, 0, 0, 0, 0]))
    done = run("reproduce", trained, "--format=csv")
    (row,) = pd.read_csv(io.StringIO(done.stdout)).to_dict("records")
    assert done.exit_code == 3
    assert (row["table"], row["column"], row["word"]) == ("runs", "test_loss", DIFFERS)
    assert (row["rows"], row["differ"], row["beyond"]) == (8, 2, 2)
    assert row["first"] == f"name {runs.name[2]}, seed {runs.seed[2]}, cell_id {runs.cell_id[2]}"
    honest = runs.test_loss[3] - 0.5
    assert row["largest"] == pytest.approx(max(0.5 / (honest + 0.5), 0.25 / runs.test_loss[2]))


def test_a_sample_is_of_so_many_runs(run, trained):
    table = ib.reproduce(trained, runs=3).table
    assert table.rows.unique().tolist() == [3]
    assert ib.reproduce(trained, runs=3, out="kept").holds
    assert len(ib.load("kept").runs) == 3


def test_what_is_another_now_is_told(run, trained):
    manifest = json.loads((trained / "manifest.json").read_text())
    manifest["versions"]["torch"] = "2.0.0"
    (trained / "manifest.json").write_text(json.dumps(manifest))
    done = run("reproduce", trained)
    assert done.exit_code == 0
    assert done.stderr == f"Note: torch: 2.0.0 and {version('torch')}\n"


PLUGIN = """
import initbench, torch
@initbench.initializer(formula="w ~ N(0, {scale}/fan_in)")
def mine(tensor):
    return torch.nn.init.normal_(tensor, 0, ({scale} / tensor.shape[1]) ** 0.5)
"""


@pytest.fixture
def alone(run):
    """The program as if in a process of its own: what a plug-in registers is gone after it."""

    def called(*arguments):
        with lent_catalogues():
            return run(*arguments)

    return called


def test_a_plug_in_that_is_missing_or_another_is_told(alone):
    Path("mine.py").write_text(PLUGIN.format(scale=2))
    Path("other.py").write_text(PLUGIN.format(scale=3))
    made = ["variance", "--init=mine", "--activation=relu", "--depth=2", "--width=8", "--seeds=1", "--batch=4"]
    assert alone(*made, "--plugin=mine.py", "--no-figures", "--out=v").exit_code == 0
    done = alone("reproduce", "v")
    told = "the results rest on a plug-in that is not there: initializer mine; give its file with --plugin"
    assert (done.exit_code, done.stderr) == (2, f"Error: {told}\n")
    assert alone("reproduce", "v", "--plugin=mine.py").exit_code == 0
    done = alone("reproduce", "v", "--plugin=other.py")
    assert (done.exit_code, done.stderr) == (3, "Note: the code of the plug-in initializer mine is another\n")


def test_another_plug_in_is_not_put_down_to_rounding(alone):
    """A change of the code as small as some roundings, in a training that magnifies them."""
    Path("mine.py").write_text(PLUGIN.format(scale=2))
    Path("other.py").write_text(PLUGIN.format(scale=2.00002))
    made = [option for option in MAGNIFYING if not option.startswith(("--set=init", "--set=lr"))]
    made += ["--set=init=mine,xavier", "--set=lr=0.1", "--plugin=mine.py"]
    assert alone("train-grid", *made, *QUIET, "--out=t").exit_code == 0
    done = alone("reproduce", "t", "--plugin=other.py", "--format=csv")
    assert (done.exit_code, done.stderr) == (3, "Note: the code of the plug-in initializer mine is another\n")
    row = pd.read_csv(io.StringIO(done.stdout)).set_index("column").loc["test_loss"]
    assert (row["rounding"], row["word"]) == (0, DIFFERS)
    assert "mine-tanh-2-0.1" in row["first"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere"], "nowhere holds no results: there is no manifest.json"),
    (["v", "--runs=2"], "a sample is of a training's runs; v is of kind variance"),
    (["v", "--out=v"], "v: make it again in another folder than its own"),
])  # fmt: skip
def test_bad_input_gets_one_line(run, arguments, message):
    run("variance", "--init=he", "--activation=relu", "--depth=1", "--width=4", "--seeds=1", "--batch=2",
        "--no-figures", "--out=v")  # fmt: skip
    done = run("reproduce", *arguments)
    assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")


def test_no_algorithm_on_the_cpu_is_nondeterministic(run):
    noisy = [f"--set={name}=0.1" for name in ("dropout", "mixup", "cutout", "label_smoothing")]
    torch.use_deterministic_algorithms(True)  # raises where one is
    try:
        trained = run("train-grid", *SMALL, *noisy, "--set=batch_norm=true", *QUIET, "--out=t")
        measured = run("variance", "--init=lsuv", "--depth=2", "--width=8", "--seeds=1", "--batch=4", "--no-figures")
    finally:
        torch.use_deterministic_algorithms(False)
    assert (trained.exit_code, measured.exit_code) == (0, 0)
    assert set(ib.load("t").runs.status) == {"finished"}  # and none failed


def test_verify_checks_that_runs_are_those_of_the_plain_loop(run, trained):
    assert run("verify", trained, "--check", "--runs=2").exit_code == 0
    forged("test_loss", lambda values: values * 1.001)
    done = run("verify", trained, "--check", "--runs=2")
    assert done.exit_code == 3
    assert done.stderr.count(": test_loss beyond what rounding explains\n") == 2
    assert "0 of 2 runs agree with the plain loop" in done.stdout


def test_a_unit_at_its_kink_is_seen_though_float64_does_not(run):
    """All weights 0.5 and images (1, -1) or (2, -2): z = 0, and a rounding more lets the unit pass."""
    y = np.arange(40) % 2
    x = (1 + y[:, None, None]) * np.array([[[1.0, -1.0]]], np.float32)
    np.savez("at_kink.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    fix = {"dataset": "npz(path='at_kink.npz')", "normalization": "none", "activation": "relu", "depth": 1, "width": 4,
           "loss": "mean_squared_error", "lr": 1e-3, "batch_size": 8, "steps": 1, "record_every": 1}  # fmt: skip
    job = prepare(Study(compare={"init": ["constant(value=0.5)"]}, fix=fix), device="cpu")
    exact, *nudged = (
        tables["layer_curves"].grad_w_second_moment[0] for tables in otherwise(job, [identity(job.plan.cells[0])])
    )
    assert exact == 0
    assert len(nudged) == NUDGED
    assert max(nudged) > 1e-4


def test_a_calm_training_is_held_to_a_rounding(run):
    cell = {"compare": {"init": ["he"]}, "fix": {"depth": 1, "width": 8, "lr": 0.01, "steps": 10}}
    job = prepare(Study(**cell), device="cpu")
    losses = [tables["runs"].test_loss[0] for tables in otherwise(job, [identity(job.plan.cells[0])])]
    assert len(set(losses)) > 2
    assert losses == pytest.approx([losses[0]] * (1 + NUDGED), rel=1e-5)
