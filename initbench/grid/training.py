"""A study of training carried out into a results folder, going on where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from initbench import reference
from initbench.core.catalogue import did_you_mean
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, WorkError
from initbench.core.records import parameter_count, shape_of
from initbench.datasets import DATASETS, Data
from initbench.engine import device as devices
from initbench.engine.signals import subnormals_flushed
from initbench.engine.timing import Stopwatch, warm_up
from initbench.engine.training.trainer import METRICS, Outcome, train
from initbench.grid import provenance
from initbench.grid.factors import lecture_name
from initbench.grid.store import Store
from initbench.grid.study import Study
from initbench.grid.training_plan import LARGEST_STACK, TrainingPlan, identity, part_name, plan_training, split_of
from initbench.recipe import REGULARIZERS
from initbench.recipe.samples import Split, batch_length, held_out, split, steps_of

Progress = Callable[[int, int], None]
CURVES = ("curves", "layer_curves")
RESULTS = ("status", "note", "diverged_at", "stopped_at", *METRICS, "seconds", "stack_seconds", "stack_size",
           "training_seconds", "evaluation_seconds", "device", "engine")  # fmt: skip
"""Columns of `runs` after those that say what was asked for."""


@dataclass(frozen=True)
class Job:
    """A study with its data read, planned for a device."""

    study: Study
    data: Mapping[str, Data]
    plan: TrainingPlan
    device: torch.device
    engine: str = "stacked"

    @property
    def tables(self) -> tuple[str, ...]:
        """What each part holds."""
        return ("runs", *CURVES) if any(cell.record_every for cell in self.plan.cells) else ("runs",)


def prepare(
    study: Study,
    data_root: Path | None = None,
    download: bool = False,
    device: str = "auto",
    engine: str = "stacked",
) -> Job:
    """Read the data and plan; nothing is written. Raises `UsageError` for what cannot be."""
    if engine not in ENGINES:
        raise UsageError(f"unknown engine '{engine}'{did_you_mean(str(engine), ENGINES)}")
    there = devices.resolve(device)
    cells = list(study.cells())
    names = dict.fromkeys(cell.dataset for cell in cells)
    data = {name: DATASETS.make(name).load(data_root, download) for name in names}
    return Job(study, data, plan_training(cells, data, TOGETHER[engine]), there, engine)


@subnormals_flushed()
def run_training(
    job: Job,
    out: Path,
    *,
    profile: Stopwatch | None = None,
    progress: Progress = lambda done, of: None,
) -> Store:
    """The table `runs` of `job` in `out`, and the tables of curves if steps are recorded.

    Each stack is kept as soon as it is trained, and none is trained again. `progress` is called with the cells done and
    their number. Raises `UsageError` where `out` holds something else.
    """
    rests_on = {
        "versions": provenance.versions(),
        "data": {name: data.fingerprint for name, data in job.data.items()},
        "engine": job.engine,
    }
    with _neutral(job.device), Store(out, job.study.as_toml(), rests_on, job.tables) as store:
        if store.finished:
            return store
        told = provenance.Told(job.device)
        sizes = {"cells": len(job.plan.cells), "trainings": job.plan.distinct, "engine": job.engine,
                 "data": rests_on["data"]}  # fmt: skip
        store.begin({**told.now(), **sizes})
        _train_missing(job, store, profile, progress)
        store.finish(_joined(job, store), {**told.now(), **sizes})
    return store


def _current(device: torch.device) -> AbstractContextManager[object]:
    """CUDA's events are recorded on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def _neutral(device: torch.device) -> Iterator[None]:
    """torch without what a caller may have set: inference mode, autocast, products of reduced precision."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(False), torch.autocast(device.type, enabled=False), _current(device):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _train_missing(job: Job, store: Store, profile: Stopwatch | None, progress: Progress) -> None:
    """Train the stacks that the store lacks; a stack of which a part is there is trained for the rest."""
    answers: dict[str, int] = {}
    for training in job.plan.trainings:
        answers[training] = answers.get(training, 0) + 1
    there = set(store.read_parts("runs").get("training_id", ()))
    done = answers.get("", 0)  # the impossible cells
    open_split = lru_cache(maxsize=1)(lambda *key: _split(job, *key))
    warm_up(job.device)
    for stack in job.plan.stacks:
        missing = [cell for cell in stack if identity(cell) not in there]
        if missing:
            data = open_split(*split_of(stack[0]))
            for part, tables in _trained(missing, data, job.engine, profile):
                store.write_part(part_name(part), {name: tables[name] for name in job.tables})
        done += sum(answers[identity(cell)] for cell in stack)
        progress(done, len(job.plan.cells))


def _split(job: Job, dataset: str, normalization: str, validation: float, seed: int) -> Split:
    prepared = split(job.data[dataset], normalization, validation, seed)
    return prepared.to(job.device, torch.float32)


def _trained(
    cells: Sequence[Cell], data: Split, engine: str, profile: Stopwatch | None
) -> list[tuple[Sequence[Cell], dict[str, pd.DataFrame]]]:
    """The stack's tables; where memory does not hold it, those of its halves."""
    watch = Stopwatch(data.train.images.device)
    try:
        with devices.threads_for(_step_work(cells, data)), watch.lap("stack"):
            outcomes = ENGINES[engine](cells, data, watch, profile)
            device = devices.describe(data.train.images.device)
        return [(cells, _tables(cells, outcomes, watch, device))]
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
    # out of the except: the error's traceback holds the tensors that filled the memory
    if len(cells) == 1:
        outcomes = [Outcome("failed", metrics=dict.fromkeys(METRICS, float("nan")))]
        return [(cells, _tables(cells, outcomes, watch, devices.describe(data.train.images.device), "out of memory"))]
    middle = len(cells) // 2
    halves = cells[:middle], cells[middle:]
    return [part for half in halves for part in _trained(half, data, engine, profile)]


