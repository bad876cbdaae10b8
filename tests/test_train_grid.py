"""Grids of training: exactly once, resumable, every cell as if it were alone; the commands as a user meets them."""

import contextlib
import dataclasses
import functools
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import initbench as ib
from initbench import reference
from initbench.analysis import page
from initbench.cli import main
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.datasets import DATASETS
from initbench.engine import device as devices
from initbench.engine.training.trainer import train
from initbench.engine.tuning import Tuning
from initbench.grid import on_threads, training
from initbench.grid.costs import disk_of
from initbench.grid.estimate import estimate
from initbench.grid.executors import Hands
from initbench.grid.stacks import ENGINES, Engine
from initbench.grid.study import default_study, resolve
from initbench.grid.training import prepare, run_training
from initbench.grid.training_plan import as_trained, plan_training
from initbench.recipe.samples import split

SMALL = ["--set", "init=he,zeros", "--set", "activation=relu", "--set", "depth=1", "--set", "lr=0.1,0.01", "--set",
         "momentum=0.0,0.9", "--set", "steps=20", "--set", "width=8", "--set", "batch_size=32"]  # fmt: skip


def small(**levels):
    """`SMALL` with other levels."""
    kept = [pair for pair in SMALL[1::2] if pair.partition("=")[0] not in levels]
    return [f"--set={pair}" for pair in (*kept, *(f"{factor}={level}" for factor, level in levels.items()))]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call the program in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def told_and_kept(tmp_path_factory):
    """What the program says when it has trained `SMALL`, and the folder of its results."""
    folder = tmp_path_factory.mktemp("small")
    with contextlib.chdir(folder):
        done = CliRunner().invoke(main, ["train-grid", *SMALL])
    assert done.exit_code == 0, done.output
    return done.output, folder / "results/digits"


@pytest.fixture
def trained(run, told_and_kept):
    """A copy of the results of `SMALL`, where a test may damage them."""
    return Path(shutil.copytree(told_and_kept[1], "results/digits"))


def untimed(runs):
    """Without the columns that two runs of one study may differ in."""
    return runs.drop(columns=[name for name in runs if name.endswith("seconds")])


def study(**changes):
    given = {"compare": {"init": ["he", "zeros"], "optimizer": ["sgd", "adam"], "momentum": [0.0, 0.9],
                         "nesterov": [False, True]}, "fix": {"steps": 10, "width": 8}, "seeds": 2}  # fmt: skip
    return ib.Study(**{**given, **changes})


def test_equal_trainings_are_trained_once_and_reported_each(tmp_path):
    runs = ib.run(study(), tmp_path).runs
    assert len(runs) == 2 * 2 * 2 * 2 * 2
    per_optimizer = runs.groupby("optimizer").training_id.nunique()
    assert per_optimizer.to_dict() == {"adam": 2 * 2, "sgd": 2 * 2 * 3}  # sgd: plain, momentum, nesterov
    assert runs.cell_id.is_unique
    by_training = runs.groupby("training_id")[["test_loss", "test_accuracy"]]
    assert (by_training.max() == by_training.min()).all(axis=None)
    parts = pd.concat(map(pd.read_parquet, tmp_path.glob("parts/*.runs.parquet")))
    assert sorted(parts.training_id) == sorted(runs.training_id.unique())


def test_what_an_optimizer_does_not_read_is_no_difference():
    adam = Cell(optimizer="adam")
    assert as_trained(dataclasses.replace(adam, momentum=0.9, nesterov=True)) == as_trained(adam)
    assert as_trained(Cell(nesterov=True)) == as_trained(Cell())
    assert as_trained(Cell(nesterov=True, momentum=0.5)) != as_trained(Cell(momentum=0.5))
    assert as_trained(Cell(data_seed=0)) == as_trained(Cell(seed=0))
    assert as_trained(Cell(optimizer="rmsprop", momentum=0.5)) != as_trained(Cell(optimizer="rmsprop"))


