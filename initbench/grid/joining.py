"""The rows of parts as tables by cell, in the study's order: a span of cells at once, however many there are.

Parts come in the order of their names. Their rows go into a temporary file for each span of cells that they answer,
once for each cell, and from there into the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from operator import attrgetter, methodcaller
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from initbench.core.cell import Cell
from initbench.core.errors import WorkError
from initbench.engine.training.measures import MEASURED
from initbench.engine.training.trainer import METRICS
from initbench.grid.factors import in_one_type, lecture_name
from initbench.grid.store import ROWS, Store
from initbench.grid.training_plan import TrainingPlan, identity
from initbench.recipe import REGULARIZERS
from initbench.recipe.samples import steps_of, training_images

if TYPE_CHECKING:
    from initbench.grid.training import Job

RESULTS = ("status", "note", "diverged_at", "stopped_at", *METRICS, "seconds", "stack_seconds", "stack_size",
           "training_seconds", "evaluation_seconds", "device", "engine")  # fmt: skip
"""Columns of `runs` after those that say what was asked for."""
RECORDED = {"curves": ("step", *METRICS[:4]), "layer_curves": ("step", "layer", *MEASURED)}
"""Columns of the curves after the cell's id: those that they have where nothing was recorded, too."""
COUNTED = ("step", "layer")
"""Of these, whole numbers."""


@contextmanager
def joined(job: Job, store: Store, failed: Mapping[str, str]) -> Iterator[dict[str, Iterator[pd.DataFrame]]]:
    """The tables as they are reported: a row per cell, in the study's order, whichever shares its training.

    `failed` says why, by training. Raises `WorkError` where trainings are neither there nor failed.
    """
    try:
        with TemporaryDirectory(prefix="initbench") as folder:
            spread = {name: Spread(job.plan, store, name, Path(folder)) for name in job.tables}
            if lost := job.plan.distinct - spread["runs"].trainings - len(failed):
                raise WorkError(f"{store.folder}: {lost} trainings were lost on the way; run the same command again")
            yield {name: _runs(job, rows, failed) if name == "runs" else _curves(job, rows, name)
                   for name, rows in spread.items()}  # fmt: skip
    except OSError as error:
        raise WorkError(f"cannot join the parts of {store.folder}: {error.strerror or error}") from None


class Spread:
    """The rows of one table of all parts, by the spans of cells that they answer."""

    def __init__(self, plan: TrainingPlan, store: Store, table: str, folder: Path) -> None:
        self._cells, self._length = len(plan.cells), ROWS
        self._path = (folder / table).with_suffix
        there = np.zeros(self._cells, bool)
        self.none = pd.DataFrame()
        """No row, with the columns and types of all."""
        for rows in store.batches(table):
            if self.none.empty and not len(self.none.columns):
                self._length = max(1, ROWS * rows["training_id"].nunique() // len(rows))
            self.none = pd.concat([self.none, rows.iloc[:0]]) if len(self.none.columns) else rows.iloc[:0]
            which, places = plan.answered(rows["training_id"])
            there[places] = True
            self._put(rows.iloc[which].set_axis(places), places // self._length)
        self.whole = bool(there.all())
        """Whether each cell has a row."""
        self.trainings = int(np.count_nonzero(there[plan.stacks.places]))
        """How many trainings have one."""

    def _put(self, rows: pd.DataFrame, spans: np.ndarray) -> None:
        for span in np.unique(spans).tolist():
            table = pa.Table.from_pandas(rows[spans == span], preserve_index=True)
            with self._path(f".{span}").open("ab") as file, pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table)

    def spans(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Places of cells, and their rows by place, in that order."""
        for span, start in enumerate(range(0, self._cells, self._length)):
            rows = pd.concat([self.none, *self._taken(self._path(f".{span}"))])
            yield slice(start, min(start + self._length, self._cells)), rows.sort_index(kind="stable")

    def _taken(self, path: Path) -> Iterator[pd.DataFrame]:
        if path.exists():
            with path.open("rb") as file:
                while file.peek(1):
                    yield pa.ipc.open_stream(file).read_pandas()
            path.unlink()


def _runs(job: Job, spread: Spread, failed: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    plan = job.plan
    for span, rows in spread.spans():
        trained = rows.reindex(columns=RESULTS[:-1]).astype({"status": "str"})
        cells = _cells_table(job, span)
        if not spread.whole:  # integers with a gap are none: the same in all spans
            trained = trained.astype(trained.iloc[:0].reindex([-1]).dtypes)
        found = cells.join(trained)
        why = plan.why[span]
        found.loc[why > 0, "status"] = "impossible"
        found.loc[found["training_id"].isin(failed), "status"] = "failed"
        noted = zip(why.tolist(), found["training_id"], found["note"], strict=True)
        found["note"] = [plan.reasons[reason] or failed.get(training, note) for reason, training, note in noted]
        found["engine"] = job.engine
        own = [name for name in cells if name not in RESULTS]
        yield found[[*own, *RESULTS]]


def _curves(job: Job, spread: Spread, table: str) -> Iterator[pd.DataFrame]:
    any_yet = False
    for span, rows in spread.spans():
        if len(rows):
            yield _who(job.plan, span)[["cell_id"]].join(rows.drop(columns="training_id"), how="inner")
            any_yet = True
    if not any_yet:
        types = {name: "int64" if name in COUNTED else "float64" for name in RECORDED[table]}
        yield pd.DataFrame(columns=["cell_id", *types]).astype({"cell_id": "str", **types})


def _who(plan: TrainingPlan, span: slice) -> pd.DataFrame:
    """The ids of these cells and of their trainings, by place."""
    told = {"cell_id": list(map(identity, plan.cells[span])), "training_id": plan.trainings(span)}
    return pd.DataFrame(told, index=range(span.start, span.stop))


def _cells_table(job: Job, span: slice) -> pd.DataFrame:
    """What was asked for: a row per cell. Made by columns: rows as dictionaries would take several times as much."""
    cells, who = list(job.plan.cells[span]), _who(job.plan, span)
    own = [field.name for field in fields(Cell) if field.name != "regularizers"]
    columns = {
        "study": (job.study.name for _ in cells),
        "name": map(lecture_name, cells),
        **{name: map(attrgetter(name), cells) for name in own},
        "data_seed": (cell.order_seed for cell in cells),
        "steps": map(partial(_steps, job), cells, job.plan.why[span]),
        **{entry.name: map(methodcaller("strength", entry.name), cells) for entry in REGULARIZERS},
    }
    told = pd.DataFrame({name: pd.Series(list(values), who.index) for name, values in columns.items()})
    return pd.concat([who, in_one_type(told, job.plan.cells.levels("residual"))], axis=1)


def _steps(job: Job, cell: Cell, why: int) -> int:
    """Updates that are made; of an impossible cell, those that were asked for."""
    return cell.steps if why else steps_of(cell, training_images(cell, job.data[cell.dataset]))
