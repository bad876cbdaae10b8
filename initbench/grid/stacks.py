"""One stack trained: by which engine, in how much memory, into which tables."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
import torch

from initbench import reference
from initbench.core.cell import Cell
from initbench.core.errors import InitbenchError, UsageError, ran_out_of_memory
from initbench.core.plugins import told
from initbench.engine.signals import subnormals_flushed
from initbench.engine.timing import Stopwatch
from initbench.engine.training.trainer import METRICS, Halted, Outcome, train
from initbench.engine.tuning import UNTUNED, Tuning
from initbench.grid.rows import Rows, parquet_of
from initbench.grid.training_plan import identity
from initbench.recipe.samples import Split, steps_of

INTEGERS = ("diverged_at", "stopped_at")
"""Columns of integers, where they are not missing."""
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Part:
    """Cells that were trained together, and the tables that tell of them."""

    cells: Sequence[Cell]
    rows: Mapping[str, Rows]
    """Of each table, as the worker found them: who waits for them makes files of them, and the worker goes on."""

    def file(self, table: str) -> bytes:
        """That table as a Parquet file."""
        return parquet_of(self.rows[table], integers=INTEGERS)

    def frame(self, table: str) -> pd.DataFrame:
        """That table as it is read from its file."""
        return pd.read_parquet(BytesIO(self.file(table)))


@dataclass(frozen=True)
class Failed:
    """Cells whose training came to no end."""

    cells: Sequence[Cell]
    reason: str
    tries: int = 1
    """How often that may happen to the same cells before it is believed."""
    divides: bool = False
    """Whether one of them alone may be at fault, so that they are to be tried apart."""


Done = Part | Failed


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


def attempted(cells: Sequence[Cell], data: Split, session: Session) -> list[Done]:
    """What `trained` gives; an error on the way, but one of the user's, is a failure of the stack."""
    try:
        return trained(cells, data, session)
    except UsageError:
        raise
    except Exception as error:
        reason = f"{told(error)}{_place(error)}"
    return [Failed(cells, reason, tries=2, divides=True)]


def _place(error: Exception) -> str:
    """Where it was raised, if its own words do not say so."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return "" if isinstance(error, InitbenchError) else f" ({Path(frame.filename).name}, line {frame.lineno})"


@subnormals_flushed()
def trained(cells: Sequence[Cell], data: Split, session: Session) -> list[Done]:
    """The stack's tables; where memory does not hold it, those of its halves."""
    watch = Stopwatch(data.train.images.device)
    try:
        with watch.lap("stack"):
            outcomes = session.engine.train(cells, data, watch, session)
        return [Part(cells, _rows(cells, outcomes, watch, session.device))]
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
    # out of the except: the error's traceback holds the tensors that filled the memory
    if len(cells) == 1:
        return [Failed(cells, OUT_OF_MEMORY)]
    middle = len(cells) // 2
    return [done for half in (cells[:middle], cells[middle:]) for done in trained(half, data, session)]


def _rows(cells: Sequence[Cell], outcomes: Sequence[Outcome], watch: Stopwatch, device: str) -> dict[str, Rows]:
    """A part: a row per training in `runs`, its curves beside it."""
    times = {f"{phase}_seconds": watch.seconds(phase) for phase in ("stack", "training", "evaluation")}
    shared = {"stack_size": len(cells), "seconds": times["stack_seconds"] / len(cells), "device": device}
    runs, curves, layers = [], [], []
    for cell, outcome in zip(cells, outcomes, strict=True):
        who = {"training_id": identity(cell)}
        about = {"status": outcome.status, "diverged_at": outcome.diverged_at, "stopped_at": outcome.stopped_at}
        runs.append({**who, **about, "note": "", **outcome.metrics, **times, **shared})
        curves += [{**who, **row} for row in outcome.curves]
        layers += [{**who, **row} for row in outcome.layer_curves]
    return {"runs": runs, "curves": curves, "layer_curves": layers}
