"""Hold stored results to the plain loop: train a sample of the cells again with `initbench.reference`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain, tee
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from initbench import reference
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.randomness import generator
from initbench.engine.signals import subnormals_flushed
from initbench.engine.training.trainer import METRICS, train
from initbench.grid.reproduce import NUDGED, nudged
from initbench.grid.study import Study
from initbench.grid.training import prepare
from initbench.grid.training_plan import identity
from initbench.recipe.samples import Split, split

CPU = torch.device("cpu")
RESULTS = ("status", "diverged_at", "stopped_at", *METRICS)
"""What became of a training, and is held to the reference."""

Result = Mapping[str, Any]
Beyond = Callable[[Result, Result, Iterable[Result]], list[str]]
"""In which of `RESULTS` one differs from its twin by more than equally right results do: `analysis.verification`."""


@subnormals_flushed()
def verify(
    study: dict[str, Any],
    stored: pd.DataFrame,
    beyond: Beyond,
    runs: int = 8,
    seed: int = 0,
    *,
    fingerprints: Mapping[str, str] | None = None,
    data_root: Path | None = None,
    download: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> pd.DataFrame:
    """A row per sampled run of `study`, whose table `runs` is `stored`: what is stored, and how far from the reference.

    `loss_32` and `accuracy_32`: |stored - reference in float32|, test set. `rounding`: |reference in float32 - in
    float64|, of the loss: what float32 alone does to this training, where small differences grow. `loss_64` and
    `accuracy_64`: |stacked engine - reference|, both in float64, where only a difference of method would show. Where
    one diverged there is no difference to tell. `differs`: which of `RESULTS`, of all data, `beyond` finds further from
    the reference than rounding explains, in float32 or in float64; `agrees`: whether none. Raises `UsageError` if data
    or study are not those of `stored`; `fingerprints` are the data's, by name.
    """
    job = prepare(Study(**study), data_root, download, "cpu")
    for name, content in job.data.items():
        if fingerprints and fingerprints.get(name) != content.fingerprint:
            raise UsageError(f"the data set {name} is not what the results rest on: its content is another")
    stored = stored.set_index("cell_id")
    possible = np.flatnonzero(job.plan.why == 0)
    cells = dict(zip(map(identity, job.plan.cells.at(possible)), possible.tolist(), strict=True))
    if not set(cells) <= set(stored.index):
        raise UsageError("the study is not that of the results: they lack some of its cells")
    known = [name for name in cells if stored.loc[name, "status"] != "failed"]
    if not known:
        raise UsageError("there are no runs to verify")
    order = torch.randperm(len(known), generator=generator(seed, "verify", len(known))).tolist()
    chosen = [known[place] for place in order[:runs]]
    rows = []
    for done, name in enumerate(chosen, 1):
        cell = job.plan.cells[cells[name]]
        data = split(job.data[cell.dataset], cell.normalization, cell.validation, cell.order_seed)
        rows.append(_compared(cell, stored.loc[name].to_dict(), data, beyond))
        progress(done, len(chosen))
    return pd.DataFrame(rows)


def _compared(cell: Cell, stored: dict[str, Any], data: Split, beyond: Beyond) -> dict[str, Any]:
    twins = {dtype: reference.train(cell, data.to(CPU, dtype)) for dtype in (torch.float32, torch.float64)}
    (fine,) = train([cell], data.to(CPU, torch.float64))
    coarse, exact = twins[torch.float32], twins[torch.float64]
    apart = (reference.train(cell, nudged(data, number).to(CPU, torch.float32)) for number in range(1, 1 + NUDGED))
    once, again = tee(map(_result, apart))
    beyond_32 = beyond(_result(stored), _result(coarse), chain([_result(exact)], once))
    beyond_64 = beyond(_result({**vars(fine), **fine.metrics}), _result(exact), chain([_result(coarse)], again))
    differs = [name for name in RESULTS if name in beyond_32 or name in beyond_64]
    return {
        "name": stored["name"],
        "seed": cell.seed,
        "status": stored["status"],
        "agrees": not differs,
        "differs": ", ".join(differs),
        "test_loss": stored["test_loss"],
        "test_accuracy": stored["test_accuracy"],
        "loss_32": abs(stored["test_loss"] - coarse["test_loss"]),
        "accuracy_32": abs(stored["test_accuracy"] - coarse["test_accuracy"]),
        "rounding": abs(coarse["test_loss"] - exact["test_loss"]),
        "loss_64": abs(fine.metrics["test_loss"] - exact["test_loss"]),
        "accuracy_64": abs(fine.metrics["test_accuracy"] - exact["test_accuracy"]),
    }


def _result(told: Mapping[str, Any]) -> Result:
    return {name: told[name] for name in RESULTS}
