"""Slopes in place of curves to squint at: how a layer's second moment changes with the width, and with the depth.

A statistic that should not depend on the width has slope 0 of its logarithm against log width. The mean over seeds is
fitted and not the logarithms' mean: of a log-normal number that one falls with 1/n although its mean stands still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, t

from initbench.analysis.growth import DIRECTIONS, PAIRING, measured

Real = NDArray[np.float64]

BOUND = 0.1
"""A slope within ±this is flat: E[z²] changes by less than 7 % when the width doubles (26 % a layer, for a depth)."""
CONFIDENCE = 0.95
SLOPES = ("init", "activation", "statistic", "against", "layer", "width", "slope", "low", "high", "seeds", "word")
STATISTICS = ("z_second_moment", "a_second_moment", "grad_z_second_moment", "grad_a_second_moment")


@dataclass(frozen=True)
class Slope:
    """A slope with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """``flat`` or ``not flat`` where the whole interval is within the bound or beyond it, else ``undecided``."""
        if not np.isfinite([self.low, self.high]).all():
            return "undecided"
        if self.low >= -BOUND and self.high <= BOUND:
            return "flat"
        return "not flat" if self.low > BOUND or self.high < -BOUND else "undecided"


def slopes(by_width: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """A row per pairing, statistic and layer against width; a row per pairing, statistic and width against depth.

    `by_width` holds the table `layers` of each width. Against width: d log(mean over seeds) / d log(width), by least
    squares weighted by the width. Against depth: log10 of the factor per layer, in the direction of
    travel, between the first and last layer; its interval by the jackknife over seeds.
    """
    rows = [*_against_width(by_width), *_against_depth(by_width)]
    return pd.DataFrame(rows, columns=list(SLOPES))


def weighted_slope(x: Real, y: Real, variance: Real) -> Slope:
    """The slope of y on x where y has these variances: exact weighted least squares, normal interval."""
    weight = 1 / variance
    centred = x - (weight * x).sum() / weight.sum()
    scale = (weight * centred**2).sum()
    value = float((weight * centred * y).sum() / scale)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2) / scale**0.5)
    return Slope(value, value - reach, value + reach)


def _against_width(by_width: dict[int, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    together = pd.concat([layers.assign(width=width) for width, layers in by_width.items()], ignore_index=True)
    for (init, activation, layer), group in together.groupby([*PAIRING, "layer"], sort=False):
        by = group.groupby("width")
        for statistic in STATISTICS:
            mean = by[statistic].mean()
            error = np.asarray(by[statistic].sem(), float)
            fit = _slope_of_means(mean.index.to_numpy(float), mean.to_numpy(float), error)
            yield _row(init, activation, statistic, "width", fit, int(by.size().min()), layer=layer)


def _slope_of_means(width: Real, mean: Real, error: Real) -> Slope:
    """Relative variances go as 1/width, with one factor for all: a mean's own would weigh the low ones too much."""
    with np.errstate(divide="ignore", invalid="ignore"):
        y, relative = np.log(mean), (error / mean) ** 2
    known = np.isfinite(y) & (relative > 0)
    if known.sum() < 2:
        return Slope(*[np.nan] * 3)
    factor = float((relative * width)[known].mean())
    return weighted_slope(np.log(width[known]), y[known], factor / width[known])


def _against_depth(by_width: dict[int, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for width, layers in by_width.items():
        for direction, statistic in DIRECTIONS.items():
            for row in measured(layers, direction).to_dict("records"):
                grown, reach = row["measured_growth"], t.ppf((1 + CONFIDENCE) / 2, max(row["seeds"] - 1, 1))
                fit = Slope(grown, *(grown + way * reach * row["measured_growth_se"] for way in (-1, 1)))
                yield _row(row["init"], row["activation"], statistic, "depth", fit, row["seeds"], width=width)


def _row(init: Any, activation: Any, statistic: str, against: str, fit: Slope, seeds: int, **at: Any) -> dict[str, Any]:
    return {"init": init, "activation": activation, "statistic": statistic, "against": against, **at,
            "slope": fit.value, "low": fit.low, "high": fit.high, "seeds": seeds, "word": fit.word}  # fmt: skip


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per pairing, statistic and axis: the steepest slope, where it is, and the worst word."""
    order = {"flat": 0, "undecided": 1, "not flat": 2}
    ranked = table.assign(worst=table.word.map(order), steep=table.slope.abs())
    ranked = ranked.sort_values(["worst", "steep"], ascending=False, kind="stable")
    keys = [*PAIRING, "statistic", "against"]
    first = ranked.drop_duplicates(keys).set_index(keys)
    place = table[keys].drop_duplicates().apply(tuple, axis=1)
    return first.loc[place.tolist()].reset_index().drop(columns=["worst", "steep"])
