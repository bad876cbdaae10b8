"""What is compared: one number a network, by the level of a factor, the setting of all others, and the seed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from initbench.analysis.measures import MEASURES, Measure
from initbench.analysis.observations import chosen, factors_of, observations
from initbench.analysis.results import Results
from initbench.analysis.statistics import LOG
from initbench.analysis.training import best_levels
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError

Real = NDArray[np.float64]
Canonical = Callable[[str, str], object]
"""Factor and level as a user writes it -> the level as tables have it: `xavier` is `xavier_normal` there."""


@dataclass(frozen=True)
class Scores:
    """Observations that are to be compared by the factor `by`.

    `frame` has the columns `by`, all other factors, `seed`, `value` (of a measure whose scale is logarithmic, its
    logarithm) and, where a factor is `tune`d, `val`, by which its level is to be chosen (diverged: 0).
    """

    frame: pd.DataFrame
    by: str
    metric: str
    ratio: bool = False
    """Whether differences are of logarithms, so that their exponentials are ratios."""
    tune: tuple[str, ...] = ()

    @property
    def levels(self) -> list[object]:
        """Of `by`, in the order in which they come."""
        return list(self.frame[self.by].unique())

    @property
    def settings(self) -> list[str]:
        """The other factors."""
        return [name for name in factors_of(self.frame, (self.by, *self.tune)) if name != "val"]

    @property
    def tuned(self) -> Scores:
        """With the tuned factors at the levels that are best on validation, over the seeds, for each level and
        setting: the first of equals."""
        if not self.tune:
            return self
        cell = [self.by, *self.settings]
        best = best_levels(self.frame, cell, [*self.tune], "val")
        kept = self.frame.merge(best, on=[*cell, *self.tune]).drop(columns=[*self.tune, "val"])
        return Scores(kept, self.by, self.metric, self.ratio)

    def level(self, given: object, canonical: Canonical = lambda _, level: level) -> object:
        """The level of `by` that is `given`, or is written so; raises `UsageError` where nothing has it."""
        return _level(self.by, self.levels, given, canonical)


def scores(
    results: Results,
    by: str,
    metric: str = "test_accuracy",
    tune: Sequence[str] | None = None,
    where: Mapping[str, object] | None = None,
    canonical: Canonical = lambda _, level: level,
) -> Scores:
    """The numbers to compare, of any results folder.

    `metric` is a column of ``runs`` (the accuracy of a run that diverged is 0, its loss is missing) or the spec of a
    measure (``growth(of=z_second_moment)``). `tune` names the factors whose level is chosen on validation: None those
    that the study itself tunes. `where` keeps one level, or several, of a factor. Raises `UsageError` for what the
    results do not have.
    """
    measure = measure_of(metric)
    found = observations(results, measure, tune=())
    if tune is None:
        tune = [name for name in results.study.get("tune", {}) if name in found and name != by]
    tune = list(dict.fromkeys(tune))
    for name in (by, *tune):
        _require_factor(name, found)
    if by in tune:
        raise UsageError(f"the factor '{by}' is either compared or tuned")
    if tune:
        found = _validated(found, results)
    for factor, levels in (where or {}).items():
        _require_factor(factor, found)
        there, several = found[factor].unique(), levels if isinstance(levels, list | tuple) else [levels]
        found = chosen(found, {factor: [_level(factor, there, given, canonical) for given in several]})
    if measure.scale == LOG:
        with np.errstate(divide="ignore", invalid="ignore"):
            found["value"] = np.log(found["value"]).replace([np.inf, -np.inf], np.nan)
    return Scores(found, by, metric, measure.scale == LOG, tuple(tune))


def _validated(found: pd.DataFrame, results: Results) -> pd.DataFrame:
    """With each run's accuracy on validation, `val`; by factors and seed, as runs without curves have no `value`."""
    validation = observations(results, MEASURES.make("final(of=val_accuracy)"), tune=())
    shared = [name for name in validation if name in found and name != "value"]
    return found.merge(validation.rename(columns={"value": "val"})[[*shared, "val"]], on=shared, how="left")


def _require_factor(name: str, found: pd.DataFrame) -> None:
    factors = factors_of(found, ("val",))
    if name not in factors:
        raise UsageError(f"no factor '{name}' varies here{did_you_mean(name, factors)}")


def _level(factor: str, levels: Iterable[object], given: object, canonical: Canonical) -> object:
    written, text = {str(level): level for level in levels}, str(given)
    if text not in written:
        text = next((name for name, level in written.items() if _is_number(level, text)), text)
    if text not in written:
        text = str(canonical(factor, text))  # reads a catalogue, which takes torch: only where it must
    if text not in written:
        raise UsageError(f"nothing has {factor} = {given}{did_you_mean(text, written)}")
    return written[text]


def _is_number(level: object, text: str) -> bool:
    """Whether `text` is a way to write this level, a number: 1, 1.0 and 1e0 are one."""
    with contextlib.suppress(ValueError):
        return isinstance(level, int | float | np.number) and not isinstance(level, bool) and float(text) == level
    return False


def measure_of(metric: str) -> Measure:
    """What `scores` understands by `metric`: a measure, or what a run ends with in that column."""
    name = metric.partition("(")[0].strip()
    return MEASURES.make(metric if name in MEASURES else f"final(of={metric})")
