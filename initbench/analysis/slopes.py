"""Slopes in place of curves to squint at: how a layer's statistics change with the width, and with the depth.

A statistic that should go as a power of the width has that power as the slope of its logarithm against log width. The
expectation over seeds is fitted and not the logarithms' mean: of a log-normal number that one falls with 1/n although
its expectation stands still. Nor the mean over few seeds, which in deep networks is most often below the expectation,
and looks surer than it is: the law of networks is log-normal (`initbench.theory.finite_width`), so log E[x] is
E[log x] + Var[log x]/2, each part estimated with its own interval, and these are joined (Zou, Huo & Taleban 2009).

An interval is that of one slope. Of a hundred some lie beyond the bound by chance, so a slope fails where it does so at
a false discovery rate of 5 % in the whole table (Benjamini & Hochberg 1995).

Of 200 honest repetitions (depth 10, widths 32, 64 and 128, batch 16, five seeds, 120 slopes against the width) 4 had a
slope that fails for He with ReLU and none for Xavier with tanh; each slope alone at 5 %, 56 and 16 had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammainccinv, gammaincinv, stdtrit
from scipy.stats import false_discovery_control

from initbench.analysis.growth import DECIMALS, PAIRING, predicted

Real = NDArray[np.float64]

BOUND = 0.1
"""A slope within ±this of what is expected passes: 7 % where the width doubles (26 % a layer, for a depth)."""
TAIL = 0.025
"""Of an interval, to each side: 95 % confidence."""
LEAST_TAIL = 1e-30
"""What is less is 0: seeds that are all equal have an exact slope."""
LEVEL = 0.05
"""The false discovery rate of a whole table."""
LAW = "finite_width"
"""Whose growth is expected of a depth."""
SLOPES = ("init", "activation", "statistic", "against", "layer", "width", "slope", "low", "high", "expected", "seeds",
          "word")  # fmt: skip


@dataclass(frozen=True)
class Statistic:
    """A column of `layers` that is a scale, and so has a logarithm; means, cosines and shares are none."""

    power: float = 0.0
    """Of the width, where widening a network changes nothing else: Var(w) has to fall as 1/n."""
    direction: str = "forward"
    """In which it travels through the depth."""


_BACK = Statistic(direction="backward")
STATISTICS = {
    "weight_variance": Statistic(power=-1.0),
    **dict.fromkeys(("z_second_moment", "z_variance", "z_variance_batch", "z_variance_units", "a_second_moment",
                     "a_variance", "a_variance_batch"), Statistic()),
    **dict.fromkeys(("grad_z_second_moment", "grad_a_second_moment", "grad_w_second_moment"), _BACK),
    "update_ratio": Statistic(power=0.5, direction="backward"),  # |grad_w| / |w|, and w is as 1/sqrt(n)
}  # fmt: skip


@dataclass(frozen=True)
class Slope:
    """A slope with its 95 % interval."""

    value: float
    low: float
    high: float

    def word(self, expected: float) -> str:
        """``pass`` or ``fail`` where the whole interval is within the bound or beyond it, else ``undecided``.

        ``unpredicted`` where nothing is expected.
        """
        if np.isnan(expected):
            return "unpredicted"
        low, high = self.low - expected, self.high - expected
        if not np.isfinite([low, high]).all():
            return "undecided"
        if low >= -BOUND and high <= BOUND:
            return "pass"
        return "fail" if low > BOUND or high < -BOUND else "undecided"


def slopes(by_width: dict[int, pd.DataFrame], predictions: dict[int, pd.DataFrame] | None = None) -> pd.DataFrame:
    """A row per pairing, statistic and layer against width; a row per pairing, statistic and width against depth.

    `by_width` holds the table `layers` of each width, `predictions` that of what theory says there. Against width:
    d log(expectation) / d log(width), by least squares weighted by the width; expected is the statistic's power.
    Against depth: log10 of the factor per layer of the expectation, in the direction of travel, between the first and
    last layer; expected is the growth that law ``finite_width`` predicts. Where a seed is 0 or lost nothing is known.
    ``fail`` is told of slopes that stand out in the whole table; others beyond the bound are ``undecided``.
    """
    table = pd.DataFrame([*_against_width(by_width), *_against_depth(by_width, predictions or {})])
    told = np.isfinite(table[["low", "high", "expected"]].to_numpy(float)).all(axis=1)
    alone = table.word.eq("fail").to_numpy(bool)
    failed = alone.copy()
    if alone.any():  # of the others no correction makes a chance less than that of one slope
        failed[told] = false_discovery_control(table.chance[told]) <= LEVEL
    table["word"] = table.word.mask(alone & ~failed, "undecided")
    return table[list(SLOPES)]


def together(*parts: Slope) -> Slope:
    """The sum of independent estimates, with its interval from theirs (Zou, Huo & Taleban 2009, eq. 2)."""
    value = sum(part.value for part in parts)
    low, high = (math.hypot(*(getattr(part, end) - part.value for part in parts)) for end in ("low", "high"))
    return Slope(value, value - low, value + high)


def of_variance(value: float, degrees: float, tail: float = TAIL) -> Slope:
    """A number that is proportional to a variance, estimated with so many degrees of freedom, and its interval."""
    ends = [value * degrees / 2 / float(end(degrees / 2, tail)) for end in (gammaincinv, gammainccinv)]
    return Slope(value, min(ends), max(ends))


def weighted_slope(x: Real, y: Real, variance: Real, degrees: float = np.inf, tail: float = TAIL) -> Slope:
    """The slope of y on x where y has these variances: weighted least squares, exact.

    Student's interval; `degrees` of freedom are those of what was estimated of the variances, none if they are known.
    """
    weight = 1 / variance
    centred = x - (weight * x).sum() / weight.sum()
    scale = (weight * centred**2).sum()
    value = float((weight * centred * y).sum() / scale)
    reach = float(-stdtrit(degrees, tail) / scale**0.5)
    return Slope(value, value - reach, value + reach)


def _against_width(by_width: dict[int, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    table = pd.concat([layers.assign(width=width) for width, layers in by_width.items()], ignore_index=True)
    numbers = table[list(STATISTICS)]
    table[list(STATISTICS)] = np.log(numbers.where(numbers > 0))
    groups = table.groupby([*PAIRING, "layer", "width"], sort=False)[list(STATISTICS)]
    seeds = groups.size()
    known = groups.count().eq(seeds, axis=0)
    centres, variances = groups.mean().where(known), groups.var().where(known)
    for (init, activation, layer), centre in centres.groupby([*PAIRING, "layer"], sort=False):
        variance, count = variances.loc[centre.index], int(seeds.loc[centre.index].min())
        width = centre.index.get_level_values("width").to_numpy(float)
        for statistic, about in STATISTICS.items():
            logs, spread = centre[statistic].to_numpy(float), variance[statistic].to_numpy(float)
            fit = partial(slope_of_logs, width, logs, spread, count)
            yield _row(init, activation, statistic, "width", fit, about.power, count, layer=layer)


def slope_of_logs(width: Real, centre: Real, variance: Real, seeds: int, tail: float = TAIL) -> Slope:
    """The power of the width that expectations go with, given mean and variance over `seeds` of their logarithms.

    NaN if two are not known. Variances go as 1/width, with one factor for all.
    """
    known = np.isfinite(centre) & np.isfinite(variance)
    if known.sum() < 2:
        return Slope(*[np.nan] * 3)
    width, centre = width[known], centre[known]
    factor = max(float((variance[known] * width).mean()), 1e-30)  # all seeds equal: the slope is exact
    degrees = len(width) * (seeds - 1)
    fit = weighted_slope(np.log(width), centre, factor / width / seeds, degrees, tail)
    halves = weighted_slope(np.log(width), factor / width / 2, 1 / width)
    return together(fit, of_variance(halves.value, degrees, tail))


def slope_of_means(width: Real, mean: Real, error: Real, seeds: int) -> Slope:
    """The power of the width that means over `seeds` go with, given their standard errors; NaN if two are not known.

    Relative variances go as 1/width, with one factor for all: a mean's own would weigh the low ones too much. That
    factor is as uncertain as the seeds of all widths leave it, which Student's quantile knows.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        y, relative = np.log(mean), (error / mean) ** 2
    known = np.isfinite(y) & np.isfinite(relative)
    if known.sum() < 2:
        return Slope(*[np.nan] * 3)
    factor = max(float((relative * width)[known].mean()), 1e-30)  # all seeds equal: the slope is exact
    degrees = known.sum() * max(seeds - 1, 1)
    return weighted_slope(np.log(width[known]), y[known], factor / width[known], degrees)


