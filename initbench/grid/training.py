"""A study of training carried out into a results folder, going on where an earlier run stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from initbench.core.catalogue import did_you_mean
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, WorkError
from initbench.datasets import DATASETS, Data
from initbench.engine import device as devices
from initbench.engine.timing import Stopwatch
from initbench.engine.training.trainer import METRICS
from initbench.engine.training.tune import tuned
from initbench.engine.tuning import UNTUNED, Tuning
from initbench.grid import provenance
from initbench.grid.executors import HERE, Hands, carried_out, executor_of
from initbench.grid.factors import SPECS, in_one_type, lecture_name
from initbench.grid.stacks import ENGINES, Failed
from initbench.grid.store import Store
from initbench.grid.study import Study
from initbench.grid.training_plan import TrainingPlan, identity, part_name, plan_training
from initbench.recipe import REGULARIZERS
from initbench.recipe.samples import held_out, steps_of

Progress = Callable[[int, int], None]
CURVES = ("curves", "layer_curves")
PLUGGED = ("init", "activation", "dataset", "optimizer")
"""Factors whose levels a plug-in may add to."""
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
    tuning: Tuning = UNTUNED
    workers: int = 1
    """Stacks that are trained beside each other."""
    hands: Hands = HERE
    """Who trains them."""

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """What each part holds."""
        return ("runs", *CURVES) if any(cell.record_every for cell in self.plan.cells) else ("runs",)

    @cached_property
    def specs(self) -> dict[str, list[str]]:
        """By factor of `PLUGGED`, what the cells name."""
        return {name: list(dict.fromkeys(getattr(cell, name) for cell in self.plan.cells)) for name in PLUGGED}


def prepare(
    study: Study,
    data_root: Path | None = None,
    download: bool = False,
    device: str = "auto",
    engine: str = "stacked",
    hands: Hands = HERE,
) -> Job:
    """Read the data and plan; nothing is written. Raises `UsageError` for what cannot be."""
    if engine not in ENGINES:
        raise UsageError(f"unknown engine '{engine}'{did_you_mean(str(engine), ENGINES)}")
    there = devices.resolve(device)
    cells = list(study.cells())
    names = dict.fromkeys(cell.dataset for cell in cells)
    data = {name: DATASETS.make(name).load(data_root, download) for name in names}
    workers, tuning = devices.workers(there), tuned(there) if not ENGINES[engine].alone else replace(UNTUNED, stack=1)
    planned = plan_training(cells, data, tuning.stack, workers)
    return Job(study, data, planned, there, engine, tuning, workers, hands)


def run_training(
    job: Job,
    out: Path,
    *,
    profile: Stopwatch | None = None,
    progress: Progress = lambda done, of: None,
) -> Store:
    """The table `runs` of `job` in `out`, and the tables of curves if steps are recorded.

    Each stack is kept as soon as it is trained, and none is trained again. What failed is a row that says why, and is
    tried again by the next call. `progress` is called with the cells done and their number. Raises `UsageError` where
    `out` holds something else.
    """
    executor_of(job, profile)  # what cannot be is told before anything is written
    plugins = provenance.plugins({SPECS[name]: specs for name, specs in job.specs.items()})
    rests_on = {
        "versions": provenance.versions(),
        "data": {name: data.fingerprint for name, data in job.data.items()},
        "engine": job.engine,
        **plugins,
    }
    with _neutral(job.device), Store(out, job.study.as_toml(), rests_on, job.tables) as store:
        if store.finished and not store.manifest.get("failed"):
            return store
        job = _as_begun(job, store.manifest)
        told = provenance.Told(job.device)
        sizes = {"cells": len(job.plan.cells), "trainings": job.plan.distinct, "engine": job.engine,
                 "data": rests_on["data"], "tuning": asdict(job.tuning), **plugins}  # fmt: skip
        store.begin({**told.now(), **sizes})
        failed = _train_missing(job, store, profile, progress)
        store.finish(_joined(job, store, failed), {**told.now(), **sizes, "failed": len(failed)})
    return store


def _as_begun(job: Job, manifest: Mapping[str, Any]) -> Job:
    """The job with the tuning that an interrupted run began with: the end of a study is as if it had not been."""
    tuning = Tuning.told(manifest.get("tuning"))
    if tuning is None or tuning == job.tuning:
        return job
    planned = plan_training(job.plan.cells, job.data, tuning.stack, job.workers)
    return replace(job, tuning=tuning, plan=planned)


@contextmanager
def _neutral(device: torch.device) -> Iterator[None]:
    """torch without what a caller may have set: inference mode, autocast, products of reduced precision."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(False), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _train_missing(job: Job, store: Store, profile: Stopwatch | None, progress: Progress) -> dict[str, str]:
    """Train the stacks that the store lacks; a stack of which a part is there is trained for the rest.

    What failed, by training, and why.
    """
    answers = Counter(job.plan.trainings)
    there = set(store.read_parts("runs").get("training_id", ()))
    done = answers[""] + sum(answers[training] for training in there)  # the impossible cells, and the trained
    progress(done, len(job.plan.cells))
    missing = ([cell for cell in stack if identity(cell) not in there] for stack in job.plan.stacks)
    failed: dict[str, str] = {}
    with executor_of(job, profile) as executor:
        for found in carried_out(executor, filter(None, missing)):
            if isinstance(found, Failed):
                failed |= {identity(cell): found.reason for cell in found.cells}
            else:
                store.write_part(part_name(found.cells), {name: found.tables[name] for name in job.tables})
            done += sum(answers[identity(cell)] for cell in found.cells)
            progress(done, len(job.plan.cells))
    return failed


