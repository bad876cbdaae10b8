"""A study of training carried out into a results folder, going on where an earlier run stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from initbench.core.catalogue import did_you_mean
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, WorkError
from initbench.datasets import DATASETS, Data
from initbench.engine import device as devices
from initbench.engine.timing import Stopwatch, warm_up
from initbench.engine.training.trainer import METRICS
from initbench.engine.training.tune import tuned
from initbench.engine.tuning import UNTUNED, Tuning
from initbench.grid import provenance
from initbench.grid.beside import Beside
from initbench.grid.factors import SPECS, lecture_name
from initbench.grid.stacks import ENGINES, Part, Session, trained
from initbench.grid.store import Store
from initbench.grid.study import Study
from initbench.grid.training_plan import TrainingPlan, identity, part_name, plan_training, split_of
from initbench.recipe import REGULARIZERS
from initbench.recipe.samples import Split, held_out, split, steps_of

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

    @cached_property
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
    workers, tuning = devices.workers(there), tuned(there) if not ENGINES[engine].alone else replace(UNTUNED, stack=1)
    planned = plan_training(cells, data, tuning.stack, workers)
    return Job(study, data, planned, there, engine, tuning, workers)


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
    plugins = provenance.plugins({SPECS[name]: dict.fromkeys(getattr(cell, name) for cell in job.plan.cells)
                                  for name in PLUGGED})  # fmt: skip
    rests_on = {
        "versions": provenance.versions(),
        "data": {name: data.fingerprint for name, data in job.data.items()},
        "engine": job.engine,
        **plugins,
    }
    with _neutral(job.device), Store(out, job.study.as_toml(), rests_on, job.tables) as store:
        if store.finished:
            return store
        job = _as_begun(job, store.manifest)
        told = provenance.Told(job.device)
        sizes = {"cells": len(job.plan.cells), "trainings": job.plan.distinct, "engine": job.engine,
                 "data": rests_on["data"], "tuning": asdict(job.tuning), **plugins}  # fmt: skip
        store.begin({**told.now(), **sizes})
        _train_missing(job, store, profile, progress)
        store.finish(_joined(job, store), {**told.now(), **sizes})
    return store


def _as_begun(job: Job, manifest: Mapping[str, Any]) -> Job:
    """The job with the tuning that an interrupted run began with: the end of a study is as if it had not been."""
    tuning = Tuning.told(manifest.get("tuning"))
    if tuning is None or tuning == job.tuning:
        return job
    planned = plan_training(job.plan.cells, job.data, tuning.stack, job.workers)
    return replace(job, tuning=tuning, plan=planned)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """CUDA's events are recorded on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


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


def _train_missing(job: Job, store: Store, profile: Stopwatch | None, progress: Progress) -> None:
    """Train the stacks that the store lacks; a stack of which a part is there is trained for the rest."""
    answers = Counter(job.plan.trainings)
    there = set(store.read_parts("runs").get("training_id", ()))
    done = answers[""] + sum(answers[training] for training in there)  # the impossible cells, and the trained
    progress(done, len(job.plan.cells))
    open_split = lru_cache(maxsize=1)(lambda *key: _split(job, *key))
    stacks = ([cell for cell in stack if identity(cell) not in there] for stack in job.plan.stacks)
    work = ((missing, open_split(*split_of(missing[0]))) for missing in stacks if missing)
    warm_up(job.device)
    with Beside(min(job.workers, len(job.plan.stacks))) as beside:
        session = Session(devices.describe(job.device), ENGINES[job.engine], profile, job.tuning, beside.halted)

        def in_thread(item: tuple[list[Cell], Split]) -> list[Part]:
            with _current(job.device):  # each thread has a current device of its own
                return trained(*item, session)

        for parts in beside.results(in_thread, work):
            for part, tables in parts:
                store.write_part(part_name(part), {name: tables[name] for name in job.tables})
                done += sum(answers[identity(cell)] for cell in part)
            progress(done, len(job.plan.cells))


def _split(job: Job, dataset: str, normalization: str, validation: float, seed: int) -> Split:
    prepared = split(job.data[dataset], normalization, validation, seed)
    return prepared.to(job.device, torch.float32)


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
        own = vars(cell) | {"data_seed": cell.order_seed, "steps": steps}
        del own["regularizers"]
        strengths = {entry.name: cell.strength(entry.name) for entry in REGULARIZERS}
        rows.append({"cell_id": identity(cell), "training_id": training, "study": job.study.name,
                     "name": lecture_name(cell), **own, **strengths})  # fmt: skip
    return pd.DataFrame(rows)
