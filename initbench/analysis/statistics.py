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


def interval(values: Real, scale: Scale, confidence: float = CONFIDENCE) -> Interval:
    """The interval of what `values`, one a seed and independent, estimate.

    ``linear``: their mean; ``log``: the geometric mean of positive numbers; ``share``: of those that are 1;
    ``spread``: the variance of their logarithms, taken to be normal. A missing value makes all missing: seeds are lost
    for a reason. One seed alone bounds nothing, but for a share.
    """
    values = np.asarray(values, float)
    n, tail = len(values), (1 - confidence) / 2
    if n == 0 or not np.isfinite(values).all():
        return Interval(np.nan, np.nan, np.nan, n)
    if scale == SHARE:
        ones = round(values.sum())
        found = stats.binomtest(ones, n).proportion_ci(confidence, method="exact")
        return Interval(ones / n, float(found.low), float(found.high), n)
    if scale in (LOG, SPREAD):
        if (values <= 0).any():
            return Interval(np.nan, np.nan, np.nan, n)
        values = np.log(values)
    if scale == SPREAD:
        variance = float(values.var(ddof=1)) if n > 1 else np.nan
        high, low = stats.chi2.ppf([tail, 1 - tail], max(n - 1, 1)) / max(n - 1, 1)
        return Interval(variance, variance / low, variance / high, n)
    half = stats.t.ppf(1 - tail, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf
    ends = np.array([values.mean(), values.mean() - half, values.mean() + half])
    estimate, low, high = map(float, np.exp(ends) if scale == LOG else ends)
    return Interval(estimate, low, high, n)
