"""The error of a tuned comparison: the choice of the learning rate is a part of the experiment, and so of its error."""

from __future__ import annotations

import numpy as np

from initbench.analysis.comparison.scores import Real, Scores
from initbench.analysis.training import NOT_RUN

RESAMPLES = 2_000


def standard_error(scores: Scores, level: object, baseline: object, resamples: int = RESAMPLES) -> float:
    """The bootstrap's standard error of the tuned difference between two levels.

    Seeds are drawn with replacement, the same for both levels; on each draw every setting chooses its tuned factors'
    levels by the mean on validation, and is judged by the mean of the metric there. The standard deviation over draws
    is times sqrt(n/(n - 1)): without anything to choose it is then that of the mean. A run that diverged is worth 0
    on validation, so it is chosen only where all are lost; the error is then missing.
    """
    seeds = sorted(scores.frame["seed"].unique())
    n = len(seeds)
    if n < 2:
        return np.nan
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=resamples) / n
    sides = [_chosen_means(scores, side, seeds, drawn) for side in (level, baseline)]
    both = sorted(sides[0].keys() & sides[1].keys(), key=str)
    differ = np.mean([sides[0][setting] - sides[1][setting] for setting in both], axis=0)
    return float(differ.std() * np.sqrt(n / (n - 1)))


def _chosen_means(scores: Scores, level: object, seeds: list[int], drawn: Real) -> dict[object, Real]:
    """Setting -> the metric's mean at the level that is best on validation, in each draw: `draws`."""
    frame = scores.frame[scores.frame[scores.by] == level]
    row, numbers = np.searchsorted(seeds, frame["seed"]), frame[["val", "value"]].to_numpy(float)
    choice = frame.groupby([*scores.tune], dropna=False).ngroup().to_numpy()
    settings = (
        frame.groupby(scores.settings, sort=False, dropna=False).indices if scores.settings else {(): slice(None)}
    )
    means: dict[object, Real] = {}
    for setting, own in settings.items():
        validation, metric = np.full((2, len(seeds), choice.max() + 1), np.nan)  # seeds choices
        validation[row[own], choice[own]], metric[row[own], choice[own]] = numbers[own].T
        known = np.where(np.isnan(validation).all(axis=0), NOT_RUN, np.nan_to_num(validation))
        best = (drawn @ known).argmax(axis=1)
        # a missing number is lost in the draws that hold it alone: 0 times missing is 0 here
        weighted = np.where(drawn[:, :, None] > 0, drawn[:, :, None] * metric[None], 0.0).sum(axis=1)
        means[setting] = weighted[np.arange(len(drawn)), best]
    return means
