"""What a training takes: memory, products, disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from initbench.core.cell import Cell
from initbench.core.records import parameter_count, shape_of
from initbench.datasets import Data
from initbench.recipe.samples import batch_length, held_out, steps_of, training_images

COPIES = 6
"""Of the parameters: themselves, two gradients on their way, up to three of the optimizer."""
UPDATE_PASSES, SIGNAL_PASSES = 10, 13
"""How often an update reads or writes each parameter, and each number between the layers."""
EVALUATION_PASSES = 4
"""The latter in evaluation."""
CALLS = 2e-4
"""Seconds that a layer of a stack takes an update in Python and in torch's calls; one thread at a time."""
RATE, BANDWIDTH = 1e11, 1e10
"""Operations and bytes per second of a core, in order of magnitude."""
RECORD = 600
"""Bytes of a row of the curves, or of a layer's, while a stack is trained: a dictionary of numbers."""


def bytes_of(cell: Cell, data: Data) -> int:
    """What one network of a stack takes in memory, in float32, with the curves that it records."""
    curves = RECORD * _records(cell, data)
    batch = batch_length(cell, len(data.train_images))
    activations = 4 * batch * (cell.depth * cell.width + data.classes)
    return 4 * (COPIES * _parameters(cell.depth, cell.width, data.features, data.classes) + activations) + curves


@lru_cache
def _parameters(depth: int, width: int, features: int, classes: int) -> int:
    """Weights and biases of one network."""
    return parameter_count(shape_of(Cell(depth=depth, width=width), features, classes))


def multiply_adds(cell: Cell, data: Data) -> int:
    """Of one training: forward, both backward products (but the images'), and the final evaluation."""
    weights = [layer.fan_in * layer.fan_out for layer in shape_of(cell, data.features, data.classes).layers]
    step = batch_length(cell, training_images(cell, data)) * (3 * sum(weights) - weights[0])
    return updates(cell, data) * step + _evaluated(cell, data) * sum(weights)


def traffic(cell: Cell, data: Data) -> int:
    """Bytes that one training moves between memory and processor, about."""
    update = update_traffic(cell, data.features, data.classes, training_images(cell, data))
    evaluation = EVALUATION_PASSES * _evaluated(cell, data) * _units(cell, data.classes)
    return updates(cell, data) * update + 4 * evaluation


def update_traffic(cell: Cell, features: int, classes: int, images: int) -> int:
    """The same of one update; `images` are those of the training split."""
    parameters = UPDATE_PASSES * _parameters(cell.depth, cell.width, features, classes)
    return 4 * (parameters + SIGNAL_PASSES * batch_length(cell, images) * _units(cell, classes))


def _units(cell: Cell, classes: int) -> int:
    return cell.depth * cell.width + classes


def calls(cell: Cell, data: Data) -> float:
    """Seconds of calls in one training, or one stack of such."""
    return updates(cell, data) * (cell.depth + 1) * CALLS


def arithmetic(cell: Cell, data: Data) -> float:
    """Seconds of products and memory of one training, in order of magnitude: on a core like those of today."""
    return 2 * multiply_adds(cell, data) / RATE + traffic(cell, data) / BANDWIDTH


def updates(cell: Cell, data: Data) -> int:
    """Steps of one training, if nothing stops it early."""
    return steps_of(cell, training_images(cell, data))


def _evaluated(cell: Cell, data: Data) -> int:
    """Images that are looked at after training: those held out, and those for test."""
    return held_out(len(data.train_images), cell.validation) + len(data.test_images)


def disk_of(cells: Iterable[Cell], data: Mapping[str, Data]) -> int:
    """Bytes of the tables, about: a compressed row each cell, and one each record and layer."""
    return sum(150 + 40 * _records(cell, data[cell.dataset]) for cell in cells)


def _records(cell: Cell, data: Data) -> int:
    """Rows of the curves and of their layers."""
    return math.ceil(updates(cell, data) / cell.record_every) * (cell.depth + 2) if cell.record_every else 0
