"""One stack trained: by which engine, in how much memory, into which tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from initbench import reference
from initbench.core.cell import Cell
from initbench.engine.signals import subnormals_flushed
from initbench.engine.timing import Stopwatch
from initbench.engine.training.trainer import METRICS, Halted, Outcome, train
from initbench.engine.tuning import UNTUNED, Tuning
from initbench.grid.training_plan import identity
from initbench.recipe.samples import Split, steps_of

Part = tuple[Sequence[Cell], dict[str, pd.DataFrame]]
"""Cells that were trained together, and the tables that tell of them."""


@dataclass(frozen=True)
class Session:
    """What all stacks of one run have in common."""

    device: str
    """As it is told in the tables."""
    engine: Engine
    profile: Stopwatch | None = None
    tuning: Tuning = UNTUNED
    halted: Halted = lambda: False


@dataclass(frozen=True)
class Engine:
    """A way to train cells: a stack of them, or `alone` one by one."""

    train: Callable[[Sequence[Cell], Split, Stopwatch, Session], list[Outcome]]
    alone: bool = False


def _stacked(cells: Sequence[Cell], data: Split, watch: Stopwatch, session: Session) -> list[Outcome]:
    return train(cells, data, watch, session.profile, session.tuning, session.halted)


def _by_reference(cells: Sequence[Cell], data: Split, watch: Stopwatch, _: Session) -> list[Outcome]:
    """One cell by the plain loop; its training and evaluation are timed as one."""
    (cell,) = cells
    with watch.lap("training"):
        found = reference.train(cell, data)
    metrics = {name: found.pop(name) for name in METRICS}
    return [Outcome(**found, steps=steps_of(cell, len(data.train)), metrics=metrics)]


ENGINES = {"stacked": Engine(_stacked), "reference": Engine(_by_reference, alone=True)}


@subnormals_flushed()
def trained(cells: Sequence[Cell], data: Split, session: Session) -> list[Part]:
    """The stack's tables; where memory does not hold it, those of its halves."""
    watch = Stopwatch(data.train.images.device)
    try:
        with watch.lap("stack"):
            outcomes = session.engine.train(cells, data, watch, session)
        return [(cells, _tables(cells, outcomes, watch, session.device))]
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
    # out of the except: the error's traceback holds the tensors that filled the memory
    if len(cells) == 1:
        outcomes = [Outcome("failed", metrics=dict.fromkeys(METRICS, float("nan")))]
        return [(cells, _tables(cells, outcomes, watch, session.device, "out of memory"))]
    middle = len(cells) // 2
    return [part for half in (cells[:middle], cells[middle:]) for part in trained(half, data, session)]


def _is_memory(error: Exception) -> bool:
    """Whether it says that memory ran out; torch's allocator on the CPU raises a plain RuntimeError."""
    told = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "can't allocate memory" in told
        or "out of memory" in told
    )


def _tables(
    cells: Sequence[Cell], outcomes: Sequence[Outcome], watch: Stopwatch, device: str, note: str = ""
) -> dict[str, pd.DataFrame]:
    """A part: a row per training in `runs`, its curves beside it."""
    times = {f"{phase}_seconds": watch.seconds(phase) for phase in ("stack", "training", "evaluation")}
    shared = {"stack_size": len(cells), "seconds": times["stack_seconds"] / len(cells), "device": device}
    runs, curves, layers = [], [], []
    for cell, outcome in zip(cells, outcomes, strict=True):
        who = {"training_id": identity(cell)}
        about = {"status": outcome.status, "diverged_at": outcome.diverged_at, "stopped_at": outcome.stopped_at}
        runs.append({**who, **about, "note": note, **outcome.metrics, **times, **shared})
        curves += [{**who, **row} for row in outcome.curves]
        layers += [{**who, **row} for row in outcome.layer_curves]
    whole = pd.DataFrame(runs).astype({"diverged_at": "Int64", "stopped_at": "Int64"})
    return {"runs": whole, "curves": pd.DataFrame(curves), "layer_curves": pd.DataFrame(layers)}
