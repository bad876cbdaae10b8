"""The share of runs that diverged, by initializer and activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from initbench.analysis import training
from initbench.analysis.figures import style
from initbench.analysis.figures.best_heatmap import PAIRING

DARK = 0.55
"""Share from which on a cell is so dark that its text is white."""
LONGEST = 13
"""Letters of an activation that stand across a column."""
SHARE: dict[str, Any] = {"size": 11, "weight": "bold", "ha": "center", "va": "bottom"}
COUNT: dict[str, Any] = {"size": 7.5, "ha": "center", "va": "top", "linespacing": 1.4}


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per init and activation: of how many `runs`, whatever their other factors, how many `diverged`.

    ``factors`` names those others. Pairings that are impossible, or that no run has, are not there.
    """
    ran = runs[runs["status"].isin(["finished", "diverged"])]
    table = (ran["status"] == "diverged").groupby([ran[name] for name in PAIRING], sort=False)
    counts = table.agg(diverged="sum", runs="size", share="mean").reset_index()
    others = [name for name in training.varied(ran) if name not in PAIRING]
    return counts.assign(factors=", ".join(others))


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A row an initializer, the one that diverged least first; a column an activation. A cell says its share."""
    share = summary.pivot(index="init", columns="activation", values="share")
    inits = summary.groupby("init", sort=False)["share"].mean().sort_values(kind="stable").index
    share = share.loc[inits, summary["activation"].unique()]
    size = max(1.15 * share.shape[1] + 3.4, 7.0), 0.5 * len(share) + 2.6
    figure = style.page(*size, "Share of runs that diverged", _caption(summary))
    axes = figure.subplots()
    colors: dict[str, Any] = {"cmap": "rocket_r", "vmin": 0, "vmax": 1, "linewidths": 0.8, "annot": False}
    sns.heatmap(share, ax=axes, cbar_kws={"label": "share of runs", "pad": 0.01}, **colors)
    axes.set(xlabel="", ylabel="", facecolor="0.9")
    rows, columns = list(share.index), list(share.columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [style.label(name) for name in rows], rotation=0)
    upright = 90 if max(map(len, columns)) > LONGEST else 0
    axes.set_xticks(np.arange(len(columns)) + 0.5, [style.label(name) for name in columns], rotation=upright)
    for cell in summary.to_dict("records"):
        place = columns.index(cell["activation"]) + 0.5, rows.index(cell["init"]) + 0.5
        color = "white" if cell["share"] > DARK else "0.1"
        axes.text(*place, f"{cell['share']:.0%}", color=color, **SHARE)
        axes.text(*place, f"{cell['diverged']:,} of {cell['runs']:,}", color=color, **COUNT)
    return figure


def _caption(summary: pd.DataFrame) -> str:
    others = summary["factors"].iloc[0]
    over = f", whatever their {others}" if others else ""
    return (
        f"{summary['diverged'].sum():,} of {summary['runs'].sum():,} runs diverged: their loss was no number or beyond"
        f" float32. Counted are all runs of a pairing{over}; the fewest come first. Grey: not run."
    )