@pytest.mark.parametrize(("init", "trainings"), [("he", 1), ("critical", 2), ("lsuv", 2), ("mup", 2), ("kumar", 2)])
def test_what_only_hidden_layers_read_is_no_difference_without_any(tmp_path, init, trainings):
    factors = {"width": [4, 8], "activation": ["relu", "tanh"], "batch_norm": [False, True], "residual": [False, True]}
    runs = ib.run(ib.Study(compare=factors, fix={"init": init, "depth": 0, "steps": 5}), tmp_path).runs
    assert (len(runs), runs.training_id.nunique()) == (16, trainings)
    assert runs.groupby("activation").training_id.nunique().eq(1).all()
    whole = split(DATASETS.make("digits").load(None, False), "standardize", 0.2, 0)
    for values in itertools.product(*factors.values()):
        cell = Cell(init=init, depth=0, steps=5, **dict(zip(factors, values, strict=True)))
        assert reference.train(cell, whole) == reference.train(as_trained(cell), whole)


def test_hidden_layers_read_their_width_and_activation():
    for changes in ({"width": 8}, {"activation": "tanh"}, {"batch_norm": True}, {"residual": True}):
        assert as_trained(Cell(depth=1, **changes)) != as_trained(Cell(depth=1))


def test_a_cell_is_the_same_alone_and_in_any_stack(tmp_path, monkeypatch):
    together = ib.run(study(), tmp_path / "together").runs
    monkeypatch.setattr(training, "tuned", lambda _: Tuning(stack=1))
    alone = ib.run(study(), tmp_path / "alone").runs
    assert (together.stack_size > 1).any()
    assert (alone.stack_size == 1).all()
    pd.testing.assert_frame_equal(untimed(together).drop(columns="stack_size"),
                                  untimed(alone).drop(columns="stack_size"), rtol=1e-4)  # fmt: skip


def test_a_stack_of_cells_that_share_no_minibatch_is_refused():
    whole = split(DATASETS.make("digits").load(None, False), "standardize", 0.2, 0)
    for other in (Cell(seed=1), Cell(lr=0.1, width=9), Cell(regularizers=(("mixup", 0.2),))):
        with pytest.raises(ValueError, match="a stack's cells must agree in all but"):
            train([Cell(), other], whole)


def test_the_question_may_be_edited(tmp_path, monkeypatch):
    ib.run(study(question="What?"), tmp_path)
    monkeypatch.setitem(ENGINES, "stacked", Engine(lambda *_: pytest.fail("trained again")))
    ib.run(study(question="What else?"), tmp_path)


def test_the_same_command_again_trains_nothing(run, trained, told_and_kept, monkeypatch):
    monkeypatch.setitem(ENGINES, "stacked", Engine(lambda *_: pytest.fail("trained again")))
    again = run("train-grid", *SMALL)
    assert again.output == told_and_kept[0]


def test_only_what_is_missing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "workers", lambda _: 1)
    whole = ib.run(study(), tmp_path / "whole").runs
    real, trained = ENGINES["stacked"].train, []

    def interrupted(cells, *rest):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(len(cells))
        return real(cells, *rest)

    monkeypatch.setitem(ENGINES, "stacked", Engine(interrupted))
    with pytest.raises(KeyboardInterrupt):
        ib.run(study(), tmp_path / "broken")
    with pytest.raises(UsageError, match="is not finished; the command that began it goes on there"):
        ib.load(tmp_path / "broken").runs  # noqa: B018
    counted = Engine(lambda cells, *rest: trained.append(len(cells)) or real(cells, *rest))
    monkeypatch.setitem(ENGINES, "stacked", counted)
    resumed = ib.run(study(), tmp_path / "broken").runs
    assert sum(trained) == whole.training_id.nunique()
    pd.testing.assert_frame_equal(untimed(whole), untimed(resumed))


