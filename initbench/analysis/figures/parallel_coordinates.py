"""Parallel coordinates: every configuration of a grid as one line through its levels, coloured by accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from initbench.analysis import training
from initbench.analysis.figures import style
from initbench.analysis.observations import are_numbers

Real = NDArray[np.float64]

MEASURE = "test_accuracy"
MOST_AXES = 10
"""The factors that explain most; the others have no axis."""
BEST = 10
"""Configurations drawn on top, chosen on validation."""
BAND = 0.8
"""Of a level's room on its axis: from accuracy 0 at its foot to 1 at its head."""
ALL: dict[str, Any] = {"cmap": "viridis_r", "linewidths": 0.5, "rasterized": True}
ON_TOP: dict[str, Any] = {"colors": [style.hue(3)], "linewidths": 1.4}


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration, the mean over its seeds, the worst first; a column per factor, the main one first.

    Diverged runs count as 0. ``rank`` is by validation accuracy, 1 the best; of equals the first.
    """
    ran = runs[runs["status"].isin(["finished", "diverged"])]
    factors = [name for name in training.factors(ran)["factor"] if name != "seed"]
    told = training.with_lost(ran).assign(diverged=ran["status"] == "diverged")
    table = told.groupby(factors, sort=False, dropna=False)
    means = (
        table[[MEASURE, "val_accuracy"]].mean().assign(seeds=table["seed"].nunique(), diverged=table["diverged"].sum())
    )
    rank = means["val_accuracy"].rank(ascending=False, method="first").astype(int)
    return means.assign(rank=rank).reset_index().sort_values(MEASURE, kind="stable", ignore_index=True)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """An axis a factor, and one of accuracy last; the best configurations above all others."""
    factors = list(summary.columns[: summary.columns.get_loc(MEASURE)])[:MOST_AXES]
    figure = style.page(
        max(1.25 * len(factors) + 2.5, 8), 6.4, "All configurations, by what they reach", _caption(summary)
    )
    axes = figure.subplots()
    heights = np.column_stack([*(_axis(axes, place, summary, name) for place, name in enumerate(factors)),
                               summary[MEASURE]])  # fmt: skip
    places = np.broadcast_to(np.arange(len(factors) + 1.0), heights.shape)
    lines: Real = np.stack([places, heights], axis=2)
    drawn = LineCollection(list(lines), array=summary[MEASURE], alpha=_alpha(len(lines)), clim=(0, 1), **ALL)
    axes.add_collection(drawn)
    axes.add_collection(LineCollection(list(lines[summary["rank"] <= BEST]), **ON_TOP))
    _bare(axes, [*factors, "test accuracy"])
    bar: Any = figure.colorbar(drawn, ax=axes, pad=0.005, aspect=40)
    bar.solids.set_alpha(1)  # whole colours, where lines are faint
    return figure


def _bare(axes: Axes, names: list[str]) -> None:
    """No frame and no ticks but the names above."""
    axes.set(xlim=(-0.7, len(names) - 0.95), ylim=(-0.01, 1.01), yticks=[])
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _axis(axes: Axes, place: int, summary: pd.DataFrame, factor: str) -> Real:
    """An axis with its levels, numbers by size and words by mean accuracy; where each configuration crosses it."""
    values = summary[factor]
    means = summary.groupby(factor)[MEASURE].mean()
    levels = list(means.sort_index().index if are_numbers(values) else means.sort_values(kind="stable").index)
    room = 1 / len(levels)
    for number, level in enumerate(levels):
        foot = (number + (1 - BAND) / 2) * room
        axes.plot([place, place], [foot, foot + BAND * room], color="0.35", lw=1, zorder=3)
        axes.text(place - 0.06, foot + BAND * room / 2, style.label(str(level)), ha="right", va="center", size=8.5,
                  zorder=4, bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1})  # fmt: skip
    within = (1 - BAND) / 2 + BAND * summary[MEASURE].to_numpy(float)
    return (values.map(levels.index).to_numpy(float) + within) * room


def _alpha(lines: int) -> float:
    """Fainter, the more there are."""
    return float(np.clip(300 / lines, 0.12, 0.8))


def _caption(summary: pd.DataFrame) -> str:
    return (
        f"{len(summary):,} configurations, {style.seeds(summary['seeds'])}: a line each, coloured by test accuracy."
        f" A diverged run counts as 0 ({summary['diverged'].sum():,} runs). A line crosses the bar of its level at a"
        " height that is its accuracy: where all lines are at the foot, nothing was learned at that level. Orange: the"
        f" {min(BEST, len(summary))} best on validation. Factors from left to right by what they explain."
    )
