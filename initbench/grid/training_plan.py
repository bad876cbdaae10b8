"""Cells into trainings, trainings into stacks: cells that are the same training are trained once.

A grid may have a million cells: they are known by their places and made when asked for; a plan is arrays of numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Network
from initbench.datasets import Data
from initbench.engine.device import memory
from initbench.engine.training import tune
from initbench.engine.training.trainer import OWN
from initbench.engine.tuning import UNTUNED
from initbench.grid.cells import Grid
from initbench.grid.costs import bytes_of, update_traffic
from initbench.grid.refusals import refusal
from initbench.initializers import INITIALIZERS
from initbench.recipe import OPTIMIZERS, REGULARIZERS
from initbench.recipe.samples import training_images

FEWEST = 8
"""A stack is not split among cores below this many networks: calls would take longer than products."""
SMALL = 64
"""Of small networks as many are stacked, where there are enough: with more, calls are no longer what takes time."""
TURNS = 4
"""Stacks a core that there should be, before larger ones are made: so that all cores end at about the same time."""
REMEMBERED = 2**14
"""Ids, and reasons against a cell, that are kept, of the cells at hand: a grid may have a million."""

Places = NDArray[np.int32]
Numbers = NDArray[np.uint64]
"""Ids of trainings as numbers."""

DECISIVE = ("init", "bias_variance", "early_stopping", "regularizers")
"""What networks of one stack may differ in, and may make one of them impossible."""
HIDDEN = ("width", "activation", "batch_norm", "residual")
"""What only hidden layers read, but for initializers that ask for the activation."""
LINEAR = (64, 10)
"""Features and classes of a network by which these are found."""
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Cell)}
_TOLD = np.dtype([("id", "u8"), ("reason", "i4"), ("group", "u8"), ("source", "i4"), ("order_seed", "i8"),
                  ("lr", "f8"), ("momentum", "f8"), ("nesterov", "?"), ("weight_decay", "f8")])  # fmt: skip
"""What is noted of each cell while a plan is made: all that decides on its stack, and where it stands there."""

_MOVED = update_traffic(tune.CELL, tune.FEATURES, tune.CLASSES, tune.CELL.batch_size)
"""Bytes that an update of the cell of reference moves, of which `Tuning.stack` tells how many to stack."""


class Stacks:
    """Distinct trainings, those of one split of the data beside each other."""

    def __init__(self, cells: Grid, places: Places, bounds: Sequence[int]) -> None:
        self._cells = cells
        self.places = places
        """Of the first cell of each training, stack after stack."""
        self._bounds = np.array(bounds, np.int32)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, at: int) -> list[Cell]:
        return self._trainings(self.places[self._bounds[at] : self._bounds[at + 1]])

    def __iter__(self) -> Iterator[list[Cell]]:
        return map(self.__getitem__, range(len(self)))

    def _trainings(self, places: Places) -> list[Cell]:
        return [as_trained(self._cells[place]) for place in places.tolist()]

    @property
    def sizes(self) -> list[int]:
        """How many trainings each stack has."""
        return np.diff(self._bounds).tolist()

    def firsts(self) -> Iterator[Cell]:
        """A training of each stack."""
        return (as_trained(self._cells[place]) for place in self.places[self._bounds[:-1]].tolist())

    def without(self, there: NDArray[np.bool_]) -> Iterator[list[Cell]]:
        """The stacks less the trainings of the cells that are `there`, a truth value for each cell."""
        for start, end in pairwise(self._bounds):
            places = self.places[start:end]
            if len(missing := places[~there[places]]):
                yield self._trainings(missing)


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """What a study has to train."""

    cells: Grid
    numbers: Numbers
    """The training of each cell; 0 where the cell is impossible."""
    reasons: tuple[str, ...]
    why: Places
    """The place of each cell's reason among `reasons`, whose first, of cells that can be, is empty."""
    stacks: Stacks

    @property
    def distinct(self) -> int:
        """How many trainings there are."""
        return len(self.stacks.places)

    @property
    def impossible(self) -> dict[Cell, str]:
        """Cells that cannot be, each with its reason."""
        return {self.cells[place]: self.reasons[self.why[place]] for place in np.flatnonzero(self.why).tolist()}

    def trainings(self, places: slice = slice(None)) -> list[str]:
        """The ids of the trainings of these cells; empty where one is impossible."""
        return [f"{number:016x}" if number else "" for number in self.numbers[places].tolist()]

    def answered(self, trainings: Iterable[str]) -> tuple[Places, Places]:
        """Which cells these trainings answer: the place of a training among these, and of a cell, pair by pair."""
        asked = np.array([int(training, 16) for training in trainings], np.uint64)
        order, ordered = self._by_training
        first, last = (np.searchsorted(ordered, asked, side) for side in ("left", "right"))
        many = last - first
        which = np.repeat(np.arange(len(asked), dtype=np.int32), many)
        within = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        return which, order[np.repeat(first, many) + within]

    @cached_property
    def _by_training(self) -> tuple[Places, Numbers]:
        """Places of the cells by their trainings, and these."""
        order = np.argsort(self.numbers, kind="stable").astype(np.int32)
        return order, self.numbers[order]


def plan_training(
    cells: Grid, data: Mapping[str, Data], most: int = UNTUNED.stack, workers: int = 1, device: torch.device = tune.CPU
) -> TrainingPlan:
    """The stacks of `cells` on loaded `data` by name of the data set; `workers` share them on `device`.

    They have about `most` networks (`Tuning.stack`), more where these are small, fewer where memory holds no more; if
    `most` is 1, each has one.
    Raises `UsageError` if no cell is possible.
    """
    told, reasons = _told(cells, data)
    if not len(cells) or told["reason"].all():
        raise UsageError(next(filter(None, reasons), "the study excludes every cell"))
    places, bounds = _stacks(cells, told, data, most, workers, memory(device))
    return TrainingPlan(cells, told["id"].copy(), reasons, told["reason"].copy(), Stacks(cells, places, bounds))


