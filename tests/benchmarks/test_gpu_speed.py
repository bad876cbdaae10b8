"""How fast a GPU trains stacks of the cell of reference: beside the bytes that it must move, and without CUDA graphs.

The networks and the data are those of `test_training_speed`: 784-100-10 and its sibling of three hidden layers, Adam,
minibatches of 64, 200 updates, then 20,000 images evaluated (and 2,000 of the training set).
"""

import dataclasses

import pytest
import torch
from test_training_speed import CELL, CPU, DEPTHS, weights

from initbench.engine.training.trainer import train
from initbench.engine.training.tune import tuned
from initbench.engine.training.updates import Updates

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
GPU = torch.device("cuda")
PASSES = 9
"""A parameter in an update: read forward; its gradient written; Adam reads four numbers and writes three."""
SIZES = pytest.mark.parametrize("models", [18, tuned(GPU).stack])
"""Networks: as many as the lecture's sweep has of one shape with Adam, and a full stack."""


@pytest.fixture(scope="session")
def resident(data):
    return data.to(GPU, torch.float32)


def stacked(data, depth, models):
    """As the product trains them, in three groups of the optimizer."""
    cell = dataclasses.replace(CELL, depth=depth)
    train([dataclasses.replace(cell, lr=1e-3 * (1 + 3 * i // models)) for i in range(models)], data, tuning=tuned(GPU))
    torch.cuda.synchronize()


@DEPTHS
@SIZES
def test_a_stack_beside_the_bytes_that_it_moves(beside, resident, depth, models):
    """Ratio: the floor (weights, gradients and Adam's state, at the rate of a copy) over the stack. Wanted: 1/3."""
    moved = 4 * PASSES * CELL.steps * models * weights(depth)
    one, other = torch.empty(2, 2**28, dtype=torch.uint8, device=GPU)

    def copies():
        for _ in range(20):
            one.copy_(other)
        torch.cuda.synchronize()

    beside(lambda: stacked(resident, depth, models), copies, per_work=moved, per_yardstick=20 * 2 * len(one))


@DEPTHS
@SIZES
def test_a_stack_beside_one_without_graphs(beside, resident, depth, models):
    """Ratio: how much CUDA graphs are worth."""

    def one_by_one():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Updates, "capturable", False)
            stacked(resident, depth, models)

    beside(lambda: stacked(resident, depth, models), one_by_one, turns=3)


@DEPTHS
def test_a_stack_beside_the_processor(beside, data, resident, depth):
    """Ratio: the same networks on one thread of the processor."""
    models = tuned(CPU).stack
    cell = dataclasses.replace(CELL, depth=depth)
    beside(lambda: stacked(resident, depth, models), lambda: train([cell] * models, data, tuning=tuned(CPU)), turns=3)
