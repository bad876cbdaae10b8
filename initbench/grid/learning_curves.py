"""Predicted learning curves of deep linear networks (`theory.deep_linear`), as the table ``curves`` of a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from initbench.activations import ACTIVATIONS
from initbench.core.errors import UsageError, complaint, require
from initbench.core.records import Network
from initbench.datasets import DATASETS, Data
from initbench.grid.at_once import Uses, computed
from initbench.initializers import INITIALIZERS
from initbench.theory import deep_linear

Progress = Callable[[int, int], None]
LINEAR = "linear"
DEEPEST, MOST_ROWS = 10_000, 10**7


class LearningCurves(BaseModel):
    """A part of a study, of kind ``curve``: a curve for each depth, of full-batch gradient descent on the mean square.

    Its factors are those of a cell (`core.cell`), on which a curve does not depend: width and classes are the data's.
    """

    model_config = ConfigDict(extra="forbid")

    dataset: str
    init: str = "identity"
    depth: list[int]
    lr: list[float]
    """One for each depth."""
    steps: int = 200
    record_every: int = 1
    seeds: int | list[int] = 1
    """Each has the same curve: for comparison with runs of these seeds."""
    time: Literal["continuous", "discrete"] = "continuous"
    """Whether steps are small: the closed form; else update by update."""


def curve_work(options: dict[str, Any], where: dict[str, Any]) -> Callable[[Path, Progress], None]:
    """What writes the table ``curves``: a row per depth, seed and recorded step, with `train_loss`.

    Raises `UsageError` for what cannot be, or for data and weights that do not decouple.
    """
    try:
        study = LearningCurves(**options)
    except ValidationError as error:
        raise UsageError(complaint(error)) from None
    seeds = study.seeds if isinstance(study.seeds, int) else len(study.seeds)
    require(bool(study.depth) and seeds > 0, "depth, seeds: one at least")
    require(len(study.lr) == len(study.depth), "lr: give one for each depth")
    require(min(study.depth) >= 0 and study.steps > 0 and study.record_every > 0, "depth, steps: a number of them")
    require(max(study.depth) <= DEEPEST, f"depth must be at most {DEEPEST:,}, not {max(study.depth):,}")
    rows = seeds * len(study.depth) * study.steps
    require(rows <= MOST_ROWS, f"the curves have {rows:,} points; at most {MOST_ROWS:,} are accepted")
    data = DATASETS.make(study.dataset).load(where["data_root"], where["download"])
    task = _task(data)
    starts = [_start(study.init, data, depth) for depth in study.depth]
    for depth, lr, start in zip(study.depth, study.lr, starts, strict=True):
        task.require_decoupled(start ** (depth + 1))
        most = task.largest_lr(depth + 1)
        require(lr < most, f"lr {lr:g} is too large for depth {depth}: from {most:.3g} on, rounding grows")
    told = {**options, "init": INITIALIZERS.canonical(study.init), "dataset": DATASETS.canonical(study.dataset)}
    read = {told["dataset"]: data.fingerprint}
    uses: Uses = {INITIALIZERS: [told["init"]], DATASETS: read}
    return computed("curve", told, where["device"], lambda count: _curves(study, task, starts, count), uses, read)


def _task(data: Data) -> deep_linear.Task:
    targets = np.eye(data.classes)[data.train_labels.numpy()]
    return deep_linear.task(data.train_images.numpy().astype(float), targets)


def _start(init: str, data: Data, depth: int) -> float:
    """The number on each weight matrix's diagonal; raises `UsageError` where that is not all there is."""
    network = Network((data.features, *[data.features] * depth, data.classes))
    promises = INITIALIZERS.make(init).promises(ACTIVATIONS.make(LINEAR), network)
    on_diagonal = all(promise.coupling == "diagonal" for promise in promises)
    require(on_diagonal, f"a learning curve is predicted for weights on the diagonal alone, as of identity, not {init}")
    return float(np.sqrt((promises[0].variance + promises[0].mean ** 2) * data.features))


def _curves(study: LearningCurves, task: deep_linear.Task, starts: list[float], count: Progress) -> pd.DataFrame:
    steps = np.arange(0, study.steps + 1, study.record_every)
    seeds = list(range(study.seeds)) if isinstance(study.seeds, int) else study.seeds
    rows = []
    for number, (depth, lr, start) in enumerate(zip(study.depth, study.lr, starts, strict=True), 1):
        if study.time == "continuous":
            strengths = deep_linear.gradient_flow(task, start, depth + 1, lr, steps)
        else:
            strengths = deep_linear.gradient_descent(task, start, depth + 1, lr, study.steps)[steps]
        table = pd.DataFrame({"step": steps, "train_loss": task.loss(strengths)})
        rows += [table.assign(depth=depth, lr=lr, seed=seed) for seed in seeds]
        count(number, len(starts))
    told = pd.concat(rows, ignore_index=True)
    return told.assign(init=INITIALIZERS.canonical(study.init), activation=LINEAR)
