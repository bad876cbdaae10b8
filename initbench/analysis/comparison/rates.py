"""How often runs diverge, by level of a factor."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from initbench.analysis.comparison.paired import holm, pairs_of
from initbench.analysis.comparison.scores import Scores
from initbench.analysis.statistics import SHARE, interval

COLUMNS = ("level", "rate", "low", "high", "diverged", "n", "only_level", "only_baseline", "p", "p_holm", "method",
           "assumes")  # fmt: skip


def divergence(scores: Scores, baseline: object) -> pd.DataFrame:
    """A row per level: the share of the runs made that diverged, with the exact 95 % interval (Clopper & Pearson 1934).

    `scores` are of the measure ``diverged``, with nothing tuned. ``only_level`` and ``only_baseline`` count the pairs
    (setting and seed) of which one alone diverged; ``p``: that either is as likely (McNemar's exact test), corrected
    after Holm.
    """
    baseline = scores.level(baseline)
    rows = []
    for level in scores.levels:
        values = scores.frame.loc[scores.frame[scores.by] == level, "value"].dropna()  # of those that failed: unknown
        around = interval(values.to_numpy(float), SHARE)
        pairs = pairs_of(scores, level, baseline)
        more = pairs["value"] - pairs["value_baseline"]
        only = int((more > 0).sum()), int((more < 0).sum())
        rows.append({
            "level": level, "rate": around.estimate, "low": around.low, "high": around.high,
            "diverged": int(values.sum()), "n": around.n, "only_level": only[0], "only_baseline": only[1],
            "p": np.nan if level == baseline else stats.binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table = table.assign(p_holm=holm(table["p"].to_numpy(float)), method="Clopper & Pearson; McNemar's exact test",
                         assumes="independent runs: those of one seed are not quite")  # fmt: skip
    return table[list(COLUMNS)]