def _step_work(cells: Sequence[Cell], data: Split) -> int:
    """Multiply-adds of one way forward of the stack on a minibatch."""
    weights = parameter_count(shape_of(cells[0], data.train.images.shape[1], data.classes))
    return len(cells) * weights * batch_length(cells[0], len(data.train))


def _is_memory(error: Exception) -> bool:
    """Whether it says that memory ran out; torch's allocator on the CPU raises a plain RuntimeError."""
    told = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "can't allocate memory" in told
        or "out of memory" in told
    )


def _stacked(cells: Sequence[Cell], data: Split, watch: Stopwatch, profile: Stopwatch | None) -> list[Outcome]:
    return train(cells, data, watch, profile)


def _by_reference(cells: Sequence[Cell], data: Split, watch: Stopwatch, _profile: Stopwatch | None) -> list[Outcome]:
    """One cell by the plain loop; its training and evaluation are timed as one."""
    (cell,) = cells
    with watch.lap("training"):
        found = reference.train(cell, data)
    metrics = {name: found.pop(name) for name in METRICS}
    return [Outcome(**found, steps=steps_of(cell, len(data.train)), metrics=metrics)]


ENGINES = {"stacked": _stacked, "reference": _by_reference}
TOGETHER = {"stacked": LARGEST_STACK, "reference": 1}
"""How many networks each engine trains at once, at most."""


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


def _joined(job: Job, store: Store) -> dict[str, pd.DataFrame]:
    """The tables as they are reported: a row per cell, in the study's order, whichever shares its training."""
    trained = store.read_parts("runs")
    if lost := job.plan.distinct - trained["training_id"].nunique():
        raise WorkError(f"{store.folder}: {lost} trainings were lost on the way; run the same command again")
    cells = _cells_table(job)
    found = cells.merge(trained, on="training_id", how="left")
    found.loc[found["training_id"] == "", "status"] = "impossible"
    notes = zip(job.plan.cells, found["note"], strict=True)
    found["note"] = [job.plan.impossible.get(cell, note) for cell, note in notes]
    found["engine"] = job.engine
    own = [name for name in cells if name not in RESULTS]
    tables = {"runs": found[[*own, *RESULTS]]}
    who = cells[["cell_id", "training_id"]]
    for name in job.tables[1:]:
        rows = store.read_parts(name)
        tables[name] = who.merge(rows, on="training_id").drop(columns="training_id") if len(rows) else who.iloc[:0]
    return tables


def _cells_table(job: Job) -> pd.DataFrame:
    """What was asked for: a row per cell."""
    rows: list[dict[str, Any]] = []
    for cell, training in zip(job.plan.cells, job.plan.trainings, strict=True):
        images = len(job.data[cell.dataset].train_images)
        steps = steps_of(cell, images - held_out(images, cell.validation)) if training else cell.steps
        own = asdict(cell) | {"data_seed": cell.order_seed, "steps": steps}
        del own["regularizers"]
        strengths = {entry.name: cell.strength(entry.name) for entry in REGULARIZERS}
        rows.append({"cell_id": identity(cell), "training_id": training, "study": job.study.name,
                     "name": lecture_name(cell), **own, **strengths})  # fmt: skip
    return pd.DataFrame(rows)
