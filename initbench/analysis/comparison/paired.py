"""Each level of a factor against one of them: paired within the seed, with intervals, tests and equivalence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from initbench.analysis.comparison import tuned
from initbench.analysis.comparison.scores import Real, Scores
from initbench.analysis.statistics import CONFIDENCE
from initbench.core.errors import UsageError

FEWEST_TO_RESAMPLE = 8
"""Seeds, below which resampled means are too few and too coarse: of five normal ones the interval covers 93 to 94 %."""
RESAMPLES = 9_999
SIGNS = 99_999
"""Ways to give the differences signs: all of them up to 16 seeds."""

COLUMNS = ("level", "baseline", "metric", "mean", "mean_baseline", "difference", "low", "high", "bootstrap_low",
           "bootstrap_high", "effect", "wins", "p", "p_holm", "p_fdr", "p_equivalent", "word", "ratio", "bound",
           "n", "settings", "lost", "method", "assumes")  # fmt: skip


def differences(scores: Scores, baseline: object, test: str = "t", bound: float | None = None) -> pd.DataFrame:
    """A row per level but `baseline`: how much higher it is than that, and how sure this is.

    A seed's number is the mean over all settings that both levels have (the other factors); the seeds' differences are
    what everything rests on. Columns:

    ``difference low high``: the mean difference with its 95 % interval by Student's t; where a factor is tuned, with
    the bootstrap's standard error, in which the choice is repeated (`tuned`). Of a ratio's measure all are ratios.
    ``bootstrap_low bootstrap_high``: percentiles of resampled seeds, expanded for few seeds (Hesterberg 2015).
    ``effect``: Hedges' g of the differences, mean/sd times 1 - 3/(4(n - 1) - 1). ``wins``: the share of pairs (setting
    and seed) in which the level is higher, a tie counting half; missing where one is lost. ``p``: of `test` (``t``,
    ``wilcoxon``, ``permutation``: of the signs, exact where n is small); corrected over the rows as ``p_holm``
    (family-wise) and ``p_fdr`` (Benjamini & Hochberg). ``p_equivalent``: that the difference is beyond ±`bound`, by two
    one-sided t tests (Schuirmann 1987; for ratios the bound is of the logarithm), corrected after Holm as well.
    ``word``: equivalent, higher, lower (each at 5 %, corrected) or undecided. ``lost``: seeds without a number (a loss
    that diverged, a run that was not made, a value that is never reached); a difference is missing where there is one.
    """
    baseline = scores.level(baseline)
    if test not in TESTS:
        raise UsageError(f"unknown test '{test}'; accepted: {', '.join(TESTS)}")
    if bound is not None and not 0 < bound < np.inf:
        raise UsageError(f"the bound of equivalence is a number above 0, not {bound:g}")
    if scores.tune and test != "t":
        raise UsageError(f"test '{test}': a tuned comparison is tested by t alone, with the choice in its error")
    judged, rows = scores.tuned, []
    for level in judged.levels:
        if level == baseline:
            continue
        spread = tuned.standard_error(scores, level, baseline) if scores.tune else None
        rows.append(_row(judged, level, baseline, test, bound, spread))
    if not rows:
        raise UsageError(f"{scores.by} has one level alone: there is nothing to compare")
    table = pd.DataFrame(rows)
    table["p_holm"], table["p_fdr"] = holm(table["p"].to_numpy()), _fdr(table["p"].to_numpy())
    table["p_equivalent"] = holm(table["p_equivalent"].to_numpy())
    table["word"] = [_word(*row) for row in table[["difference", "p_holm", "p_equivalent"]].to_numpy()]
    if scores.ratio:
        shown = ["mean", "mean_baseline", "difference", "low", "high", "bootstrap_low", "bootstrap_high"]
        table[shown] = np.exp(table[shown])
    return table[list(COLUMNS)]


def _row(
    scores: Scores, level: object, baseline: object, test: str, bound: float | None, spread: float | None
) -> dict[str, object]:
    pairs = pairs_of(scores, level, baseline)
    both = {side: _means_of_seeds(pairs, side) for side in ("value", "value_baseline")}
    differ = both["value"] - both["value_baseline"]
    n, mean = len(differ), float(differ.mean()) if len(differ) else np.nan
    error = spread if spread is not None else stats.sem(differ) if n > 1 else np.nan
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error if n > 1 else np.nan
    boot = bootstrap(differ) if spread is None else (np.nan, np.nan)
    return {
        "level": level, "baseline": baseline, "metric": scores.metric,
        "mean": both["value"].mean(), "mean_baseline": both["value_baseline"].mean(),
        "difference": mean, "low": mean - half, "high": mean + half,
        "bootstrap_low": boot[0], "bootstrap_high": boot[1], "effect": hedges_g(differ),
        "wins": float(np.sign((pairs["value"] - pairs["value_baseline"]).to_numpy(float)).mean() / 2 + 0.5),
        "p": _p_of_t(mean, error, n) if spread is not None else TESTS[test](differ),
        "bound": np.nan if bound is None else bound, "ratio": scores.ratio,
        "p_equivalent": equivalence(mean, error, n, bound), "n": n,
        "settings": round(len(pairs) / n) if n else 0,
        "lost": int((~np.isfinite(differ)).sum()),
        "method": _method(test, spread), "assumes": ASSUMES["t" if spread is not None else test],
    }  # fmt: skip


def pairs_of(scores: Scores, level: object, baseline: object) -> pd.DataFrame:
    """A row per setting and seed that both levels have: ``value``, ``value_baseline``."""
    frame, by = scores.frame, scores.by
    keys = [*scores.settings, "seed"]
    sides = [frame.loc[frame[by] == side, [*keys, "value"]] for side in (level, baseline)]
    return sides[0].merge(sides[1], on=keys, suffixes=("", "_baseline"))


def _means_of_seeds(pairs: pd.DataFrame, side: str) -> Real:
    """Over the settings; missing where one of them is."""
    means = pairs.groupby("seed")[side].mean()
    return means.mask(pairs[side].isna().groupby(pairs["seed"]).any()).to_numpy(float)


def bootstrap(differ: Real) -> tuple[float, float]:
    """The expanded percentile interval of the mean (Hesterberg 2015, section 5.3).

    Percentiles of resampled means are too narrow by sqrt((n - 1)/n) and know no t: both are mended by asking for
    those at Phi(-sqrt(n/(n - 1)) t). Missing below `FEWEST_TO_RESAMPLE` seeds.
    """
    n = len(differ)
    if n < FEWEST_TO_RESAMPLE or not np.isfinite(differ).all():
        return np.nan, np.nan
    if np.ptp(differ) == 0:
        return float(differ[0]), float(differ[0])
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    found = stats.bootstrap((differ,), np.mean, confidence_level=float(1 - 2 * tail), n_resamples=RESAMPLES,
                            method="percentile", rng=np.random.default_rng(0))  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def hedges_g(differ: Real) -> float:
    """The standardized mean of paired differences, corrected for small n (Hedges 1981)."""
    n = len(differ)
    deviation = differ.std(ddof=1) if n > 1 else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(differ.mean() / deviation * (1 - 3 / (4 * (n - 1) - 1))) if n > 1 else np.nan


def equivalence(mean: float, error: float, n: int, bound: float | None) -> float:
    """The p-value of two one-sided t tests: that the true difference is not within ±`bound`."""
    if bound is None or n < 2 or not np.isfinite(mean):
        return np.nan
    if error == 0:
        return float(abs(mean) >= bound)
    return float(max(stats.t.sf((mean + bound) / error, n - 1), stats.t.cdf((mean - bound) / error, n - 1)))


def holm(p: Real) -> Real:
    """p-values that keep the family-wise error rate (Holm 1979); missing ones are no tests."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def _fdr(p: Real) -> Real:
    adjusted, known = np.full(len(p), np.nan), np.isfinite(p)
    if known.any():
        adjusted[known] = stats.false_discovery_control(p[known])
    return adjusted


