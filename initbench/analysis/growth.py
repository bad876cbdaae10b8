"""How fast a signal grows: log10 of the factor by which a second moment changes from layer to layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PAIRING = ["init", "activation"]
DECIMALS = 12
"""Of a growth: what a product over many layers leaves beyond is rounding."""
DIRECTIONS = {"forward": "z_second_moment", "backward": "grad_z_second_moment"}
"""Direction -> what is followed: from the first layer to the last, or from the last to the first."""


def growth(
    moments: NDArray[np.float64],
    layers: NDArray[np.int_],
    direction: str,
    within: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Growth per layer, `... layers` -> `...`, of second moments at these layers.

    Taken between the ends of the range in which it is known and not 0, in the direction of travel; NaN where there
    are not two such layers. The ends and not a fit: a signal that settles has no slope, and its change is what counts.
    With `within`, the range is that of these other moments: only growths over the same layers can be compared.
    """
    known = _known(moments if within is None else within)
    first, last = known.argmax(axis=-1), known.shape[-1] - 1 - known[..., ::-1].argmax(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log10(np.where(_known(moments), moments, np.nan))
        low, high = (np.take_along_axis(log, end[..., None], axis=-1)[..., 0] for end in (first, last))
        change = np.round((high - low) / (layers[last] - layers[first]), DECIMALS)
    change = np.where(last > first, change, np.nan)
    return (change if direction == "forward" else -change) + 0.0  # no negative zero


def measured(layers: pd.DataFrame, direction: str, statistic: str | None = None) -> pd.DataFrame:
    """A row per pairing: `seeds`, `measured_growth` of the mean over seeds, and its standard error by the jackknife.

    Of the column `statistic`; left out, of the one that is followed in this `direction`.

    The mean over seeds of the second moment is what theory predicts, not the mean of logarithms; the jackknife gives
    the error of the logarithm of that mean, and NaN for one seed.
    """
    values = statistic or DIRECTIONS[direction]
    table = layers.pivot(index=[*PAIRING, "seed"], columns="layer", values=values).sort_index(axis=1)
    rows = []
    for (init, activation), group in table.groupby(PAIRING, sort=False):
        seeds, numbers = group.to_numpy(), table.columns.to_numpy()
        rows.append({"init": init, "activation": activation, "seeds": len(seeds),
                     "measured_growth": float(growth(seeds.mean(axis=0), numbers, direction)),
                     "measured_growth_se": _jackknife(seeds, numbers, direction)})  # fmt: skip
    return pd.DataFrame(rows, columns=[*PAIRING, "seeds", "measured_growth", "measured_growth_se"])


def predicted(
    predictions: pd.DataFrame,
    direction: str,
    law: str = "mean_field",
    layers: pd.DataFrame | None = None,
    statistic: str | None = None,
) -> pd.DataFrame:
    """A row per pairing: `predicted_growth` by one law.

    Over the layers between which `layers` measures the pairing, NaN where the law does not know both ends; over all
    that the law knows where nothing is measured.
    """
    chosen, values = predictions[predictions.law == law], statistic or DIRECTIONS[direction]
    table = chosen.pivot(index=PAIRING, columns="layer", values=values).sort_index(axis=1)
    table = table.reindex(pd.MultiIndex.from_frame(chosen[PAIRING].drop_duplicates()))
    moments = within = table.to_numpy()
    if layers is not None:
        means = layers.pivot(index=[*PAIRING, "seed"], columns="layer", values=values)
        means = means.groupby(PAIRING).mean(skipna=False).reindex(index=table.index, columns=table.columns)
        seen = means.to_numpy(dtype=float)
        within = np.where(_known(seen).sum(axis=1, keepdims=True) > 1, seen, moments)
    grown = growth(moments, table.columns.to_numpy(), direction, within)
    return pd.DataFrame({"predicted_growth": grown}, index=table.index).reset_index()


def _jackknife(seeds: NDArray[np.float64], numbers: NDArray[np.int_], direction: str) -> float:
    """The standard error of the growth, `seeds layers`, leaving out one seed at a time."""
    count = len(seeds)
    if count < 2:
        return float("nan")
    kept = ~np.eye(count, dtype=bool)
    left = np.stack([seeds[row].mean(axis=0) for row in kept])
    all_seeds = np.broadcast_to(seeds.mean(axis=0), left.shape)  # leaving out a lost seed must not change the range
    return float(np.sqrt((count - 1) * np.var(growth(left, numbers, direction, all_seeds))))


def _known(moments: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (moments > 0) & np.isfinite(moments)
