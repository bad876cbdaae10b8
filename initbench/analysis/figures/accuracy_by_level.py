"""How test accuracy spreads over the runs at each level of each factor: what the table of factors sums up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from initbench.analysis import training
from initbench.analysis.figures import style

MEASURE = "test_accuracy"
QUANTILES = {"whislo": 0.05, "q1": 0.25, "med": 0.5, "q3": 0.75, "whishi": 0.95}
"""Of the runs at a level: names as matplotlib's boxes have them."""
MOST_COLUMNS = 4
BOX: dict[str, Any] = {
    "widths": 0.55,
    "showfliers": False,
    "showmeans": True,
    "patch_artist": True,
    "boxprops": {"facecolor": "0.92", "edgecolor": "0.35"},
    "medianprops": {"color": style.hue(0), "linewidth": 2},
    "meanprops": {"marker": "D", "markerfacecolor": "white", "markeredgecolor": "0.1", "markersize": 5},
}
CROWDED = 24
"""Letters of all levels of a panel beyond which they stand upright."""


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per factor and level, the factor that explains most first.

    Quantiles and mean of the finished runs' test accuracy; `runs` counts them, `diverged` those that are not in it.
    """
    explained = training.factors(runs, MEASURE).set_index("factor")["explained"]
    rows = []
    for factor in explained.index.drop("seed", errors="ignore"):
        for level, group in runs.groupby(factor, sort=False):
            done = group.loc[group["status"] == "finished", MEASURE]
            boxes = {name: done.quantile(share) for name, share in QUANTILES.items()}
            lost = int((group["status"] == "diverged").sum())
            rows.append({"factor": factor, "explained": explained[factor], "level": str(level), **boxes,
                         "mean": done.mean(), "runs": len(done), "diverged": lost})  # fmt: skip
    return pd.DataFrame(rows, columns=["factor", "explained", "level", *QUANTILES, "mean", "runs", "diverged"])


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A panel a factor, a box a level; one axis of accuracy for all."""
    factors = list(summary["factor"].unique())
    columns = min(MOST_COLUMNS, max(1, len(factors)))
    rows = max(1, -(-len(factors) // columns))
    figure = style.page(
        max(3.0 * columns, 7.0), 3.1 * rows + 1.3, "Test accuracy of all runs, by factor", _caption(summary)
    )
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, factor in zip(grid.flat, factors, strict=False):
        _panel(axes, summary[summary["factor"] == factor])
    for axes in grid.flat[len(factors) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel("test accuracy")
    return figure


def _panel(axes: Axes, levels: pd.DataFrame) -> None:
    known = levels["runs"] > 0
    boxes: Any = levels.loc[known, [*QUANTILES, "mean"]].to_dict("records")
    axes.bxp(boxes, positions=np.flatnonzero(known), **BOX)
    names = [style.label(level) for level in levels["level"]]
    crowded = sum(map(len, levels["level"])) > CROWDED
    axes.set_xticks(range(len(names)), names, rotation=90 if crowded else 0)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(0, 1))
    factor, explained = levels[["factor", "explained"]].iloc[0]
    axes.set_title(f"{style.word(factor)}  ({style.share(explained)} explained)", loc="left")
    for place, lost in enumerate(levels["diverged"]):
        if lost:
            axes.text(place, 0.98, f"{lost} lost", ha="center", va="top", size=8, color="0.3")


def _caption(summary: pd.DataFrame) -> str:
    runs = summary.groupby("factor", sort=False)[["runs", "diverged"]].sum()
    count, lost = (int(runs[name].iloc[0]) if len(runs) else 0 for name in ("runs", "diverged"))
    return (
        f"{count:,} finished runs; {lost:,} diverged and are in no box (“lost”, by level). Box: the middle half of the"
        " runs at that level, whatever their other factors; whiskers: 5 and 95 per cent; line: median; diamond: mean."
        " Explained: eta², the share of the variance of test accuracy between the means; the rest is in other factors"
        " and interactions."
    )