LONG = ["train-grid", "--no-figures", "--executor", "threads", "--set", "steps=60", "--set", "depth=1", "--set",
        "activation=relu,tanh", "--set", "batch_size=64", "--out"]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The table of `LONG`."""
    folder = tmp_path_factory.mktemp("whole")
    assert CliRunner().invoke(main, [*LONG, str(folder)]).exit_code == 0
    return pd.read_parquet(folder / "runs.parquet")


def test_a_killed_run_goes_on_and_ends_in_the_same_table(tmp_path, uninterrupted):
    """After the first part; `test_torture.py` kills at random moments, too, and at every step of writing."""
    command = [sys.executable, "-m", "initbench", *LONG, tmp_path / "killed"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("killed/parts/*.parquet")) and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    kept = {path: path.read_bytes() for path in tmp_path.glob("killed/parts/*.parquet")}
    assert CliRunner().invoke(main, [*LONG, str(tmp_path / "killed")]).exit_code == 0
    assert kept
    assert all(path.read_bytes() == content for path, content in kept.items())
    resumed = pd.read_parquet(tmp_path / "killed/runs.parquet")
    pd.testing.assert_frame_equal(untimed(uninterrupted), untimed(resumed))
    assert not list(tmp_path.glob("killed/**/*.new"))


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "initbench", "train-grid", "--out", tmp_path / "out"]
    # a shell's background job inherits that Ctrl-C is ignored; a user's terminal does not
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(command, **pipes, preexec_fn=listening)
    while not list(tmp_path.glob("out/parts/*.parquet")) and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert (running.returncode, out) == (1, "")
    assert err == "Error: interrupted; what was finished is kept, and the same command goes on there\n"
    status = CliRunner().invoke(main, ["status", str(tmp_path / "out")]).output
    assert "unfinished; the same command goes on" in status
    assert "to do" in status


def test_running_out_of_memory_halves_the_stack(tmp_path, monkeypatch):
    whole = ib.run(study(), tmp_path / "whole").runs
    real = ENGINES["stacked"].train

    def small(cells, *rest):
        if len(cells) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return real(cells, *rest)

    monkeypatch.setitem(ENGINES, "stacked", Engine(small))
    halved = ib.run(study(), tmp_path / "halved").runs
    assert halved.stack_size.max() == 2
    same = [name for name in untimed(whole) if name != "stack_size"]
    pd.testing.assert_frame_equal(whole[same], halved[same], rtol=1e-4)


def test_a_network_that_no_memory_holds_is_a_row_that_says_so(tmp_path, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setitem(ENGINES, "stacked", Engine(never))
    runs = ib.run(study(), tmp_path / "plain").runs
    assert set(runs.status) == {"failed"}
    assert set(runs.note) == {"out of memory"}
    results = ib.run(study(fix={"steps": 10, "width": 8, "record_every": 4}), tmp_path / "recorded")
    assert results.curves.empty


def test_divergence_is_a_row_and_counted(run):
    done = run("train-grid", *small(lr="1e30,0.01", optimizer="sgd"))
    assert done.exit_code == 0, done.output
    runs = ib.load("results/digits").runs
    lost = runs[runs.status == "diverged"]
    assert len(lost) > 0
    assert lost.diverged_at.between(1, 20).all()
    assert lost[["test_loss", "test_accuracy", "val_accuracy"]].isna().all(axis=None)
    assert runs[runs.status == "finished"].diverged_at.isna().all()
    assert f"{len(lost)} diverged" in done.output


def test_impossible_cells_are_rows_that_say_why(tmp_path):
    runs = ib.run(
        ib.Study(compare={"init": ["he", "critical"]}, fix={"activation": "softplus", "steps": 2}), tmp_path
    ).runs
    assert list(runs.status) == ["finished", "impossible"]
    assert list(runs.steps) == [2, 2]
    assert runs.note[1].startswith("softplus has no critical weight variance")
    assert runs.training_id[1] == ""


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        (
            {"early_stopping": 2},
            "early stopping and the schedule plateau look at the validation loss every record_every",
        ),
        ({"schedule": "plateau"}, "early stopping and the schedule plateau look at the validation loss every record_e"),
        ({"batch_norm": True, "batch_size": 1}, "batch normalization needs 2 images or more in a minibatch"),
        ({"stochastic_depth": 0.5}, "stochastic depth skips residual branches; set residual"),
        ({"stochastic_depth": 0.5, "residual": True, "depth": 1}, "skips residual branches; depth 1 has none"),
        ({"stochastic_depth": 0.5, "residual": True, "depth": 0}, "skips residual branches; depth 0 has none"),
        ({"init": "fixup", "residual": 2, "depth": 0}, "fixup needs residual branches; depth 0 has none"),
        ({"dropout": 0.5, "depth": 0}, "dropout acts on hidden units; depth 0 has none"),
        ({"cutout": 0.06}, "cutout 0.06 of 8 pixels hides none; give more than 0.0625"),
        ({"mixup": 0.5, "batch_size": 1}, "mixup mixes images of a minibatch, which has 1"),
        ({"width": 10**6, "depth": 100}, "one network needs about"),
        ({"record_every": 1, "steps": 10**9}, "one network and its curves need about 2.24e"),
        ({"validation": 1436}, "standardize needs 2 training images or more; 1 is left"),
        ({"validation": 1.2}, "validation is a share below 1 or a whole number, not 1.2"),
        ({"validation": 5000}, "validation 5000 would hold out 5000 of 1437 training images"),
    ],
)
def test_a_study_of_nothing_but_impossible_cells_is_refused(tmp_path, fix, message):
    with pytest.raises(UsageError, match=message):
        ib.run(ib.Study(fix=fix), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_studys_folder_is_left_as_it_is(run, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*.parquet")}
    done = run("train-grid", *small(lr=0.3), "--out", trained)
    assert done.stderr == f"Error: {trained} holds another study's results; give another folder with --out\n"
    assert done.exit_code == 2
    assert {path: path.read_bytes() for path in trained.rglob("*.parquet")} == before


def test_a_damaged_part_is_set_aside_and_trained_again(run, trained):
    whole = ib.load(trained).runs
    for name in ("runs.parquet", "manifest.json"):
        (trained / name).unlink()
    part = next((trained / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:100])
    done = run("train-grid", *SMALL, "--no-figures")
    assert done.exit_code == 0, done.output
    assert part.with_name(part.name + ".damaged").exists()
    pd.testing.assert_frame_equal(untimed(whole), untimed(ib.load(trained).runs))


def test_curves_are_recorded_and_recording_leaves_no_trace(tmp_path):
    plain = ib.run(study(), tmp_path / "plain").runs
    results = ib.run(study(fix={"steps": 10, "width": 8, "record_every": 4}), tmp_path / "recorded")
    metrics = ["train_loss", "val_loss", "test_loss", "test_accuracy"]
    pd.testing.assert_frame_equal(plain[metrics], results.runs[metrics], check_exact=True)
    curves, layers = results.curves, results.layer_curves
    assert list(curves.step.unique()) == [0, 4, 8, 10]
    assert set(curves.cell_id) == set(results.runs.cell_id)
    last = curves[curves.step == 10].set_index("cell_id").reindex(results.runs.cell_id)
    assert list(last.val_loss) == pytest.approx(list(results.runs.val_loss))
    assert list(layers.layer.unique()) == [1, 2, 3]
    assert (layers.update_to_weight.dropna() >= 0).all()


def test_recorded_statistics_are_those_of_a_plain_network():
    data = split(DATASETS.make("digits").load(None, False), "standardize", 0.2, 0).to(
        torch.device("cpu"), torch.float64
    )
    cell = Cell(activation="tanh", depth=1, width=9, steps=1, record_every=1, lr=0.3, batch_size=16)
    (outcome,) = train([cell], data)
    from initbench import reference

    model = reference.MLP(cell, 64, 10).double()
    images, labels = next(iter(reference.training_loader(cell, data.train, 0)))
    z = model.hidden[0](images)
    torch.nn.functional.cross_entropy(model.output(z.tanh()), labels).backward()
    weight = model.hidden[0].weight
    first = outcome.layer_curves[0]
    assert first["a_second_moment"] == pytest.approx(float(z.detach().tanh().square().mean()), rel=1e-9)
    assert first["saturated_fraction"] == pytest.approx(float((1 - z.detach().tanh() ** 2 < 0.05).double().mean()))
    assert first["grad_w_second_moment"] == pytest.approx(float(weight.grad.square().mean()), rel=1e-9)
    ratio = float(0.3 * weight.grad.norm() / weight.detach().norm())
    assert first["update_to_weight"] == pytest.approx(ratio, rel=1e-9)


def test_the_reference_engine_gives_the_same_table(tmp_path):
    stacked = ib.run(study(), tmp_path / "stacked").runs
    plain = ib.run(study(), tmp_path / "reference", engine="reference").runs
    assert (set(plain.engine), set(plain.stack_size)) == ({"reference"}, {1})
    columns = ["cell_id", "status", "train_loss", "val_loss", "test_loss"]
    pd.testing.assert_frame_equal(stacked[columns], plain[columns], rtol=1e-4)


def test_every_stack_is_trained_with_its_device_current(tmp_path, monkeypatch):
    """A thread has a current CUDA device of its own, and events are recorded there."""
    inside = threading.local()

    @contextlib.contextmanager
    def current(device):
        inside.device = device
        yield
        del inside.device

    real, seen = ENGINES["stacked"].train, []
    noted = Engine(lambda *given: seen.append(getattr(inside, "device", None)) or real(*given))
    monkeypatch.setattr(on_threads, "current", current)
    monkeypatch.setitem(ENGINES, "stacked", noted)
    run_training(prepare(study(), device="cpu"), tmp_path)
    assert len(seen) > 1
    assert set(seen) == {torch.device("cpu")}


def test_the_estimate_counts_the_stacks_that_are_under_way_together():
    job = prepare(study(fix={"steps": 10, "width": 3000}), device="cpu")
    one, two = (estimate(dataclasses.replace(job, workers=workers))["memory"] for workers in (1, 2))
    assert float(two.split()[1]) > float(one.split()[1])


def test_the_estimate_counts_the_processes():
    here, apart = (estimate(prepare(study(), device="cpu", hands=Hands(name))) for name in ("threads", "processes"))
    assert (here["workers"].split()[1], apart["workers"].split()[1]) == ("threads", "processes")
    assert float(apart["memory"].split()[1]) >= float(here["memory"].split()[1]) + 0.5


def test_the_estimate_of_the_disk_counts_the_updates_of_epochs():
    """150 bytes a run, 40 a row of curves and layers; 1,150 images in batches of 64 are 18 updates an epoch."""
    data = prepare(study(), device="cpu").data
    cell = Cell(dataset="digits", epochs=50, batch_size=64, record_every=1, depth=3, validation=287)
    assert disk_of([cell], data) == 150 + 40 * 50 * 18 * (3 + 2)
    assert disk_of([dataclasses.replace(cell, record_every=0)], data) == 150


def test_what_is_set_anew_is_another_question():
    assert resolve(None).question.startswith("How much do initialization")
    assert resolve(None, [("depth", "1")]).question == ""
    asked = default_study().model_copy(update={"question": "Mine?"})
    assert resolve(asked, [("depth", "1")]).question == "Mine?"


def test_a_closed_standard_error_is_no_matter(tmp_path):
    """The shell's 2>&-, under which Python has no sys.stderr; and without figures nothing slow is loaded in vain."""
    asked = "any(name in sys.modules for name in ('matplotlib', 'scipy.stats', 'sklearn'))"
    code = f"import sys; from initbench.cli import main; main(standalone_mode=False); sys.exit({asked})"
    command = [sys.executable, "-c", code, "train-grid", *small(steps=2), "--no-figures", "--executor", "threads"]
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert ib.load(tmp_path / "results/digits").finished


