"""A study of the verdicts themselves: how often honest networks are called wrong, and wrong ones found.

Each repetition is a whole study of its own, with seeds of its own, judged as `initbench variance` judges: an alarm is
any pairing and direction that is called wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from initbench.activations import ACTIVATIONS
from initbench.core.errors import UsageError, complaint
from initbench.engine import device as devices
from initbench.grid import provenance
from initbench.grid.plan import plan
from initbench.grid.residuals import residuals
from initbench.grid.store import Store
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import VarianceStudy, open_inputs, resolve
from initbench.initializers import INITIALIZERS

TOGETHER = 50
"""Repetitions of a part: what an interruption can lose."""
ALARMS = "alarms"

Judge = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
Names = Annotated[list[str], Field(min_length=1)]
Positive = Annotated[int, Field(ge=1)]


class Case(BaseModel):
    """One network, and how it is repeated."""

    model_config = ConfigDict(extra="forbid")

    init: Names
    """What theory takes the weights for."""
    activation: Names
    width: Positive
    batch: Positive
    depth: Positive = 20
    seeds: Positive = 3
    """Of one repetition."""
    repetitions: Positive = 1000
    drawn: str | None = None
    """The initializer that the weights are drawn from, where it is not the one that theory is told of."""

    @property
    def label(self) -> str:
        """What a figure calls it."""
        drawn = "" if self.drawn is None else f", drawn from {self.drawn}"
        return f"width {self.width}, batch {self.batch}, {self.seeds} seeds{drawn}"

    def study(self, init: list[str]) -> VarianceStudy:
        """All repetitions as one study: their seeds follow each other."""
        return resolve(init=init, activation=self.activation, depth=self.depth, width=self.width, batch=self.batch,
                       seeds=self.seeds * self.repetitions)  # fmt: skip


class Calibration(BaseModel):
    """A part of a study, of kind ``calibration``."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["calibration"]
    question: str = ""
    cases: Annotated[list[Case], Field(min_length=1)]


def calibration_of(options: dict[str, Any]) -> Calibration:
    """The study; raises `UsageError` with the first thing that is wrong with it."""
    try:
        study = Calibration(kind="calibration", **options)
    except ValidationError as error:
        raise UsageError(complaint(error)) from None
    for case in study.cases:
        if case.drawn is not None and len(case.init) != 1:
            raise UsageError(f"{case.label}: one initializer can be promised where another is drawn")
        case.study([case.drawn] if case.drawn else case.init)  # unknown names are told before the work
    return study


def run_calibration(
    study: Calibration,
    out: Path,
    judge: Judge,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """The table `alarms` in `out`: a row per case and repetition, with the smallest corrected p-value.

    `judge` is given `residuals` and `predictions`. Goes on where an earlier run stopped.
    """
    there = devices.resolve(device)
    used = [[*case.init, *([case.drawn] if case.drawn else [])] for case in study.cases]
    plugins = provenance.plugins({INITIALIZERS: chain(*used), ACTIVATIONS: chain(*(c.activation for c in study.cases))})
    rests_on = {"versions": provenance.versions(), **plugins}
    parts = [(case, start) for case in study.cases for start in range(0, case.repetitions, TOGETHER)]
    with Store(out, study.model_dump(exclude_none=True), rests_on, (ALARMS,), replace=True) as store:
        if store.finished:
            return
        told = provenance.Told(there)
        names = []
        for done, (case, start) in enumerate(parts):
            names.append(f"case{study.cases.index(case):03d}from{start:06d}")
            if not store.has(names[-1]):
                rows = list(_alarms(case, range(start, min(start + TOGETHER, case.repetitions)), judge, there))
                store.write_part(names[-1], {ALARMS: pd.DataFrame(rows)})
            if progress:
                progress(done + 1, len(parts))
        store.require(names)
        store.finish({ALARMS: store.read_parts(ALARMS)}, {**told.now(), **plugins})


def _alarms(case: Case, repetitions: range, judge: Judge, device: torch.device) -> Iterator[dict[str, Any]]:
    promised, drawn = case.study(case.init), case.study([case.drawn] if case.drawn else case.init)
    inputs = open_inputs(drawn)
    seeds = range(repetitions.start * case.seeds, repetitions.stop * case.seeds)
    layers = measure(plan(drawn), inputs, seeds, device)["layers"]
    if case.drawn:
        layers["init"] = promised.init[0]
    moments = inputs.moments(case.seeds, case.batch)
    theory, found = predictions(promised, moments, ["mean_field", "finite_width"]), residuals(promised, moments, layers)
    for repetition, group in found.groupby(found.seed // case.seeds):
        verdicts = judge(group, theory)
        yield {"case": case.label, "width": case.width, "batch": case.batch, "depth": case.depth, "seeds": case.seeds,
               "honest": case.drawn is None, "repetition": int(repetition), "p_value": verdicts.p_value.min(),
               "alarm": bool((verdicts.agreement == "wrong").any())}  # fmt: skip
