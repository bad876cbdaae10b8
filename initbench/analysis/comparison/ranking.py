"""Ranks over many settings: which level is best most of the time, and which are not told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from initbench.analysis.comparison.scores import Scores
from initbench.core.errors import UsageError

SIGNIFICANCE = 0.05
DIGITS, ROUNDING = 12, 1e-12
"""Of means, those that count; what may be left of 1 where nothing is."""
COLUMNS = ("level", "rank", "critical_difference", "not_worse_than_best", "p_friedman", "p_iman_davenport", "blocks",
           "method", "assumes")  # fmt: skip


def ranks(scores: Scores, lower_is_better: bool = False) -> pd.DataFrame:
    """A row per level, best first: its mean rank (1: best) over the blocks, ties shared.

    A block is a setting of the other factors, its seeds' mean; where nothing else varies, a seed. A run without a
    number (a loss that diverged) ranks last. ``p_friedman``: that all levels rank alike (Friedman 1937, chi-squared);
    ``p_iman_davenport``: the same by the less conservative F (Iman & Davenport 1980). Two levels differ where their
    mean ranks do by more than ``critical_difference`` = q_0.05 sqrt(k (k + 1)/(6 N)) (Nemenyi 1963; Demšar 2006).
    Raises `UsageError` for fewer than two blocks or three levels.
    """
    table = blocks(scores)
    count, levels = table.shape
    if levels < 3:
        raise UsageError(f"ranks compare three levels or more; {scores.by} has {levels}: see the differences")
    if count < 2:
        raise UsageError("ranks need two settings or seeds at least")
    worst = np.inf if lower_is_better else -np.inf
    told = table.map(lambda mean: float(f"{mean:.{DIGITS}g}"))  # equal means may differ by rounding
    numbers = told.fillna(worst).to_numpy() * (1 if lower_is_better else -1)
    placed = stats.rankdata(numbers, axis=1)
    mean = placed.mean(axis=0)
    chi_squared, p = 0.0, 1.0
    if np.ptp(placed, axis=1).any():
        chi_squared, p = stats.friedmanchisquare(*numbers.T)  # the statistic is corrected for ties
    left = 1 - chi_squared / (count * (levels - 1))  # 0 but for rounding where all blocks agree
    with np.errstate(divide="ignore"):
        f = np.float64(count - 1) * (1 - left) / (left if left > ROUNDING else 0.0)
    q = stats.studentized_range.ppf(1 - SIGNIFICANCE, levels, np.inf) / np.sqrt(2)
    critical = q * np.sqrt(levels * (levels + 1) / (6 * count))
    found = pd.DataFrame({
        "level": table.columns, "rank": mean, "critical_difference": critical,
        "not_worse_than_best": mean <= mean.min() + critical, "p_friedman": p,
        "p_iman_davenport": stats.f.sf(f, levels - 1, (levels - 1) * (count - 1)), "blocks": count,
        "method": f"mean ranks over {'settings' if scores.settings else 'seeds'}; Friedman, Nemenyi",
        "assumes": "independent blocks; a block's seeds are averaged",
    })  # fmt: skip
    return found[list(COLUMNS)].sort_values("rank", kind="stable", ignore_index=True)


def blocks(scores: Scores) -> pd.DataFrame:
    """A row per block that all levels have, a column per level."""
    judged = scores.tuned
    rows = judged.settings or ["seed"]
    frame = judged.frame.assign(block=judged.frame.groupby(rows, sort=False, dropna=False).ngroup())
    missing = frame["value"].isna().groupby([frame["block"], frame[scores.by]]).any()
    means = frame.groupby(["block", scores.by], sort=False)["value"].mean().mask(missing)
    whole = frame.groupby("block", sort=False)[scores.by].nunique() == len(judged.levels)
    return means.unstack(scores.by).reindex(index=whole[whole].index, columns=judged.levels)
