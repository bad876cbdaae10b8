"""Histograms of activations and gradients by layer, as in Glorot & Bengio (2010), figures 6 and 7."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.scale import AsinhLocator

from initbench.analysis.figures import style

QUANTITIES = {"a": "activations a", "grad_z": "gradients ∂loss/∂z"}
PANEL = ["init", "quantity"]
TALLEST = 0.8
"""Heights end here: a Gaussian's peak is 0.4, and a spike at one value has no height of its own."""
NARROWEST = 1e-6
"""The linear part of an axis is at least this share of its widest layer."""


def summary(histograms: pd.DataFrame, activation: str, inits: Sequence[str] = ()) -> pd.DataFrame:
    """What the figure draws, from the table `histograms`: one activation's bins, for `inits` (without any, for all).

    ``rms`` is the layer's root mean square over its bins. ``height`` is the density per ``rms`` of the layer itself,
    so that layers of one shape have one height whatever their scale; it ends at `TALLEST`. ``linear`` is where the
    panel's axis goes over from linear to logarithmic: four times the rms of its narrowest layer.
    An initializer that has no histogram has one row without values.
    """
    names = list(inits) or list(histograms["init"].unique())
    panels = pd.MultiIndex.from_product([names, QUANTITIES], names=PANEL).to_frame(index=False)
    rows = panels.merge(histograms[histograms["activation"] == activation], on=PANEL, how="left")
    rows = rows.assign(activation=activation, rms=_root_mean_square(rows))
    sizes = rows.groupby(PANEL, sort=False)["rms"]
    linear = 4 * sizes.transform("min").clip(lower=NARROWEST * sizes.transform("max"))
    return rows.assign(height=(rows["density"] * rows["rms"]).clip(upper=TALLEST), linear=linear)


def _root_mean_square(rows: pd.DataFrame) -> pd.Series:
    """Of each row's layer, values lying evenly within a bin; scaled first, for a square may leave float64."""
    layer = [rows[name] for name in (*PANEL, "layer")]
    reach = rows[["low", "high"]].abs().max(axis=1).groupby(layer).transform("max")
    low, high = rows["low"] / reach, rows["high"] / reach
    share = rows["density"] * (rows["high"] - rows["low"])
    squares = share * (low**2 + low * high + high**2) / 3
    return reach * np.sqrt(squares.groupby(layer).transform("sum") / share.groupby(layer).transform("sum"))


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A column an initializer: activations above, gradients below; in each a histogram a layer, the first on top."""
    inits, layers = summary["init"].unique(), sorted(summary["layer"].dropna().astype(int).unique())
    title = f"Histograms by layer: {summary['activation'].iloc[0]}"
    figure = style.page(max(2.4 * len(inits) + 1.2, 7.0), 7.2, title, CAPTION)
    grid = figure.subplots(len(QUANTITIES), len(inits), sharey=True, squeeze=False)
    for column, init in zip(grid.T, inits, strict=True):
        column[0].set_title(style.label(init))
        for axes, quantity in zip(column, QUANTITIES, strict=True):
            rows = summary[(summary["init"] == init) & (summary["quantity"] == quantity)]
            _panel(axes, rows.dropna(subset=["height"]), layers)
            axes.set_xlabel(QUANTITIES[quantity])
    for axes in grid[:, 0]:
        axes.set(ylabel="layer", yticks=range(len(layers)), yticklabels=layers, ylim=(len(layers) - 0.8, -1.1))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, layers: list[int]) -> None:
    """One initializer's activations or gradients; says so where there are none."""
    filled = rows[rows["height"] > 0]
    if filled.empty:
        axes.set_xticks([])
        style.say(axes, "no histogram:\nall 0, beyond float64\nor not measured")
        return
    for place, (layer, color) in enumerate(zip(layers, sns.color_palette("flare", len(layers)), strict=True)):
        bins = rows[rows["layer"] == layer]
        if len(bins):
            edges = [*bins["low"], bins["high"].iloc[-1]]
            axes.stairs(place - bins["height"] / TALLEST, edges, baseline=place, fill=True, color=color, alpha=0.8, label=layer)
            axes.axhline(place, color=color, linewidth=0.8)
    linear = rows["linear"].iloc[0]
    axes.set_xscale("asinh", linear_width=linear)
    axes.set_xlim(filled["low"].min(), filled["high"].max())
    axes.xaxis.set_major_locator(AsinhLocator(linear, numticks=4, base=0))
    axes.xaxis.set_major_formatter("{x:g}")


CAPTION = (
    "At initialization, n = 1 seed. Each panel's axis is linear (asinh) within the range of its narrowest layer and"
    " logarithmic beyond, so that layers decades apart are all seen. Height: density per RMS of the layer itself, so that"
    f" one shape has one height at any scale (a Gaussian's is half the space). It ends at {TALLEST:g}: a spike, of a rectifier's"
    " zeros or of saturated units, is cut there."
)
