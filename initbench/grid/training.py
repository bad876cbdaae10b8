"""A study of training carried out into a results folder, going on where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError
from initbench.datasets import DATASETS, Data
from initbench.engine import device as devices
from initbench.engine.timing import Stopwatch
from initbench.engine.training.tune import tuned
from initbench.engine.tuning import UNTUNED, Tuning
from initbench.grid import provenance
from initbench.grid.executors import HERE, Hands, carried_out, executor_of
from initbench.grid.factors import SPECS
from initbench.grid.joining import joined
from initbench.grid.stacks import ENGINES, Failed
from initbench.grid.store import Store
from initbench.grid.study import Study
from initbench.grid.training_plan import TrainingPlan, identity, part_name, plan_training

Progress = Callable[[int, int], None]
CURVES = ("curves", "layer_curves")
PLUGGED = ("init", "activation", "dataset", "optimizer")
"""Factors whose levels a plug-in may add to."""


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
        return ("runs", *CURVES) if any(self.plan.cells.levels("record_every")) else ("runs",)

    @cached_property
    def specs(self) -> dict[str, list[str]]:
        """By factor of `PLUGGED`, what the cells name."""
        return {name: self.plan.cells.levels(name) for name in PLUGGED}

    @property
    def plugins(self) -> dict[str, Any]:
        """Of these, the plug-ins' (`initbench.grid.provenance.plugins`)."""
        return provenance.plugins({SPECS[name]: specs for name, specs in self.specs.items()})


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
    cells = study.cells()
    data = {name: DATASETS.make(name).load(data_root, download) for name in cells.levels("dataset")}
    workers, tuning = devices.workers(there), tuned(there) if not ENGINES[engine].alone else replace(UNTUNED, stack=1)
    planned = plan_training(cells, data, tuning.stack, workers, there)
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
    plugins = job.plugins
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
        with joined(job, store, failed) as tables:
            store.finish(tables, {**told.now(), **sizes, "failed": len(failed)})
    return store


def _as_begun(job: Job, manifest: Mapping[str, Any]) -> Job:
    """The job with the tuning that an interrupted run began with: the end of a study is as if it had not been."""
    tuning = Tuning.told(manifest.get("tuning"))
    if tuning is None or tuning == job.tuning:
        return job
    planned = plan_training(job.plan.cells, job.data, tuning.stack, job.workers, job.device)
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
    plan = job.plan
    there = np.zeros(len(plan.cells), bool)
    for rows in store.batches("runs"):
        there[plan.answered(rows["training_id"])[1]] = True
    done = int(np.count_nonzero(plan.why) + np.count_nonzero(there))
    progress(done, len(plan.cells))
    failed: dict[str, str] = {}
    with executor_of(job, profile) as executor:
        for found in carried_out(executor, plan.stacks.without(there)):
            if isinstance(found, Failed):
                failed |= {identity(cell): found.reason for cell in found.cells}
            else:
                store.write_part(part_name(found.cells), {name: found.file(name) for name in job.tables})
            done += len(plan.answered(map(identity, found.cells))[1])
            progress(done, len(plan.cells))
    return failed
