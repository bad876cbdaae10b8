"""How fast the stacked engine trains the cell of reference, beside what a user would write instead.

784-100-10 and its sibling of three hidden layers, relu, Adam, minibatches of 64, 200 updates, then 20,000 images
evaluated (and 2,000 of the training set, by the stacks alone). Ratios are per run: full stacks on all cores against one
run. The images are noise: speed does not depend on what they show.
"""

import dataclasses
import itertools
import time
from functools import partial

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

CELL = Cell(depth=1, width=100, activation="relu", optimizer="adam", lr=1e-3, batch_size=64, steps=200)
DEPTHS = pytest.mark.parametrize("depth", [1, 3], ids=["784-100-10", "784-100-100-100-10"])
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models():
    """How many networks the product trains here at once: a stack a core."""
    return devices.workers(CPU) * tuned(CPU).stack


def stacked(data, depth):
    """As the product trains `models` of them, in three groups of the optimizer."""
    workers, tuning = devices.workers(CPU), tuned(CPU)
    cell = dataclasses.replace(CELL, depth=depth)
    stack = [dataclasses.replace(cell, lr=1e-3 * (1 + 3 * i // tuning.stack)) for i in range(tuning.stack)]
    one = subnormals_flushed()(lambda cells: train(cells, data, tuning=tuning))
    with Beside(workers) as beside:
        assert len(list(beside.results(one, [stack] * workers))) == workers


def widths(depth):
    return [784, *[100] * depth, 10]


def weights(depth):
    return sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths(depth)))


def network(depth):
    layers = [(nn.Linear(fan_in, fan_out), nn.ReLU()) for fan_in, fan_out in itertools.pairwise(widths(depth))]
    return nn.Sequential(nn.Flatten(), *itertools.chain(*layers))[:-1]


class Images(Dataset):
    """As torchvision's own data sets are: an image is opened, transformed and handed over."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.3,))])

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


def data_loader_loop(images, depth):
    """One run as in torch's tutorials."""
    pixels, labels = images
    model = network(depth)
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


def tuned_loop(data, depth, **options):
    """One run on tensors in memory, with nothing in the loop that need not be there."""
    train, *held = ((part.images, part.labels) for part in (data.train, data.validation, data.test))
    adam = partial(torch.optim.Adam, lr=1e-3, **options)
    yardsticks.training(widths(depth), nn.ReLU, adam, CELL.steps, train, held)


@DEPTHS
def test_a_run_beside_a_data_loader_loop(beside, data, images, models, depth):
    """Ratio: wanted 45."""
    beside(lambda: stacked(data, depth), lambda: data_loader_loop(images, depth), per_work=models, turns=3)


@DEPTHS
@pytest.mark.parametrize("options", [{}, {"fused": True}], ids=["default", "fused"])
def test_a_run_beside_a_tuned_loop(beside, data, models, depth, options):
    """Ratio: wanted 4.5, with torch's default Adam; harder, where its fused one is asked for."""
    loops = repeated(lambda: tuned_loop(data, depth, **options), 5)
    beside(lambda: stacked(data, depth), loops, per_work=models, per_yardstick=5)


@DEPTHS
def test_a_run_beside_an_array_compiler(beside, data, models, depth):
    """Ratio: wanted 1.5. It has all cores, and compiles in the warm-up."""
    compiled = pytest.importorskip("array_compiler", reason="needs jax").Runs
    train, *held = ((part.images, part.labels) for part in (data.train, data.validation, data.test))
    held = [torch.cat(parts) for parts in zip(*held, strict=True)]
    runs = compiled(widths(depth), models, CELL.steps, CELL.batch_size, train, held)
    beside(lambda: stacked(data, depth), runs, per_work=models, per_yardstick=models, turns=3)


@DEPTHS
def test_a_run_beside_its_multiply_adds(beside, data, models, depth):
    """Ratio: the floor (training, 20,000 images evaluated, at the best product's rate) over the run. Wanted: 1/1.5."""
    work = CELL.steps * CELL.batch_size * (3 * weights(depth) - 784 * 100) + 20_000 * weights(depth)
    product, multiply_adds = yardsticks.best_product()
    products = round(2e11 / multiply_adds)
    beside(lambda: stacked(data, depth), repeated(product, products),
           per_work=models * work, per_yardstick=products * multiply_adds)  # fmt: skip


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


def repeated(work, times):
    """`work`, as often as makes a turn long enough to be timed."""
    return lambda: [work() for _ in range(times)]
