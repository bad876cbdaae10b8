"""The speed that must not get lost: fixed workloads, each held against a yardstick of its own kind; docs/benchmarks.md.

On one thread, as the product trains its stacks. `gate.py` judges the ratios.
"""

import dataclasses
import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import yardsticks
from threadpoolctl import threadpool_limits
from torch import nn

from initbench.analysis import report, verdicts
from initbench.analysis.figures import save
from initbench.analysis.results import load
from initbench.core.cell import Cell
from initbench.engine.signals import subnormals_flushed
from initbench.engine.training.trainer import METRICS, Outcome, train
from initbench.engine.tuning import UNTUNED
from initbench.grid import training
from initbench.grid.executors import Hands
from initbench.grid.plan import plan
from initbench.grid.run import run_variance
from initbench.grid.stacks import ENGINES, Engine
from initbench.grid.store import Store
from initbench.grid.study import Study, read_study
from initbench.grid.study import resolve as resolve_training
from initbench.grid.training import prepare, run_training
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import open_inputs, resolve
from initbench.recipe.samples import Samples, Split

SWEEP = Path(__file__).parents[2] / "studies" / "mlp_mnist_200_steps.toml"
CPU = torch.device("cpu")
ADAM = {"optimizer": "adam", "lr": 1e-3}
MOMENTUM = {"optimizer": "sgd", "lr": 1e-2, "momentum": 0.9}
FUSED = {
    "adam": partial(torch.optim.Adam, lr=1e-3, fused=True),
    "sgd": partial(torch.optim.SGD, lr=1e-2, momentum=0.9, fused=True),
}
SHAPES = {
    "784-100-10": Cell(depth=1, width=100, steps=80, **ADAM),
    "784-100-100-100-10": Cell(depth=3, width=100, steps=50, activation="tanh", **MOMENTUM),
    "64-50-50-10": Cell(depth=2, width=50, steps=200, **ADAM),
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
MODELS = 32


@pytest.fixture(autouse=True)
def one_thread():
    """For torch, for numpy and for Arrow."""
    before = torch.get_num_threads(), pa.cpu_count()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before[0])
    pa.set_cpu_count(before[1])


@pytest.fixture(autouse=True)
def disk_is_no_matter(monkeypatch):
    """Files are written and not waited for: how long a disk takes to be sure changes tenfold from hour to hour."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def trains_nothing(monkeypatch):
    """An engine that answers at once, and stacks of the same size in every run."""
    answer = lambda cells, *_: [Outcome(steps=1, metrics=dict.fromkeys(METRICS, 0.5)) for _ in cells]  # noqa: E731
    monkeypatch.setitem(ENGINES, "stacked", Engine(answer))
    monkeypatch.setattr(training, "tuned", lambda _: UNTUNED)


def test_propagation(beside):
    """Twelve pairings of the default network, one seed, every column; a plain nn.Sequential with hooks."""
    inits = ["he_normal", "xavier_normal", "torch_default", "orthogonal"]
    study = resolve(init=inits, activation=["relu", "tanh", "gelu"])
    planned, inputs = plan(study), open_inputs(study)
    yardstick = partial(yardsticks.propagation, len(study.network.layers), study.widths[0], study.batch)
    beside(lambda: measure(planned, inputs, range(1, 2), CPU), repeated(yardstick, 4),
           per_work=12, per_yardstick=4, turns=9)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_stack(beside, shape):
    """A stack of three learning rates, untuned, per network; one plain loop with torch's fused optimizer."""
    cell, widths = SHAPES[shape], [int(width) for width in shape.split("-")]
    split = noise(widths[0])
    cells = [dataclasses.replace(cell, lr=cell.lr * (1 + 3 * number // MODELS)) for number in range(MODELS)]
    held = [(part.images, part.labels) for part in (split.train_sample, split.validation, split.test)]
    loop = partial(yardsticks.training, widths, ACTIVATIONS[cell.activation], FUSED[cell.optimizer], cell.steps,
                   (split.train.images, split.train.labels), held)  # fmt: skip
    with subnormals_flushed():
        beside(lambda: train(cells, split), repeated(loop, 10), per_work=MODELS, per_yardstick=10, turns=6)


def test_sweep_planned_and_stored(beside, forget, trains_nothing, tmp_path_factory):
    """10,368 cells planned, stored and joined, none trained; records hashed, stored and joined in plain pandas."""
    new = partial(tmp_path_factory.mktemp, "sweep")
    study = resolve_training(read_study(SWEEP), [("validation", "0.2")], "digits")  # digits: MNIST may not be here

    def sweep():
        forget()
        job = prepare(study, device="cpu", hands=Hands("threads"))  # where the engine is that trains nothing
        assert len(job.plan.cells) == 10_368
        run_training(job, new() / "results")

    beside(sweep, repeated(lambda: yardsticks.bookkeeping(new() / "files"), 2), per_yardstick=2, turns=4)


def test_theory_of_all_pairings(beside, forget):
    """All laws for all default pairings, depth 8, nothing remembered; mean-field recursions by plain quadrature."""
    study = resolve(depth=8)
    moments = open_inputs(study).moments(study.seeds, study.batch)

    def theory():
        forget()
        predictions(study, moments)

    beside(theory, yardsticks.quadrature, turns=5)


def test_reading_a_million_rows(beside, tmp_path):
    """A results folder with a million rows of `curves`; pandas reading a file of the same table."""
    curves = yardsticks.million_rows()
    with Store(tmp_path / "results", Study().as_toml(), {}, ("curves",)) as store:
        store.begin({})
        store.write_part("all", {"curves": curves})
        store.finish({"curves": store.read_parts("curves")}, {})
    plain = tmp_path / "plain.parquet"
    curves.to_parquet(plain, index=False)
    beside(lambda: load(tmp_path / "results").curves, lambda: pd.read_parquet(plain), turns=40)


def test_report(beside, tmp_path):
    """All figures of a small propagation and of a small sweep; figures of plain matplotlib."""
    few = resolve(init=["he_normal", "xavier_normal", "orthogonal"], activation="relu", depth=6, width=32, seeds=3)
    run_variance(few, tmp_path / "variance", judge=verdicts.verdicts, device="cpu")
    sweep = Study(compare={"init": ["he", "xavier"], "lr": [0.1, 0.01]}, fix={"steps": 2, "width": 8}, seeds=3)
    run_training(prepare(sweep, device="cpu"), tmp_path / "sweep")
    (tmp_path / "plain").mkdir()

    def draw():
        for name in ("variance", "sweep"):
            for figure, numbers, drawn in report.figures(load(tmp_path / name)):
                save(drawn, numbers, tmp_path / "figures" / name, figure)

    beside(draw, lambda: yardsticks.figures(tmp_path / "plain"), turns=5)


def noise(features):
    """Images that show nothing, standardized: enough of them for every shape's updates."""
    drawn = np.random.default_rng(0)

    def samples(number):
        pixels = torch.from_numpy(drawn.standard_normal((number, features), dtype=np.float32))
        return Samples(pixels, torch.from_numpy(drawn.integers(0, 10, number)))

    side = round(features**0.5)
    return Split(samples(12_800), samples(1_000), samples(1_000), shape=(1, side, side), classes=10)


def repeated(work, times):
    """`work`, as often as makes a turn long enough to be timed."""
    return lambda: [work() for _ in range(times)]