def _joined(job: Job, store: Store, failed: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The tables as they are reported: a row per cell, in the study's order, whichever shares its training."""
    trained = store.read_parts("runs").reindex(columns=["training_id", *RESULTS[:-1]]).astype({"status": "str"})
    if lost := job.plan.distinct - trained["training_id"].nunique() - len(failed):
        raise WorkError(f"{store.folder}: {lost} trainings were lost on the way; run the same command again")
    cells = _cells_table(job)
    found = cells.merge(trained, on="training_id", how="left")
    found.loc[found["training_id"] == "", "status"] = "impossible"
    found.loc[found["training_id"].isin(failed), "status"] = "failed"
    reasons = map(job.plan.impossible.get, job.plan.cells, map(failed.get, found["training_id"], found["note"]))
    found["note"] = list(reasons)
    found["engine"] = job.engine
    own = [name for name in cells if name not in RESULTS]
    tables = {"runs": found[[*own, *RESULTS]]}
    who = cells[["cell_id", "training_id"]]
    for name in job.tables[1:]:
        rows = store.read_parts(name)
        tables[name] = who.merge(rows, on="training_id").drop(columns="training_id") if len(rows) else who.iloc[:0]
    return tables


def _cells_table(job: Job) -> pd.DataFrame:
    """What was asked for: a row per cell. Made by columns: a million rows as dictionaries would take gigabytes."""
    cells, trainings = job.plan.cells, job.plan.trainings
    own = [field.name for field in fields(Cell) if field.name != "regularizers"]
    columns = {
        "cell_id": map(identity, cells),
        "training_id": trainings,
        "study": (job.study.name for _ in cells),
        "name": map(lecture_name, cells),
        **{name: map(attrgetter(name), cells) for name in own},
        "data_seed": (cell.order_seed for cell in cells),
        "steps": map(partial(_steps, job), cells, trainings),
        **{entry.name: map(methodcaller("strength", entry.name), cells) for entry in REGULARIZERS},
    }
    return in_one_type(pd.DataFrame({name: pd.Series(list(values)) for name, values in columns.items()}))


def _steps(job: Job, cell: Cell, training: str) -> int:
    """Updates that are made; of an impossible cell, those that were asked for."""
    images = len(job.data[cell.dataset].train_images)
    return steps_of(cell, images - held_out(images, cell.validation)) if training else cell.steps