def test_the_type_of_a_column_is_the_same_whatever_became_of_the_runs(tmp_path):
    runs = ib.run(study(), tmp_path / "out").runs
    assert runs.diverged_at.isna().all()
    assert (str(runs.diverged_at.dtype), str(runs.stopped_at.dtype)) == ("Int64", "Int64")


def test_dry_run_tells_and_writes_nothing(run, tmp_path):
    done = run("train-grid", *SMALL, "--dry-run")
    assert done.exit_code == 0
    told = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    assert told["cells"] == "64"
    assert told["trainings"] == "32 distinct"
    assert told["workers"].endswith(" threads")  # too little for processes
    assert set(told) == {"cells", "trainings", "stacks", "workers", "time", "memory", "disk"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["csv", "json"])
def test_csv_and_json_have_standard_output_to_themselves(run, trained, monkeypatch, form):
    monkeypatch.setattr(page, "write_all", lambda *_: [Path("report.html"), Path("figure.png")])
    done = run("train-grid", *SMALL, "--format", form)
    read = pd.read_csv if form == "csv" else pd.read_json
    frame = read(io.StringIO(done.stdout))
    assert list(frame.val_accuracy) == sorted(frame.val_accuracy, reverse=True)
    assert done.stderr == ""


def test_the_table_has_the_columns_that_others_rely_on(run, trained):
    wanted = ["cell_id", "training_id", "study", "name", "init", "activation", "depth", "width", "optimizer", "lr",
              "momentum", "nesterov", "batch_size", "steps", "seed", "dataset", "normalization", "l1", "l2", "dropout",
              "batch_norm", "cutout", "mixup", "label_smoothing", "stochastic_depth", "early_stopping", "status",
              "weight_decay", "diverged_at", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss",
              "test_accuracy", "seconds", "device", "engine"]  # fmt: skip
    runs = ib.load(trained).runs
    assert set(wanted) <= set(runs)
    listed = {row["name"] for row in json.loads(run("list", "columns", "--format", "json").stdout)}
    regularizers = {row["name"] for row in json.loads(run("list", "regularizers", "--format", "json").stdout)}
    assert set(runs) <= listed | regularizers
    assert (runs.seconds > 0).all()
    assert ((runs.training_seconds + runs.evaluation_seconds) <= runs.stack_seconds * 1.001).all()


