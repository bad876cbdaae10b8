"""Learning curves: training loss and validation accuracy by update."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from initbench.analysis.figures import configurations, panels, style

QUANTITIES = {"train_loss": "training loss", "val_accuracy": "validation accuracy"}
MOST_PANELS = 4
"""Beside each other, each with all `QUANTITIES` below each other."""
MOST_STEPS = 100
"""On a line; of more recorded steps so many, evenly."""
HIGHEST = 30.0
"""Times the median loss at the start, where its axis ends: what explodes would flatten all others."""
WIDEST = 36
"""Letters of a note."""
BOX: dict[str, Any] = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
NARROW = 200
"""Times its lower end: an axis of losses that reaches less far has numbers between powers of ten."""
END: dict[str, Any] = {"marker": "x", "markersize": 9, "markeredgewidth": 2.2, "linestyle": "none", "zorder": 4}


def summary(runs: pd.DataFrame, curves: pd.DataFrame, tuned: Sequence[str] = ()) -> pd.DataFrame:
    """A row per panel, line, quantity and step: the mean over ``seeds``, from lowest to highest.

    Which lines and panels, and what of other factors: `configurations`. Only steps that all seeds have are there: a
    line ends before the first of its seeds diverged, or where one stopped early; ``diverged`` counts them.
    """
    shown = configurations.configurations(runs, MOST_PANELS, tuned)
    names = ["cell_id", *configurations.LINES, "hue_name", "panel_name", "panels", "chosen"]
    lines = shown.groupby(configurations.LINES, sort=False)
    shown = shown[names].assign(seeds=lines["seed"].transform("nunique"), diverged=lines["lost"].transform("sum"))
    steps = panels.spread(sorted(curves["step"].unique()), MOST_STEPS)
    there = shown.merge(curves[curves["step"].isin(steps)], on="cell_id")
    long = there.melt([*shown.columns, "step"], list(QUANTITIES), var_name="quantity")
    table = long.groupby([*configurations.LINES, "quantity", "step"], sort=False)
    told = table["value"].agg(mean="mean", low="min", high="max", recorded="size")
    told = told.join(table[["seeds", "diverged", *names[3:]]].first()).reset_index()
    return told[told["recorded"] == told["seeds"]].drop(columns="recorded").reset_index(drop=True)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A column a level of the panels' factor: losses above, on a log axis, accuracies below; a line an initializer."""
    levels = list(summary["panel"].unique())
    looks = style.looks(map(str, summary["hue"]), summary["hue_name"].iloc[0])
    size = max(3.0 * len(levels) + 2.6, 7.0), max(6.6, 0.22 * len(looks) + 2)
    figure = style.page(*size, "Learning curves", _caption(summary))
    grid = figure.subplots(len(QUANTITIES), len(levels), sharex=True, sharey="row", squeeze=False)
    for row, (quantity, name) in zip(grid, QUANTITIES.items(), strict=True):
        for axes, level in zip(row, levels, strict=True):
            _panel(axes, summary[(summary["panel"] == level) & (summary["quantity"] == quantity)], looks)
        row[0].set_ylabel(name)
    for axes, last, level in zip(grid[0], grid[-1], levels, strict=True):
        axes.set_title(style.label(configurations.title(summary, level)))
        last.set_xlabel("step")
        _note(axes, summary[summary["panel"] == level])
    losses, accuracies = grid[:, 0]
    _scale(losses, summary[summary["quantity"] == "train_loss"])
    accuracies.set_ylim(-0.03, 1.03)
    if summary["hue_name"].iloc[0]:
        panels.key(figure, looks, summary["hue_name"].iloc[0])
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    """Markers are staggered, so that lines that coincide are all seen; a cross ends what diverged."""
    every = max(1, rows["step"].nunique() // 4)
    for place, (name, line) in enumerate(rows.groupby("hue", sort=False)):
        look, line = looks[str(name)], line.sort_values("step")
        axes.fill_between(line["step"], line["low"], line["high"], color=look.color, alpha=0.15, linewidth=0)
        axes.plot(line["step"], line["mean"], label=str(name), markevery=(place % every, every), **look.line)
        if line["diverged"].iloc[0]:
            last = line.iloc[-1]
            axes.plot([last["step"]], [last["mean"]], label=f"{name}, diverged", color=look.color, **END)


def _note(axes: Axes, rows: pd.DataFrame) -> None:
    """Name the lines that a cross ends: crosses may coincide."""
    lost = rows[rows["diverged"] > 0].drop_duplicates("hue").to_dict("records")
    words = ", ".join(f"{line['hue']} ({line['diverged']}/{line['seeds']})" for line in lost)
    if words:
        told = textwrap.fill(f"diverged: {words}", WIDEST)
        axes.text(0.98, 0.97, told, transform=axes.transAxes, ha="right", va="top", size=8, color="0.3", bbox=BOX)


def _scale(axes: Axes, rows: pd.DataFrame) -> None:
    """The axes that all panels share."""
    losses = rows[["low", "high"]].to_numpy(float)
    losses = losses[np.isfinite(losses) & (losses > 0)]
    top = HIGHEST * rows.loc[rows["step"] == rows["step"].min(), "mean"].median()
    above = 2.0 if rows["diverged"].any() else 1.3  # room for the note
    low, high = losses.min(initial=top) / 1.3, min(top, losses.max(initial=0) * above)
    axes.set(yscale="log", ylim=(low, high))
    if high < NARROW * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _caption(summary: pd.DataFrame) -> str:
    lines = summary.drop_duplicates(configurations.LINES)
    return (
        f"{style.seeds(lines['seeds'])}. Lines: mean over seeds; bands: lowest to highest seed. A line ends where the"
        f" first of its seeds diverged (cross; {lines['diverged'].sum():,} of {lines['seeds'].sum():,} runs shown) or"
        f" stopped early. Losses of more than {HIGHEST:g} times the median at the start leave the"
        f" axis.{configurations.told(summary, 'line')}"
    )