def _against_depth(by_width: dict[int, pd.DataFrame], predictions: dict[int, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for width, layers in by_width.items():
        for statistic, about in STATISTICS.items():
            theory, expected = predictions.get(width), {}
            if theory is not None and statistic in theory:
                told = predicted(theory, about.direction, LAW, layers, statistic)
                expected = told.set_index(PAIRING).predicted_growth.to_dict()
            table = layers.pivot(index=[*PAIRING, "seed"], columns="layer", values=statistic).sort_index(axis=1)
            for (init, activation), group in table.groupby(PAIRING, sort=False):
                fit = partial(_growth, group.to_numpy(float), table.columns.to_numpy(), about.direction)
                law = expected.get((init, activation), np.nan)
                yield _row(init, activation, statistic, "depth", fit, law, len(group), width=width)


def _growth(numbers: Real, layers: NDArray[np.int_], direction: str, tail: float = TAIL) -> Slope:
    """Of a pairing, `seeds layers`, between the ends of the layers in which the mean is known and not 0."""
    mean = numbers.mean(axis=0)
    known = np.flatnonzero((mean > 0) & np.isfinite(mean))
    if len(known) < 2:
        return Slope(*[np.nan] * 3)
    ends = known[[0, -1]] if direction == "forward" else known[[-1, 0]]
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = np.log(numbers[:, ends]).T
        grown = growth_of_logs(first, last, tail)
    decades = np.array([grown.value, grown.low, grown.high]) / np.log(10)
    return Slope(*np.round(decades / abs(layers[ends[1]] - layers[ends[0]]), DECIMALS))


def growth_of_logs(first: Real, last: Real, tail: float = TAIL) -> Slope:
    """log E[last] - log E[first] of log-normal numbers, of whose logarithms a seed has one each.

    With g what a network grows by, E[g] + Var[g]/2 + Cov[g, first]. One seed has no interval.
    """
    seeds, grown = len(first), last - first
    if seeds == 1:
        return Slope(float(grown[0]), np.nan, np.nan)
    (variance, shared), (_, before) = np.cov(grown, first)
    reach = -stdtrit(seeds - 1, tail)
    centre, error = grown.mean(), reach * (variance / seeds) ** 0.5
    doubt = reach * ((variance * before + shared**2) / (seeds - 1)) ** 0.5
    return together(
        Slope(centre, centre - error, centre + error),
        of_variance(variance / 2, seeds - 1, tail),
        Slope(shared, shared - doubt, shared + doubt),
    )


def _row(
    init: Any,
    activation: Any,
    statistic: str,
    against: str,
    interval: Callable[..., Slope],
    expected: float,
    seeds: int,
    **at: Any,
) -> dict[str, Any]:
    fit = interval()
    word = fit.word(expected)
    return {"init": init, "activation": activation, "statistic": statistic, "against": against, **at,
            "slope": fit.value, "low": fit.low, "high": fit.high, "expected": expected, "seeds": seeds, "word": word,
            "chance": chance(interval, expected) if word == "fail" else 1.0}  # fmt: skip


def chance(interval: Callable[..., Slope], expected: float) -> float:
    """The p-value that a slope which fails is within the bound: both tails where its interval reaches so far."""

    def beyond(log_tail: float) -> float:
        fit = interval(tail=math.exp(log_tail))
        return max(fit.low - expected, expected - fit.high) - BOUND

    usual, least = math.log(TAIL), math.log(LEAST_TAIL)
    return 0.0 if beyond(least) > 0 else 2 * math.exp(brentq(beyond, least, usual, xtol=1e-3))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per pairing, statistic and axis: the slope farthest from what is expected, where it is, the worst word.

    Without those of which nothing is expected.
    """
    table = table[table.word != "unpredicted"]
    order = {"pass": 0, "undecided": 1, "fail": 2}
    ranked = table.assign(worst=table.word.map(order), off=(table.slope - table.expected).abs())
    ranked = ranked.sort_values(["worst", "off"], ascending=False, kind="stable")
    keys = [*PAIRING, "statistic", "against"]
    first = ranked.drop_duplicates(keys).set_index(keys)
    place = table[keys].drop_duplicates().apply(tuple, axis=1)
    return first.loc[place.tolist()].reset_index().drop(columns=["worst", "off"])


def failures(table: pd.DataFrame) -> list[str]:
    """A line for each slope that is not what is expected, the worst of its pairing, statistic and axis."""
    failed = summary(table)
    return [
        f"{row['init']} with {row['activation']}: {row['statistic']} has slope {row['slope']:.3g} ({row['low']:.3g} to"
        f" {row['high']:.3g}) against {row['against']}, not {row['expected']:.3g}"
        for row in failed[failed.word == "fail"].to_dict("records")
    ]
