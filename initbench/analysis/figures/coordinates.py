"""The coordinate check to look at: sizes of every layer's output, change and gradient against the width, by step."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from initbench.analysis.figures import panels, style

QUANTITIES = {"activation": "output", "update": "change since step 0", "gradient": "gradient at the output"}
MOST_STEPS = 4
"""Beside each other, evenly over the steps, the last among them."""
MOST_NAMED = 12
"""Layers in the key, evenly over the network."""
STYLES: dict[str, tuple[str, Any]] = {
    "pass": ("o", "solid"),
    "undecided": ("D", (0, (6, 1.5))),
    "fail": ("X", (0, (2, 1))),
}
"""A marker and a dash a word, so that a failing layer is seen in grey too."""


def summary(table: pd.DataFrame, slopes: pd.DataFrame) -> pd.DataFrame:
    """A row per layer, quantity, step and width: the mean of the root mean squares over seeds, and the slope's word."""
    keys = ["parametrization", "step", "layer", "module"]
    names = {f"{quantity}_rms": quantity for quantity in QUANTITIES}
    means = table.groupby([*keys, "width"], sort=False)[list(names)].mean().rename(columns=names).reset_index()
    long = means.melt([*keys, "width"], var_name="quantity", value_name="mean")
    told = slopes[[*keys, "quantity", "slope", "low", "high", "expected", "seeds", "word"]]
    return long.merge(told, on=[*keys, "quantity"])


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Log against log, a row a quantity, a column a step, a line a layer."""
    layers = summary.drop_duplicates("layer").set_index("layer")["module"]
    colors = dict(zip(layers.index, sns.color_palette("viridis", len(layers)), strict=True))
    steps = panels.spread(sorted(summary["step"].unique()), MOST_STEPS)
    rule = summary["parametrization"].iloc[0]
    figure = style.page(2.6 * len(steps) + 3.2, 7.6, f"Coordinate check: {rule} parametrization", _caption(summary))
    grid = figure.subplots(len(QUANTITIES), len(steps), sharex=True, sharey="row", squeeze=False)
    for row, (quantity, name) in zip(grid, QUANTITIES.items(), strict=True):
        row[0].set_ylabel(f"{name}, RMS")
        for axes, step in zip(row, steps, strict=True):
            _panel(axes, summary[(summary["quantity"] == quantity) & (summary["step"] == step)], colors)
    widths = sorted(summary["width"].unique())
    for first, last, step in zip(grid[0], grid[-1], steps, strict=True):
        first.set_title(f"step {step}")
        last.set_xticks(widths, [f"{width}" for width in widths])
        last.xaxis.set_minor_locator(NullLocator())
        last.set_xlabel("width")
    named = panels.spread(list(layers.index), MOST_NAMED)
    keys = [Line2D([], [], color=colors[layer], label=style.label(layers[layer])) for layer in named]
    words = [
        Line2D([], [], color="0.3", marker=mark, linestyle=dash, label=word) for word, (mark, dash) in STYLES.items()
    ]
    figure.legend(handles=[*keys, *words], loc="outside right center", title="layer; slope's word", frameon=False)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, colors: dict[Any, Any]) -> None:
    axes.set(xscale="log", yscale="log")
    if rows.empty:
        axes.text(0.5, 0.5, "nothing changed yet", transform=axes.transAxes, ha="center", color="0.4")
    for layer, line in rows.groupby("layer", sort=False):
        marker, dash = STYLES[line["word"].iloc[0]]
        axes.plot(line["width"], line["mean"].where(line["mean"] > 0), color=colors[layer], marker=marker,
                  linestyle=dash, markersize=4.5, linewidth=1.4, label=str(line["module"].iloc[0]))  # fmt: skip


def _caption(summary: pd.DataFrame) -> str:
    counts = summary.drop_duplicates(["layer", "quantity", "step"])["word"].value_counts()
    told = ", ".join(f"{counts.get(word, 0)} {word}" for word in STYLES)
    return (
        f"{style.seeds(summary['seeds'])}; mean over seeds, from the first layer (dark) to the last (light). Expected:"
        " level lines for outputs and their changes, 1/width for gradients at hidden outputs. A slope passes where its"
        f" 95 % interval is within 0.1 of that, and fails where it is beyond: {told}."
    )
