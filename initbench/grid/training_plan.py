"""Cells into trainings, trainings into stacks: cells that are the same training are trained once."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Network, parameter_count, shape_of
from initbench.datasets import Data
from initbench.engine.training.trainer import OWN
from initbench.engine.tuning import UNTUNED
from initbench.initializers import INITIALIZERS
from initbench.recipe import OPTIMIZERS, REGULARIZERS, SCHEDULES
from initbench.recipe.samples import batch_length, held_out, steps_of

FEWEST = 8
"""A stack is not split among cores below this many networks: calls would take longer than products."""
MEMORY = 2**30
"""Bytes that the stacks under way may take; one network always fits."""
REMEMBERED = 2**14
"""Ids that are kept, of the cells at hand: a grid may have a million."""
COPIES = 6
"""Of the parameters: themselves, two gradients on their way, up to three of the optimizer."""

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Cell)}


@dataclass(frozen=True)
class TrainingPlan:
    """What a study has to train."""

    cells: tuple[Cell, ...]
    trainings: tuple[str, ...]
    """The training of each cell, by its id; empty where the cell is impossible."""
    stacks: tuple[tuple[Cell, ...], ...]
    """Distinct trainings, those of one split of the data beside each other."""
    impossible: Mapping[Cell, str]
    """Cells that cannot be, each with its reason."""

    @property
    def distinct(self) -> int:
        """How many trainings there are."""
        return sum(map(len, self.stacks))


def plan_training(
    cells: Iterable[Cell], data: Mapping[str, Data], most: int = UNTUNED.stack, workers: int = 1
) -> TrainingPlan:
    """The stacks of `cells`, of at most `most`, on loaded `data` by name of the data set; `workers` share them.

    Raises `UsageError` if no cell is possible.
    """
    cells = tuple(cells)
    reasons: dict[Cell, str] = {}
    distinct: dict[Cell, str] = {}
    ids = []
    for cell in cells:
        same = as_trained(cell)
        if same not in distinct and same not in reasons:
            if reason := _refusal(same, data[cell.dataset]):
                reasons[same] = reason
            else:
                distinct[same] = identity(same)
        ids.append(distinct.get(same, ""))
    if not distinct:
        raise UsageError(next(iter(reasons.values()), "the study excludes every cell"))
    impossible = {cell: reasons[as_trained(cell)] for cell, known in zip(cells, ids, strict=True) if not known}
    return TrainingPlan(cells, tuple(ids), tuple(_stacks(distinct, data, most, workers)), impossible)


def as_trained(cell: Cell) -> Cell:
    """The cell that stands for all that are the same training: what its optimizer does not read has the default."""
    read = OPTIMIZERS.make(cell.optimizer).settings(cell)
    return replace(
        cell,
        momentum=read.get("momentum", 0.0),
        nesterov=read.get("nesterov", False),
        steps=1 if cell.epochs else cell.steps,
        data_seed=cell.order_seed,
    )


@lru_cache(maxsize=REMEMBERED)
def identity(cell: Cell) -> str:
    """A hash of all that the cell says: the same on every machine."""
    told = json.dumps(vars(cell), sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def part_name(stack: Sequence[Cell]) -> str:
    """The name of the part that holds these trainings."""
    return hashlib.blake2b("".join(map(identity, stack)).encode(), digest_size=8).hexdigest()


def _refusal(cell: Cell, data: Data) -> str:
    """Why this training cannot be; empty where it can."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if (needed := bytes_of(cell, data)) > there:  # first: naming the layers of such a network takes long itself
        return f"one network needs about {needed / 2**30:.3g} GiB; this machine has {there / 2**30:.3g}"
    network = shape_of(cell, data.features, data.classes)
    try:
        images = len(data.train_images) - held_out(len(data.train_images), cell.validation)
        initializer, activation = INITIALIZERS.make(cell.init), ACTIVATIONS.make(cell.activation)
        initializer.promises(activation, network)
        if initializer.rates:
            initializer.learning_rates(activation, network, OPTIMIZERS.make(cell.optimizer).normalizes)
    except UsageError as reason:
        return str(reason)
    if missing := _misses_branches(cell, network):
        return missing
    watched = SCHEDULES.make(cell.schedule).watches_validation or cell.early_stopping
    if watched and not cell.record_every:
        return "early stopping and the schedule plateau look at the validation loss every record_every steps; give it"
    if cell.batch_norm and 1 in (size := batch_length(cell, images), images % size or size):
        return f"batch normalization needs 2 images or more in a minibatch; {images} by {size} leaves one with 1"
    if not cell.residual and any(REGULARIZERS.make(name).branches for name, _ in cell.regularizers):
        return "stochastic depth skips residual branches; set residual"
    return ""


