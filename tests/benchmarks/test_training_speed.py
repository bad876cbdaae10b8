"""How fast the stacked engine trains the cell of reference, beside what a user would write instead.

784-100-10, relu, Adam, minibatches of 64, 200 updates, then 20,000 images evaluated. Ratios are per run: full stacks
of networks, one a core, against one. The images are noise: speed does not depend on what they show.
"""

import dataclasses
import time
from functools import partial

import numpy as np
import pytest
import torch
import yardsticks
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from initbench.core.cell import Cell
from initbench.datasets import Data
from initbench.engine import device as devices
from initbench.engine.signals import subnormals_flushed
from initbench.engine.training.trainer import METRICS, Outcome, train
from initbench.engine.training.tune import tuned
from initbench.grid.beside import Beside
from initbench.grid.stacks import ENGINES, Engine
from initbench.grid.study import Study
from initbench.grid.training import Job, run_training
from initbench.grid.training_plan import identity, plan_training
from initbench.recipe.samples import split

CELL = Cell(depth=1, width=100, activation="relu", optimizer="adam", lr=1e-3, batch_size=64, steps=200)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    drawn = np.random.default_rng(0)
    return drawn.integers(0, 256, (70_000, 28, 28), dtype=np.uint8), drawn.integers(0, 10, 70_000)


@pytest.fixture(scope="module")
def data(images):
    pixels, labels = (torch.from_numpy(array) for array in images)
    x = pixels.flatten(1).float() / 255
    whole = Data(x[:60_000], labels[:60_000], x[60_000:], labels[60_000:], shape=(1, 28, 28), classes=10)
    return split(whole, "standardize", 10_000, 0)


@pytest.fixture(scope="module")
def models():
    """How many networks the product trains here at once: a stack a core."""
    return devices.workers(CPU) * tuned(CPU).stack


def stacked(data):
    """As the product trains `models` of them, in three groups of the optimizer."""
    workers, tuning = devices.workers(CPU), tuned(CPU)
    stack = [dataclasses.replace(CELL, lr=1e-3 * (1 + 3 * i // tuning.stack)) for i in range(tuning.stack)]
    one = subnormals_flushed()(lambda cells: train(cells, data, tuning=tuning))
    with Beside(workers) as beside:
        assert len(list(beside.results(one, [stack] * workers))) == workers


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


class Images(Dataset):
    """As torchvision's own data sets are: an image is opened, transformed and handed over."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.3,))])

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


def data_loader_loop(images):
    """One run as in torch's tutorials."""
    pixels, labels = images
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = DataLoader(Images(pixels[:50_000], labels[:50_000]), 64, shuffle=True)
    for _, (x, y) in zip(range(CELL.steps), batches, strict=False):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        rest = DataLoader(Images(pixels[50_000:], labels[50_000:]), 1000)
        assert sum(int((model(x).argmax(1) == y).sum()) for x, y in rest) > 0


def tuned_loop(data, **options):
    """One run on tensors in memory, with nothing in the loop that need not be there."""
    train, *held = ((part.images, part.labels) for part in (data.train, data.validation, data.test))
    adam = partial(torch.optim.Adam, lr=1e-3, **options)
    yardsticks.training([784, 100, 10], nn.ReLU, adam, CELL.steps, train, held)


def test_a_run_beside_a_data_loader_loop(beside, data, images, models):
    """Ratio: wanted 40."""
    beside(lambda: stacked(data), lambda: data_loader_loop(images), per_work=models, turns=3)


def test_a_run_beside_a_tuned_loop(beside, data, models):
    """Ratio: wanted 4."""
    beside(lambda: stacked(data), lambda: [tuned_loop(data) for _ in range(5)], per_work=models, per_yardstick=5)


def test_a_run_beside_a_tuned_loop_with_a_fused_optimizer(beside, data, models):
    """Ratio: the same, where torch's fused Adam is asked for."""
    loops = lambda: [tuned_loop(data, fused=True) for _ in range(5)]  # noqa: E731
    beside(lambda: stacked(data), loops, per_work=models, per_yardstick=5)


def test_a_run_beside_its_multiply_adds(beside, data, models):
    """Ratio: the floor (training and evaluation at the best square product's rate) over the run. Higher is better."""
    weights = 784 * 100 + 100 * 10
    work = 200 * 64 * (3 * weights - 784 * 100) + 20_000 * weights
    square, out = torch.randn(1024, 1024), torch.empty(1024, 1024)
    products = 200
    beside(lambda: stacked(data), lambda: [torch.mm(square, square, out=out) for _ in range(products)],
           per_work=models * work, per_yardstick=products * 1024**3)  # fmt: skip


def test_overhead_of_a_cell(beside, tmp_path_factory, monkeypatch):
    """Ratio: half a millisecond over what planning, hashing, storing and joining take for a cell. Wanted: above 1."""
    metrics = dict.fromkeys(METRICS, 0.5)
    nothing = Engine(lambda cells, *_: [Outcome(steps=1, metrics=metrics) for _ in cells])
    monkeypatch.setitem(ENGINES, "stacked", nothing)
    seeds, levels = 40, 50
    grid = Study(compare={"lr": [1 / (1 + level) for level in range(levels)]}, fix={"steps": 1}, seeds=seeds)
    x, y = torch.rand(40, 4), torch.arange(40) % 2
    tiny = {"digits": Data(x, y, x, y, shape=(1, 2, 2), classes=2)}

    def harness():
        identity.cache_clear()
        job = Job(grid, tiny, plan_training(grid.cells(), tiny), CPU)
        run_training(job, tmp_path_factory.mktemp("out") / "results")

    beside(harness, lambda: time.sleep(0.5), per_work=seeds * levels, per_yardstick=1000)