def as_trained(cell: Cell) -> Cell:
    """The cell that stands for all that are the same training: what it does not read has the default."""
    read = OPTIMIZERS.make(cell.optimizer).settings(cell)
    if not cell.depth:
        asks = _asks_for_activation(cell.init, cell.activation, cell.bias_variance)
        cell = replace(cell, **{name: _DEFAULTS[name] for name in HIDDEN if name != "activation" or not asks})
    return replace(
        cell,
        momentum=read.get("momentum", 0.0),
        nesterov=read.get("nesterov", False),
        steps=1 if cell.epochs else cell.steps,
        data_seed=cell.order_seed,
    )


@lru_cache(maxsize=REMEMBERED)
def _asks_for_activation(init: str, activation: str, bias_variance: float) -> bool:
    """Whether weights without a hidden layer depend on the activation, as those of `critical` do."""
    initializer, linear = INITIALIZERS.make(init), Network(LINEAR, bias_variance, output=True)
    if initializer.adapt or initializer.rates:  # these may ask for anything
        return True
    try:
        promised, default = (initializer.promises(ACTIVATIONS.make(spec), linear)
                             for spec in (activation, _DEFAULTS["activation"]))  # fmt: skip
    except UsageError:  # it serves one of them alone
        return True
    return promised != default


@lru_cache(maxsize=REMEMBERED)
def identity(cell: Cell) -> str:
    """A hash of all that the cell says: the same on every machine."""
    told = json.dumps(vars(cell), sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def part_name(stack: Sequence[Cell]) -> str:
    """The name of the part that holds these trainings."""
    return hashlib.blake2b("".join(map(identity, stack)).encode(), digest_size=8).hexdigest()


def split_of(cell: Cell) -> tuple[str, str, float, int]:
    """Which prepared split of the data the cell is trained on: the arguments of `split`."""
    return cell.dataset, cell.normalization, cell.validation, cell.order_seed


def _told(cells: Grid, data: Mapping[str, Data]) -> tuple[NDArray[np.void], tuple[str, ...]]:
    """What is noted of each cell, with the reasons against cells; numbers in place of a million objects."""

    @lru_cache(maxsize=REMEMBERED)
    def reason(shared: Cell, *own: Any) -> str:
        cell = replace(shared, **dict(zip(DECISIVE, own, strict=True)))
        return refusal(cell, data[cell.dataset])

    told, reasons, sources = np.zeros(len(cells), _TOLD), {"": 0}, dict[tuple[str, str, float], int]()
    for place, cell in enumerate(map(as_trained, cells)):
        shared = _shared(cell)
        why = reasons.setdefault(reason(shared, *[getattr(cell, name) for name in DECISIVE]), len(reasons))
        if why:
            told[place] = (0, why, 0, 0, 0, 0, 0, False, 0)
            continue
        source = cell.dataset, cell.normalization, cell.validation
        scaled = INITIALIZERS.make(cell.init).branch is not None  # these have parameters that others lack
        group = int(identity(shared), 16) ^ scaled
        told[place] = (int(identity(cell), 16), 0, group, sources.setdefault(source, len(sources)),
                       cell.order_seed, cell.lr, cell.momentum, cell.nesterov, cell.weight_decay)  # fmt: skip
    rank = {sources[source]: place for place, source in enumerate(sorted(sources))}
    told["source"] = np.array([rank.get(source, 0) for source in range(max(1, len(rank)))])[told["source"]]
    return told, tuple(reasons)


def _stacks(
    cells: Grid, told: NDArray[np.void], data: Mapping[str, Data], most: int, workers: int, memory: int
) -> tuple[Places, list[int]]:
    """Trainings that share all but their own, in stacks of about equal size: their cells' places, and the bounds."""
    possible = np.flatnonzero(told["reason"] == 0)
    distinct = np.sort(possible[np.unique(told["id"][possible], return_index=True)[1]])
    own = told[distinct]
    _, first, member = np.unique(own["group"], return_index=True, return_inverse=True)
    group = first[member]
    # by split; and in a stack, equal settings beside each other are one group of the optimizer
    order = np.lexsort((own["weight_decay"], own["nesterov"], own["momentum"], own["lr"], group, own["order_seed"],
                        own["source"]))  # fmt: skip
    places, group = distinct[order].astype(np.int32), group[order]
    share = max(FEWEST, -(-len(places) // workers))
    bounds: list[int] = []
    for start, end in pairwise([0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(places)]):
        cell = cells[int(places[start])]
        limit = min(share, memory // workers // bytes_of(cell, data[cell.dataset]))
        stacks = max(round((end - start) / _size(cell, data[cell.dataset], most, share)),
                     -(-(end - start) // max(1, limit)))  # fmt: skip
        bounds += range(start, end, -(-(end - start) // stacks))
    return places, [*bounds, len(places)]


def _size(cell: Cell, data: Data, most: int, share: int) -> int:
    """How many networks like `cell` are best stacked, where a core has `share` trainings of all."""
    if most == 1:
        return 1
    # as many as move no more memory than `most` cells of reference do
    alike = most * _MOVED // update_traffic(cell, data.features, data.classes, training_images(cell, data))
    return max(most, min(SMALL, alike, share // TURNS))


def _shared(cell: Cell) -> Cell:
    """What a stack has in common: all but each network's own, and the strengths that act on minibatches."""
    strengths = tuple((name, s) for name, s in cell.regularizers if REGULARIZERS.make(name).batches)
    return replace(cell, regularizers=strengths, **{name: _DEFAULTS[name] for name in OWN})
