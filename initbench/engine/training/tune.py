"""A short self-measurement: which product routine is fastest here, and how many networks to train as one stack.

It takes a second, once a machine (`initbench.engine.tuning` keeps it), and changes results by rounding alone. A study's
manifest says what it was run with, and going on with the study keeps to that.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TypeVar

import torch

from initbench.core.cell import Cell
from initbench.core.threads import one_thread
from initbench.engine import products, tuning
from initbench.engine.timing import Stopwatch
from initbench.engine.training.measures import ROWS
from initbench.engine.training.trainer import train
from initbench.engine.tuning import Tuning
from initbench.recipe.samples import Samples, Split

CPU = torch.device("cpu")
CELL = Cell(depth=1, width=100, activation="relu", optimizer="adam", lr=1e-3, batch_size=64, steps=12)
"""The cell of reference, for a dozen updates."""
FEATURES, CLASSES = 784, 10
STACKS = (8, 16, 24, 32, 48, 64)
"""Sizes that are tried: with fewer, calls take longer than products; with more, memory cannot keep up."""
ON_A_GPU = Tuning(stack=256)
WORTHWHILE = 0.03
"""A gain below this may be noise: then what stands first is kept."""
TURNS = 7

Clock = Callable[[], float]
Choice = TypeVar("Choice")


@cache
def tuned(device: torch.device) -> Tuning:
    """The choices for `device`: as kept, else measured now. A GPU's are not measured."""
    return tuning.kept(measure) if device.type == "cpu" else ON_A_GPU


@one_thread()
def measure(clock: Clock = time.perf_counter) -> Tuning:
    """The fastest choices, on one thread: stacks are trained beside each other, one a core."""
    routines = _routines(clock)
    return replace(routines, stack=_stack(routines, clock))


def _routines(clock: Clock) -> Tuning:
    models, units = Tuning().stack, CELL.width
    weight, bias = torch.full((models, units, FEATURES), 0.5), torch.zeros(models, units)
    delta, out = torch.ones(models, units, CELL.batch_size), torch.empty(models, units, FEATURES)
    few, many = torch.ones(CELL.batch_size, FEATURES), torch.ones(ROWS, FEATURES)
    return Tuning(
        forward=fastest(_seconds(lambda routine: routine.forward(weight, bias, few), clock)),
        gradient=fastest(_seconds(lambda routine: routine.gradient(delta, few, out), clock)),
        evaluation=fastest(_seconds(lambda routine: routine.forward(weight, bias, many), clock)),
    )


def _seconds(work: Callable[[products.Routine], object], clock: Clock) -> dict[str, float]:
    """The best of some turns of each routine."""
    best = dict.fromkeys(products.available(), float("inf"))
    for _ in range(TURNS):
        for name in best:
            start = clock()
            work(products.ROUTINES[name])
            best[name] = min(best[name], clock() - start)
    return best


def _stack(routines: Tuning, clock: Clock) -> int:
    """The size at which a network's share of an update is least."""
    shares = {}
    for size in STACKS:
        watch = Stopwatch(CPU, clock)
        train([CELL] * size, _noise(), watch, tuning=routines)
        shares[size] = statistics.median(watch.samples["training"][1:]) / size
    return fastest(shares)


def _noise() -> Split:
    """Just enough images for the updates; what they show does not matter."""
    train_images = torch.ones(CELL.batch_size, FEATURES)
    some = Samples(train_images, torch.zeros(len(train_images), dtype=torch.int64))
    one = Samples(some.images[:1], some.labels[:1])
    return Split(some, one, one, shape=(1, 28, 28), classes=CLASSES)


def fastest(seconds: Mapping[Choice, float]) -> Choice:
    """The first choice that takes hardly longer than the quickest."""
    least = min(seconds.values())
    return next(choice for choice, each in seconds.items() if each <= least * (1 + WORTHWHILE))
