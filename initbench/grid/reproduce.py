"""Trainings of a results folder carried out again: as its manifest says, and otherwise, to see what rounding does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import pandas as pd
import torch

from initbench.core.errors import UsageError
from initbench.core.randomness import generator
from initbench.engine import device as devices
from initbench.engine.tuning import Tuning
from initbench.grid.cells import Grid
from initbench.grid.factors import SPECS
from initbench.grid.stacks import ENGINES, Part, Session, trained
from initbench.grid.study import Study
from initbench.grid.training import Job, prepare
from initbench.grid.training_plan import TrainingPlan, identity, plan_training, split_of
from initbench.recipe.samples import Samples, Split, split

NUDGED, NUDGE = 8, 2.0**-17
"""Trainings beside the one in float64, and the share by which their images are other: some sixty roundings.

Weights drawn on another processor are as far away: torch's normal draws by six, more after an orthogonalization.
"""


def device_of(manifest: Mapping[str, Any]) -> str:
    """Where the results were made, as an option: the CPU or a GPU. Raises `UsageError` where no such is here."""
    made_on = manifest.get("device", "CPU")
    if made_on.startswith("CPU"):
        return "cpu"
    if not torch.cuda.is_available():
        raise UsageError(
            f"the results were made on {made_on}, and torch sees no GPU here; --device cpu compares with it"
        )
    return "cuda"


def plugins_changed(manifest: Mapping[str, Any]) -> list[str]:
    """The plug-ins whose code is another now. Raises `UsageError` for one that is not there."""
    there = {f"{catalogue.kind} {entry.name}": entry for catalogue in SPECS.values() for entry in catalogue}
    wanted: dict[str, str] = manifest.get("plugins", {})
    if missing := [name for name in wanted if name not in there]:
        raise UsageError(f"the results rest on a plug-in that is not there: {missing[0]}; give its file with --plugin")
    origins = {name: there[name].origin for name in wanted}
    return [name for name, content in wanted.items() if (o := origins[name]) is None or o.fingerprint != content]


def resting_on(plugins: Collection[str], runs: pd.DataFrame) -> set[str]:
    """Ids of the cells of the table `runs` that use one of these plug-ins."""
    found: set[str] = set()
    for factor, catalogue in SPECS.items():
        entries = {spec: catalogue.entry(spec.partition("(")[0]).name for spec in runs[factor].unique()}
        used = runs[factor].map(entries).radd(f"{catalogue.kind} ")
        found |= set(runs.loc[used.isin(plugins), "cell_id"])
    return found


@dataclass(frozen=True)
class Sample:
    """Some of the cells, drawn by `seed`; all, if it is not said how many."""

    runs: int | None = None
    seed: int = 0

    def of(self, cells: Grid) -> Grid:
        """The cells, in their order."""
        order = torch.randperm(len(cells), generator=generator(self.seed, "reproduce", len(cells))).tolist()
        return cells.at(sorted(order[: self.runs]))


def training_again(study: dict[str, Any], manifest: Mapping[str, Any], where: dict[str, Any], sample: Sample) -> Job:
    """The job of a folder's study, or of a sample of it, by the engine and the tuning that its manifest tells.

    Raises `UsageError` for what cannot be.
    """
    engine = manifest.get("engine", "")
    job = prepare(Study(**study), **where, engine=engine if engine in ENGINES else "stacked")
    tuning = Tuning.told(manifest.get("tuning")) or job.tuning
    cells = sample.of(job.plan.cells)
    # a stack is divided among as many threads as then: its size decides how it rounds
    threads = manifest.get("threads", job.workers) if job.device.type == "cpu" else job.workers
    return replace(job, tuning=tuning, plan=plan_training(cells, job.data, tuning.stack, threads, job.device))


def otherwise(job: Job, cell_ids: Collection[str]) -> Iterator[dict[str, pd.DataFrame]]:
    """The tables of these cells of the job as equally right arithmetic would have them, by the stacked engine.

    In float64, what float32 comes near to; then in float32, of images a little apart: one alone may miss that a unit
    falls on either side of its kink.
    """
    cells = job.plan.cells.at([place for place, cell in enumerate(job.plan.cells) if identity(cell) in cell_ids])
    planned = plan_training(cells, job.data, job.tuning.stack, device=job.device)
    session = Session(devices.describe(job.device), ENGINES["stacked"])
    seen = lru_cache(maxsize=1)(partial(_seen, job))  # stacks of one split stand together
    for number in range(1 + NUDGED):
        done = [each for stack in planned.stacks for each in trained(stack, seen(number, split_of(stack[0])), session)]
        yield _of_cells(planned, [part for part in done if isinstance(part, Part)], job.tables)


def _seen(job: Job, number: int, of: tuple[str, str, float, int]) -> Split:
    """A split of the data in float64; from 1 on in float32, each time nudged otherwise."""
    dataset, normalization, validation, seed = of
    whole = split(job.data[dataset], normalization, validation, seed)
    return nudged(whole, number).to(job.device, torch.float32) if number else whole.to(job.device, torch.float64)


def nudged(whole: Split, number: int) -> Split:
    """The split with images a little apart, by each `number` otherwise."""
    draws = generator(number, "nudge")
    parts: dict[str, Any] = {name: _nudged(getattr(whole, name), draws) for name in ("train", "validation", "test")}
    return replace(whole, **parts)


def _nudged(samples: Samples, draws: torch.Generator) -> Samples:
    up = torch.randint(2, samples.images.shape, generator=draws, device="cpu")
    return replace(samples, images=samples.images * (1 + NUDGE * (2 * up - 1)))


def _of_cells(planned: TrainingPlan, parts: list[Part], tables: Collection[str]) -> dict[str, pd.DataFrame]:
    """A row per cell of `planned`, whichever shares its training."""
    who = pd.DataFrame({"cell_id": list(map(identity, planned.cells)), "training_id": planned.trainings()})
    joined = {name: pd.concat([part.frame(name) for part in parts], ignore_index=True) for name in tables}
    return {name: who.merge(rows, on="training_id") for name, rows in joined.items()}