def _misses_branches(cell: Cell, network: Network) -> str:
    """Why residual branches do not come out even, or are not what the initializer is for; empty where they serve."""
    branch, length = INITIALIZERS.make(cell.init).branch, network.residual
    if length > 1 and cell.depth and (left := (cell.depth - 1) % length):
        fits = cell.depth - left
        return (f"branches of {length} layers follow the first layer: depth {cell.depth} leaves {left} over; give"
                f" {fits} or {fits + length}")  # fmt: skip
    if branch and length < branch.layers:
        many = f" of {branch.layers} layers; set residual = {branch.layers}" if branch.layers > 1 else "; set residual"
        return f"{cell.init} needs residual branches{many}"
    if branch and not network.branches:
        return f"{cell.init} needs residual branches; depth {cell.depth} has none"
    return ""


def _stacks(
    distinct: Collection[Cell], data: Mapping[str, Data], most: int, workers: int
) -> Iterator[tuple[Cell, ...]]:
    """Trainings that share all but their own, in stacks of about equal size."""
    groups: dict[tuple[Cell, bool], list[Cell]] = {}
    most = min(most, max(FEWEST, -(-len(distinct) // workers)))
    for cell in distinct:
        scaled = INITIALIZERS.make(cell.init).branch is not None  # these have parameters that others lack
        groups.setdefault((_shared(cell), scaled), []).append(cell)
    by_split = sorted(groups.items(), key=lambda item: split_of(item[0][0]))
    for (shared, _), members in by_split:
        # equal settings beside each other are one group of the optimizer
        members.sort(key=lambda cell: (cell.lr, cell.momentum, cell.nesterov, cell.weight_decay))
        fit = max(1, min(most, MEMORY // workers // bytes_of(shared, data[shared.dataset])))
        size = -(-len(members) // -(-len(members) // fit))
        yield from (tuple(members[start : start + size]) for start in range(0, len(members), size))


def _shared(cell: Cell) -> Cell:
    """What a stack has in common: all but each network's own, and the strengths that act on minibatches."""
    strengths = tuple((name, s) for name, s in cell.regularizers if REGULARIZERS.make(name).batches)
    return replace(cell, regularizers=strengths, **{name: _DEFAULTS[name] for name in OWN})


def split_of(cell: Cell) -> tuple[str, str, float, int]:
    """Which prepared split of the data the cell is trained on: the arguments of `split`."""
    return cell.dataset, cell.normalization, cell.validation, cell.order_seed


def bytes_of(cell: Cell, data: Data) -> int:
    """What one network of a stack takes in memory, in float32."""
    batch = batch_length(cell, len(data.train_images))
    activations = 4 * batch * (cell.depth * cell.width + data.classes)
    return 4 * (COPIES * _parameters(cell.depth, cell.width, data.features, data.classes) + activations)


@lru_cache
def _parameters(depth: int, width: int, features: int, classes: int) -> int:
    """Weights and biases of one network."""
    return parameter_count(shape_of(Cell(depth=depth, width=width), features, classes))


def multiply_adds(cell: Cell, data: Data) -> int:
    """Of one training: forward, both backward products (but the images'), and the final evaluation."""
    images = len(data.train_images)
    held = held_out(images, cell.validation)
    weights = [layer.fan_in * layer.fan_out for layer in shape_of(cell, data.features, data.classes).layers]
    step = batch_length(cell, images - held) * (3 * sum(weights) - weights[0])
    return steps_of(cell, images - held) * step + (held + len(data.test_images)) * sum(weights)


def disk_of(plan: TrainingPlan) -> int:
    """Bytes of the tables, about: a compressed row each cell, and one each record and layer."""
    records = sum(math.ceil(c.steps / c.record_every) * (c.depth + 2) for c in plan.cells if c.record_every)
    return 150 * len(plan.cells) + 40 * records
