"""How many activations sit on a flat part, and how many units do so for every input: a panel an activation."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from initbench.analysis.figures import panels, style
from initbench.core.columns import FLAT_SLOPE

KEYS = ["init", "activation", "layer"]
MOST_COLUMNS = 4
TITLES = {
    "saturated_fraction": "Saturation: share of (input, unit) pairs on a flat part of the activation, by layer",
    "dead_fraction": "Dead units: share of units on a flat part for every input, by layer",
}


def summary(layers: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A row per init, activation and layer: the mean of `quantity` over ``seeds``, from lowest to highest.

    `quantity` is ``saturated_fraction`` or ``dead_fraction``. Activations for which it is 0 throughout, as for what
    has no flat part, are not there.
    """
    ever = layers.groupby("activation", sort=False)[quantity].transform("max") > 0
    groups = layers[ever].groupby(KEYS, sort=False)
    table = groups[quantity].agg(mean="mean", low="min", high="max", seeds="size")
    return table.reset_index().assign(quantity=quantity)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """One axis of shares for all panels; a line an initializer, its markers in turn with those of the others."""
    activations, looks = list(summary["activation"].unique()), style.looks(summary["init"], "init")
    quantity = summary["quantity"].iloc[0]
    rows, columns = panels.shape(len(activations), MOST_COLUMNS)
    size = max(2.6 * columns + 2.6, 7.0), max(2.5 * rows + 1.4, 0.22 * len(looks) + 2.0)
    figure = style.page(*size, TITLES[quantity], _caption(summary))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    _scale(grid[0, 0], int(summary["layer"].max()))  # first: lines are added faster where axes are fixed
    for axes, activation in zip(grid.flat, activations, strict=False):
        _panel(axes, summary[summary["activation"] == activation], looks)
        axes.set_title(style.label(activation))
    panels.name_axes(grid, len(activations), "layer", quantity.replace("_", " "))
    panels.key(figure, looks, "initializer")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    step = max(1, rows["layer"].nunique() // 4)
    for place, (name, line) in enumerate(rows.groupby("init", sort=False)):
        look: Any = looks[str(name)]
        axes.fill_between(line["layer"], line["low"], line["high"], color=look.color, alpha=0.15, linewidth=0)
        axes.plot(line["layer"], line["mean"], label=name, markevery=(place % step, step), **look.line)


def _scale(axes: Axes, depth: int) -> None:
    """The axes that all panels share."""
    margin = max(0.3, 0.03 * depth)
    axes.set(xlim=(1 - margin, depth + margin), ylim=(-0.03, 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _caption(summary: pd.DataFrame) -> str:
    return (
        f"At initialization; depth {summary['layer'].max()}, {style.seeds(summary['seeds'])}. Lines: mean over seeds;"
        f" bands: lowest to highest seed. Flat: |φ′(z)| is below {FLAT_SLOPE:.0%} of the steepest slope; a rectifier's"
        " off half counts. Curves that coincide show their markers in turn. Activations without any are not shown."
    )