def _word(difference: float, p_holm: float, p_equivalent: float) -> str:
    level = 1 - CONFIDENCE
    if p_equivalent < level:
        return "equivalent"
    if p_holm < level:
        return "higher" if difference > 0 else "lower"
    return "undecided"


def _p_of_t(mean: float, error: float, n: int) -> float:
    if n < 2 or not np.isfinite(mean):
        return np.nan
    if error == 0:
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / error, n - 1))


def _t(differ: Real) -> float:
    return _p_of_t(float(differ.mean()), float(stats.sem(differ)), len(differ)) if len(differ) > 1 else np.nan


def _wilcoxon(differ: Real) -> float:
    if not len(differ) or not np.isfinite(differ).all():
        return np.nan
    return float(stats.wilcoxon(differ, zero_method="pratt").pvalue) if differ.any() else 1.0


def _permutation(differ: Real) -> float:
    """Of the mean, over all ways to give the differences signs, or `SIGNS` of them."""
    if len(differ) < 2 or not np.isfinite(differ).all():
        return np.nan
    found = stats.permutation_test((differ, np.zeros_like(differ)), lambda a, b, axis=-1: (a - b).mean(axis),
                                   permutation_type="samples", vectorized=True, n_resamples=SIGNS,
                                   rng=np.random.default_rng(0))  # fmt: skip
    return float(found.pvalue)


TESTS: dict[str, Callable[[Real], float]] = {"t": _t, "wilcoxon": _wilcoxon, "permutation": _permutation}
"""Name -> the p-value of paired differences, one a seed, under no difference."""
ASSUMES = {
    "t": "independent seeds, normal differences",
    "wilcoxon": "independent seeds, differences symmetric about their median",
    "permutation": "independent seeds, differences symmetric about 0 if there is none; at best p = 2/2^n",
}


def _method(test: str, spread: float | None) -> str:
    if spread is not None:
        return "paired by seed; t with the bootstrap's standard error, tuned anew in each resample"
    return f"paired by seed; t interval; {test} test"