def test_profile_says_where_the_time_goes(run):
    out = run("train-grid", *SMALL, "--profile", "--no-figures").output
    assert all(f"  {phase}" in out for phase in ("data", "forward", "backward", "optimizer"))


def test_verify_agrees_with_what_is_stored(run, trained):
    done = run("verify", trained, "--runs", "3", "--format", "csv")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(io.StringIO(done.stdout))
    assert len(table) == 3
    assert (table.loss_64 < 1e-9).all()
    assert (table.loss_32 < 1e-3).all()
    assert table.agrees.all()
    assert "Largest differences: loss_32" in run("verify", trained, "--runs", "1").output


def test_verify_refuses_other_data_and_another_study(run, trained):
    manifest = trained / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "data": {"digits": "0" * 16}}))
    assert run("verify", trained).stderr == (
        "Error: the data set digits is not what the results rest on: its content is another\n")  # fmt: skip
    manifest.write_text(json.dumps(told))
    study_file = trained / "study.toml"
    study_file.write_text(study_file.read_text().replace("0.01", "0.02"))
    assert run("verify", trained).stderr == (
        "Error: the study is not that of the results: they lack some of its cells\n")  # fmt: skip


def test_verify_compares_who_diverged_in_each_precision(run):
    run("train-grid", *small(lr=1e30, optimizer="sgd", init="he"), "--no-figures")
    table = pd.read_csv(io.StringIO(run("verify", "results/digits", "--runs", "2", "--format", "csv").stdout))
    assert set(table.status) == {"diverged"}
    assert table.agrees.all()


