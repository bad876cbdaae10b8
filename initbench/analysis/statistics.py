"""Intervals: what the numbers of several seeds say of the number that they estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Real = NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scale:
    """How numbers of seeds are put together, and what the interval rests on."""

    name: str
    method: str


LINEAR = Scale("linear", "mean, t interval")
LOG = Scale("log", "geometric mean, t interval of the logarithms")
SHARE = Scale("share", "exact binomial interval (Clopper & Pearson 1934)")
SPREAD = Scale("spread", "variance of the logarithms, chi-squared interval")


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends between which the true number lies, at a confidence."""

    estimate: float
    low: float
    high: float
    n: int
    """Seeds."""


def no_estimate(values: Real, scale: Scale) -> str:
    """Why `interval` has no number for these; empty where it has one."""
    values = np.asarray(values, float)
    if not len(values):
        return "no seed was measured"
    if lost := np.count_nonzero(~np.isfinite(values)):
        return f"no number in {lost} of {len(values)} seeds"
    if scale in (LOG, SPREAD) and (without := np.count_nonzero(values <= 0)):
        return f"0 or below, which has no logarithm, in {without} of {len(values)} seeds"
    return "one seed has no spread" if scale == SPREAD and len(values) == 1 else ""


def interval(values: Real, scale: Scale, confidence: float = CONFIDENCE) -> Interval:
    """The interval of what `values`, one a seed and independent, estimate.

    ``linear``: their mean; ``log``: the geometric mean of positive numbers; ``share``: of those that are 1;
    ``spread``: the variance of their logarithms, taken to be normal. A missing value makes all missing: seeds are lost
    for a reason. One seed alone bounds nothing, but for a share.
    """
    values = np.asarray(values, float)
    n, tail = len(values), (1 - confidence) / 2
    if no_estimate(values, scale):
        return Interval(np.nan, np.nan, np.nan, n)
    if scale == SHARE:
        ones = round(values.sum())
        found = stats.binomtest(ones, n).proportion_ci(confidence, method="exact")
        return Interval(ones / n, float(found.low), float(found.high), n)
    if scale in (LOG, SPREAD):
        values = np.log(values)
    if scale == SPREAD:
        variance = float(values.var(ddof=1))
        high, low = stats.chi2.ppf([tail, 1 - tail], n - 1) / (n - 1)
        return Interval(variance, variance / low, variance / high, n)
    half = stats.t.ppf(1 - tail, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf
    ends = np.array([values.mean(), values.mean() - half, values.mean() + half])
    estimate, low, high = map(float, np.exp(ends) if scale == LOG else ends)
    return Interval(estimate, low, high, n)
