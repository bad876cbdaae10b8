"""How the signal's scale changes with depth: one panel an activation, one line an initializer."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from initbench.analysis.figures import panels, style
from initbench.analysis.growth import DIRECTIONS

KEYS = ["init", "activation", "layer"]
LAW = "mean_field"
MOST_COLUMNS = 4
STEEPEST, LEAST, MOST = 4.0, 6, 300
"""The axis ends with the data, or where a factor of 4 a layer would (within 6 to 300 decades): there the well-known
failures are still seen, and the others do not flatten them."""
LETTER, TEXT_LINE = 0.026, 0.065
"""A letter's width and a line's height in the panels' notes, as shares of the narrowest panel."""
THEORY: dict[str, Any] = {"color": "black", "linestyle": (0, (1, 1.5)), "linewidth": 0.9, "zorder": 3}


@dataclass(frozen=True)
class Quantity:
    """What one direction shows, and the side on which its curves leave the lower corner free."""

    title: str
    axis: str
    free: str


QUANTITIES = {
    "forward": Quantity("Forward: scale of the pre-activations z by layer", "mean of z²", "left"),
    "backward": Quantity(
        "Backward: scale of the gradients at z by layer (they travel from right to left)",
        "mean of (∂loss/∂z)²",
        "right",
    ),
}


def summary(layers: pd.DataFrame, predictions: pd.DataFrame, direction: str) -> pd.DataFrame:
    """What the figure draws: a row per init, activation, layer of the table `layers`, in the order of `predictions`.

    `direction` is ``forward`` (z_second_moment) or ``backward`` (grad_z_second_moment). ``mean``, ``low`` and ``high``
    are over the ``seeds``: the mean because theory predicts it, the whole range because seeds are heavy-tailed.
    All three are NaN where any seed's value is (beyond float64). ``theory`` is the mean-field law's value.
    """
    column = DIRECTIONS[direction]
    groups = layers.groupby(KEYS, sort=False)
    measured = groups[column].agg(mean=_mean, low=_lowest, high=_highest, seeds="size")
    measured = measured.assign(fan_out=groups["fan_out"].first()).reset_index()
    theory = predictions.loc[predictions["law"] == LAW, [*KEYS, column]].rename(columns={column: "theory"})
    table = measured.merge(theory, on=KEYS, how="left").assign(direction=direction, quantity=column)
    places = {key: {value: place for place, value in enumerate(predictions[key].unique())} for key in KEYS}
    return table.sort_values(KEYS, key=lambda values: values.map(places[values.name]), ignore_index=True)


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
    looks = style.looks(summary["init"], "init")
    quantity = QUANTITIES[summary["direction"].iloc[0]]
    rows, columns = panels.shape(len(activations), MOST_COLUMNS)
    height = max(2.5 * rows + 1.4, 0.22 * len(looks) + 2.0)
    figure = style.page(max(2.6 * columns + 2.6, 7.0), height, quantity.title, _caption(summary))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    _scale(grid[0, 0], summary)
    for axes, activation in zip(grid.flat, activations, strict=False):
        _panel(axes, summary[summary["activation"] == activation], looks)
        _note(axes, summary[summary["activation"] == activation], quantity.free)
        axes.set_title(style.label(activation))
    panels.name_axes(grid, len(activations), "layer", quantity.axis)
    panels.key(figure, looks, "initializer", [Line2D([], [], label="theory (mean field)", **THEORY)])
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    """One activation's curves. Markers are staggered, so that initializers whose curves coincide are all seen."""
    step = max(1, rows["layer"].nunique() // 4)
    for place, (name, curve) in enumerate(rows.groupby("init", sort=False)):
        look, layer = looks[str(name)], curve["layer"]
        mean, theory = (curve[line].where(curve[line] > 0) for line in ("mean", "theory"))  # a log axis has no 0
        axes.fill_between(layer, curve["low"], curve["high"], color=look.color, alpha=0.15, linewidth=0)
        axes.plot(layer, mean, label=name, markevery=(place % step, step), **look.line)
        axes.plot(layer, theory, label=f"{name}, {LAW}", **THEORY)


def _note(axes: Axes, rows: pd.DataFrame, side: str) -> None:
    """Name the initializers that a log axis does not show in every layer."""
    absent = {"exactly 0": rows["mean"] == 0, "beyond float64": rows["mean"].isna()}
    names = {why: ", ".join(rows.loc[where, "init"].unique()) for why, where in absent.items() if where.any()}
    lines = [textwrap.fill(f"{why}: {those}", 36) for why, those in names.items()]
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    text = "\n".join(lines)
    across, along = _corner(axes, rows, side, text)
    x, y = 0.97 if across == "right" else 0.03, 0.97 if along == "top" else 0.03
    axes.text(x, y, text, ha=across, va=along, transform=axes.transAxes, size=8, color="0.3", bbox=box)


def _corner(axes: Axes, rows: pd.DataFrame, side: str, text: str) -> tuple[str, str]:
    """Where the fewest of the curves' points are under `text`: the lower corner of `side`, unless another has fewer."""
    lines = text.split("\n")
    wide, high = 0.05 + LETTER * max(map(len, lines)), 0.05 + TEXT_LINE * len(lines)
    share = axes.transData + axes.transAxes.inverted()
    curves = (part[["layer", line]].to_numpy(float) for _, part in rows.groupby("init") for line in ("mean", "theory"))
    drawn = [share.transform(curve[curve[:, 1] > 0]) for curve in curves if (curve[:, 1] > 0).any()]
    x = np.linspace(0, 1, 200)
    heights = [np.interp(x, curve[:, 0], curve[:, 1], left=np.nan, right=np.nan) for curve in drawn]
    y = np.array(heights).reshape(-1, len(x))

    def covered(corner: tuple[str, str]) -> int:
        inwards = x if corner[0] == "left" else 1 - x
        upwards = y if corner[1] == "bottom" else 1 - y
        return int(np.count_nonzero((inwards < wide) & (upwards >= 0) & (upwards < high)))

    other = "left" if side == "right" else "right"
    return min([(side, "bottom"), (other, "bottom"), (side, "top"), (other, "top")], key=covered)


def _scale(axes: Axes, summary: pd.DataFrame) -> None:
    """The shared axes: whole layers, and whole decades with a tick at 1."""
    depth = int(summary["layer"].max())
    drawn = summary[["low", "high", "theory"]].to_numpy(float)
    decades = np.log10(drawn[np.isfinite(drawn) & (drawn > 0)])
    reach = np.clip(np.ceil(depth * np.log10(STEEPEST)), LEAST, MOST)
    low = max(-reach, np.floor(decades.min(initial=-0.5)))
    high = min(reach, np.ceil(decades.max(initial=0.5)))
    step = np.ceil((high - low) / 8)
    margin = max(0.3, 0.03 * depth)
    axes.set(yscale="log", xlim=(1 - margin, depth + margin), ylim=(10**low, 10**high))
    ticks = 10 ** np.arange(np.ceil(low / step) * step, high + 1, step)
    axes.yaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def _caption(summary: pd.DataFrame) -> str:
    return (
        f"At initialization; depth {summary['layer'].max()}, {style.span(summary['fan_out'])} units a layer,"
        f" {style.seeds(summary['seeds'])}. Lines: mean over seeds; bands: lowest to highest seed, for they are"
        " heavy-tailed. Dotted: mean-field theory, exact at infinite width alone. Curves that coincide show their"
        f" markers in turn. Curves steeper than a factor of {STEEPEST:g} a layer leave the axis; a line ends"
        " where a value is exactly 0 or beyond float64, and the panel's corner names it."
    )