def test_variance_leaves_the_results_of_a_training_alone(run, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*.parquet")}
    done = run("variance", "--depth", "2", "--width", "8", "--init", "he", "--activation", "relu", "--out", trained)
    assert done.stderr == f"Error: {trained} holds another study's results; give another folder with --out\n"
    assert done.exit_code == 2
    assert {path: path.read_bytes() for path in trained.rglob("*.parquet")} == before


def test_a_damaged_table_is_joined_again_from_its_parts(run, trained, monkeypatch):
    whole, path = ib.load(trained).runs, trained / "runs.parquet"
    path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setitem(ENGINES, "stacked", Engine(lambda *_: pytest.fail("trained again")))
    assert run("train-grid", *SMALL, "--no-figures").exit_code == 0
    pd.testing.assert_frame_equal(ib.load(trained).runs, whole)


def test_verify_sees_a_forged_result(run, trained):
    path = trained / "runs.parquet"
    runs = pd.read_parquet(path)
    for column in ("test_accuracy", "val_loss"):
        runs.assign(**{column: runs[column] + 0.5}).to_parquet(path)
        table = pd.read_csv(io.StringIO(run("verify", trained, "--runs=1", "--format", "csv").stdout))
        assert (table.agrees.tolist(), table.differs.tolist()) == ([False], [column])


def test_verify_knows_a_training_that_magnifies_rounding(run):
    """Adam with 0.1 is off by more than any tolerance between equally right ways to train."""
    set_to = {"init": "xavier", "activation": "tanh", "depth": 2, "width": 32, "optimizer": "adam", "steps": 100,
              "lr": 0.1, "batch_size": 64, "seeds": 3}  # fmt: skip
    run("train-grid", *small(**set_to), "--no-figures")
    table = pd.read_csv(io.StringIO(run("verify", "results/digits", "--runs=3", "--format", "csv").stdout))
    assert (table.loss_32 > 1e-3 * table.test_loss).any()
    assert table.agrees.all()


def test_status_of_finished_results(run, trained):
    told = dict(line.split(maxsplit=1) for line in run("status", trained).output.splitlines())
    assert told["state"] == "finished"
    assert told["trainings"] == "32: 32 finished"
    assert run("status", "nowhere").stderr == "Error: nowhere holds no results: there is no manifest.json\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "lrr=1"], "fix.lrr: unknown factor 'lrr'; did you mean 'lr'?"),
        (["--set", "lr"], "Invalid value for '--set': 'lr' is not KEY=VALUE, such as lr=0.1"),
        (["--set", "seed=7"], "--set seed: seeds are given as seeds=3 or seeds=[7, 8]"),
        (
            ["--set", "lr=0.1\ndepth=9"],
            "Invalid value for '--set': 'lr=0.1\\ndepth=9' is not KEY=VALUE, such as lr=0.1",
        ),
        (["--out", ""], "Invalid value for '--out': the name of the folder is empty"),
        (["--set", "lr=" + "[" * 3000], "compare.lr: input should be a valid number, not '" + "[" * 59 + "…"),
        (
            ["--set", "lr=0.1", "--set=depth=1", "--set=lr=0.2"],
            "the factor 'lr' is set twice; several levels are one list, such as lr=0.1,0.01",
        ),
        (
            ["--dataset=digits", "--set=dataset=line"],
            "the factor 'dataset' is set twice; several levels are one list, such as lr=0.1,0.01",
        ),
        (["--set", "lr=[]"], "compare.lr: a factor needs at least one level, none was given"),
        (["--dataset", "digitz"], "fix.dataset: unknown data set 'digitz'; did you mean 'digits'?"),
        (["--engine", "fast"], "unknown engine 'fast'; accepted: stacked, reference"),
        (["nowhere.toml"], "cannot read the study nowhere.toml: No such file or directory"),
        (["--dataset", "mnist"], "mnist is read from files: give --data-root DIR (or --download with it)"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(run, tmp_path, arguments, message):
    done = run("train-grid", *arguments)
    assert done.stderr.endswith(f"{message}\n")
    assert (done.stderr.count("\n"), done.exit_code) == (1, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_groups_what_can_share_a_minibatch():
    data = {"digits": DATASETS.make("digits").load(None, False)}
    cells = [Cell(seed=seed, data_seed=0, lr=lr, activation=phi) for seed in (0, 1) for lr in (0.1, 0.2)
             for phi in ("relu", "tanh")]  # fmt: skip
    assert [len(stack) for stack in plan_training(cells, data).stacks] == [4, 4]
    apart = [dataclasses.replace(cell, data_seed=None) for cell in cells]
    assert [len(stack) for stack in plan_training(apart, data).stacks] == [2, 2, 2, 2]


def test_the_callers_modes_and_defaults_do_not_matter(tmp_path):
    given = study(fix={"steps": 5, "width": 8, "cutout": 0.3, "dropout": 0.2})
    plain = ib.run(given, tmp_path / "plain").runs
    torch.manual_seed(7)
    state = torch.get_rng_state()
    with torch.inference_mode():
        inference = ib.run(given, tmp_path / "inference").runs
    torch.set_default_dtype(torch.float64)
    try:
        double = ib.run(given, tmp_path / "double").runs
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    for other in (inference, double):
        pd.testing.assert_frame_equal(untimed(plain), untimed(other))


def test_the_stack_that_runs_is_a_job(tmp_path):
    job = prepare(study())
    seen = []
    run_training(job, tmp_path, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (32, 32)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert os.listdir(tmp_path / "parts")
