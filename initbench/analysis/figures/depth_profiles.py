"""How the signal's scale changes with depth: one panel an activation, one line an initializer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from initbench.analysis.figures import style

KEYS = ["init", "activation", "layer"]
LAW = "mean_field"
STEEPEST = 4.0
"""The axis ends where a factor of 4 a layer, up or down from 1, would end: the well-known failures stay inside."""
THEORY: dict[str, Any] = {"color": "black", "linestyle": (0, (1, 1.5)), "linewidth": 0.9, "zorder": 3}


@dataclass(frozen=True)
class Quantity:
    """What one direction shows, and the side on which its curves leave the lower corner free."""

    column: str
    title: str
    axis: str
    free: float


QUANTITIES = {
    "forward": Quantity("z_second_moment", "Forward: scale of the pre-activations z by layer", "mean of z²", 0.03),
    "backward": Quantity(
        "grad_z_second_moment",
        "Backward: scale of the gradients at z by layer (they travel from right to left)",
        "mean of (∂loss/∂z)²",
        0.97,
    ),
}


def summary(layers: pd.DataFrame, predictions: pd.DataFrame, direction: str) -> pd.DataFrame:
    """What the figure draws: a row per init, activation, layer, from the tables `layers` and `predictions`.

    `direction` is ``forward`` (z_second_moment) or ``backward`` (grad_z_second_moment). ``mean``, ``low`` and ``high``
    are over the ``seeds``: the mean because theory predicts it, the whole range because seeds are heavy-tailed.
    All three are NaN where any seed's value is (beyond float64). ``theory`` is the mean-field law's value.
    """
    column = QUANTITIES[direction].column
    groups = layers.groupby(KEYS, sort=False)
    measured = groups[column].agg(mean=_mean, low=_lowest, high=_highest, seeds="size")
    measured["fan_out"] = groups["fan_out"].first()
    theory = predictions.loc[predictions["law"] == LAW, [*KEYS, column]].rename(columns={column: "theory"})
    return measured.reset_index().merge(theory, on=KEYS, how="left").assign(direction=direction, quantity=column)


def _mean(values: pd.Series) -> float:
    """The mean; its sum does not overflow where no value does. NaN if a value is."""
    top = values.to_numpy().max()
    return float((values.to_numpy() / top).mean() * top) if top > 0 else float(top)


def _lowest(values: pd.Series) -> float:
    return float(values.to_numpy().min())  # unlike pandas' own, NaN if a value is


def _highest(values: pd.Series) -> float:
    return float(values.to_numpy().max())


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """The figure of one direction: second moment against layer, on one log axis that all panels share."""
    activations = list(summary["activation"].unique())
    looks = style.looks(summary["init"])
    quantity = QUANTITIES[summary["direction"].iloc[0]]
    rows, columns = style.grid_shape(len(activations))
    height = max(2.5 * rows + 1.4, 0.22 * len(looks) + 2.0)
    figure = style.page(max(2.6 * columns + 2.6, 7.0), height, quantity.title, _caption(summary))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    _scale(grid[0, 0], summary)
    for axes, activation in zip(grid.flat, activations, strict=False):
        _panel(axes, summary[summary["activation"] == activation], looks)
        _note(axes, summary[summary["activation"] == activation], quantity.free)
        axes.set_title(style.label(activation))
    style.outer_labels(grid, len(activations), "layer", quantity.axis)
    figure.legend(handles=_keys(looks), loc="outside right center", title="initializer", frameon=False)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    """One activation's curves. Markers are staggered, so that initializers whose curves coincide are all seen."""
    step = max(1, rows["layer"].nunique() // 4)
    for place, (name, curve) in enumerate(rows.groupby("init", sort=False)):
        look, layer = looks[str(name)], curve["layer"]
        axes.fill_between(layer, curve["low"], curve["high"], color=look.color, alpha=0.15, linewidth=0)
        axes.plot(layer, curve["mean"], label=name, markevery=(place % step, step), **look.line)
        axes.plot(layer, curve["theory"], label=f"{name}, {LAW}", **THEORY)


def _note(axes: Axes, rows: pd.DataFrame, x: float) -> None:
    """Name the initializers of which a log axis shows nothing."""
    missing = [
        f"{name}: {'exactly 0' if (curve['mean'] == 0).any() else 'beyond float64'}"
        for name, curve in rows.groupby("init", sort=False)
        if not (curve["mean"] > 0).any()
    ]
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    side = "left" if x < 0.5 else "right"
    axes.text(x, 0.03, "\n".join(missing), transform=axes.transAxes, size=8, color="0.3", ha=side, bbox=box)


def _scale(axes: Axes, summary: pd.DataFrame) -> None:
    """The shared axes: whole layers; decades to where the data end, but no farther than `STEEPEST` goes."""
    depth = summary["layer"].max()
    drawn = summary[["mean", "low", "high", "theory"]].to_numpy(float)
    decades = np.log10(drawn[np.isfinite(drawn) & (drawn > 0)], dtype=float)
    reach = np.ceil(depth * np.log10(STEEPEST))
    low = max(-reach, np.floor(decades.min(initial=-0.5)))
    high = min(reach, np.ceil(decades.max(initial=0.5)))
    margin = max(0.3, 0.03 * depth)
    step = np.ceil((high - low) / 8)
    axes.set(yscale="log", xlim=(1 - margin, depth + margin), ylim=(10**low, 10**high))
    axes.yaxis.set_major_locator(FixedLocator(10 ** np.arange(np.ceil(low / step) * step, high + 1, step)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def _keys(looks: dict[str, style.Look]) -> list[Line2D]:
    """The legend's entries: every initializer, then theory."""
    drawn = [Line2D([], [], label=style.label(name), **look.line) for name, look in looks.items()]
    return [*drawn, Line2D([], [], label="theory (mean field)", **THEORY)]


def _caption(summary: pd.DataFrame) -> str:
    return (
        f"At initialization; depth {summary['layer'].max()}, {style.span(summary['fan_out'])} units a layer,"
        f" {style.seeds(summary['seeds'])}. Lines: mean over seeds; bands: lowest to highest seed (they are heavy-tailed)."
        " Dotted: mean-field theory, exact at infinite width alone. Curves that coincide show their markers in turn."
        f" Curves steeper than a factor of {STEEPEST:g} a layer leave the axis; where a value is exactly 0 a line drops"
        " off it, and where one is beyond float64 it ends."
    )
