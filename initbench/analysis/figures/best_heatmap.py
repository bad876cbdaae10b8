"""The best that each initializer reaches with each activation, every other factor chosen on validation."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from initbench.analysis import training
from initbench.analysis.figures import style

PAIRING = ["init", "activation"]
MIDDLE = 0.55
"""Of the colours' range: below it a cell is so dark that its text is white."""
LINE = 36
"""Letters that fit a cell."""
ACCURACY: dict[str, Any] = {"size": 11, "weight": "bold", "ha": "center", "va": "bottom"}
CHOSEN: dict[str, Any] = {"size": 7.5, "ha": "center", "va": "top", "linespacing": 1.1}


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per init and activation: the levels of all other factors that are best on validation, and what they give.

    Chosen and judged by means over seeds (`training.tuned`), in which a diverged run counts as 0. Pairings that are
    impossible, or that no run has, are not there.
    """
    ran = runs[runs["status"].isin(["finished", "diverged"])]
    others = [name for name in training.varied(ran) if name not in (*PAIRING, "seed")]
    best = training.with_lost(training.tuned(ran, others))
    table = best.assign(diverged=best["status"] == "diverged").groupby(PAIRING, sort=False)
    means = (
        table[["val_accuracy", "test_accuracy"]]
        .mean()
        .assign(seeds=table["seed"].nunique(), diverged=table["diverged"].sum())
    )
    return table[others].first().join(means).reset_index()


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A row an initializer, the best first; a column an activation. A cell says its accuracy and the levels chosen."""
    others = list(summary.columns[len(PAIRING) : summary.columns.get_loc("val_accuracy")])
    accuracy = summary.pivot(index="init", columns="activation", values="test_accuracy")
    accuracy = accuracy.loc[accuracy.mean(axis=1).sort_values(ascending=False).index, summary["activation"].unique()]
    width, height = max(2.1 * accuracy.shape[1] + 3.0, 7.0), 0.62 * len(accuracy) + 2.5
    figure = style.page(width, height, "Test accuracy of each pairing's best configuration", _caption(summary, others))
    axes = figure.subplots()
    colors: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1, "linewidths": 0.8, "annot": False}
    sns.heatmap(accuracy, ax=axes, cbar_kws={"label": "test accuracy", "pad": 0.01}, **colors)
    axes.set(xlabel="", ylabel="", facecolor="0.9")
    axes.set_yticks(np.arange(len(accuracy)) + 0.5, [style.label(name) for name in accuracy.index], rotation=0)
    axes.tick_params(axis="x", rotation=0)
    rows, columns = list(accuracy.index), list(accuracy.columns)
    for row in summary.to_dict("records"):
        place = columns.index(row["activation"]) + 0.5, rows.index(row["init"]) + 0.5
        color = "white" if row["test_accuracy"] < MIDDLE else "0.1"
        axes.text(*place, f"{row['test_accuracy']:.3f}", color=color, **ACCURACY)
        axes.text(*place, textwrap.fill(", ".join(str(row[name]) for name in others), LINE), color=color, **CHOSEN)
    return figure


def _caption(summary: pd.DataFrame, others: list[str]) -> str:
    chosen = f" Small: the levels chosen of {', '.join(others)}; of equals the first." if others else ""
    lost = summary["diverged"].sum()
    return (
        f"{style.seeds(summary['seeds'])}. Chosen by the mean validation accuracy over seeds, shown is the mean test"
        f" accuracy of the same configuration; a diverged run counts as 0 in both ({lost} of those shown).{chosen}"
    )
