"""Histograms of activations and gradients by layer, as in Glorot & Bengio (2010), figures 6 and 7."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AsinhLocator

from initbench.analysis.figures import style

QUANTITIES = {"a": "activation a", "grad_z": "gradient at z"}
PANEL = ["init", "quantity"]
TALLEST = 0.8
"""Heights end here: a Gaussian's peak is 0.4, and a spike at one value has no height of its own."""
ROOM = 0.9
"""Of the space between two layers, what the tallest bin takes."""
NARROWEST = 0.01
"""The linear part of an axis is at least this share of its widest layer."""


def summary(histograms: pd.DataFrame, activation: str, inits: Sequence[str] = ()) -> pd.DataFrame:
    """What the figure draws, from the table `histograms`: one activation's bins, for `inits` (without any, for all).

    ``rms`` (about 0) and ``sd`` (about the mean) are the layer's, over its bins. ``height`` is density × sd, so that
    layers of one shape have one height whatever their scale; it ends at `TALLEST`. ``linear`` is where the panel's
    axis goes over from linear to logarithmic: four times the rms of its narrowest layer.
    An initializer that has no histogram has one row without values. ``initializers`` is how many there are, also
    those not shown.
    """
    names = list(inits) or list(histograms["init"].unique()) or ["no initializer"]
    panels = pd.MultiIndex.from_product([names, QUANTITIES], names=PANEL).to_frame(index=False)
    rows = panels.merge(histograms[histograms["activation"] == activation], on=PANEL, how="left")
    rows = rows.assign(activation=activation, layer=rows["layer"].astype("Int64"))
    mean = _average(rows, (rows["low"] + rows["high"]) / 2)
    rows = rows.assign(rms=_deviation(rows, 0 * mean), sd=_deviation(rows, mean))
    sizes = rows.groupby(PANEL, sort=False)["rms"]
    linear = 4 * sizes.transform("min").clip(lower=NARROWEST * sizes.transform("max"))
    height = (rows["density"] * rows["sd"]).clip(upper=TALLEST)
    return rows.assign(height=height, linear=linear, initializers=max(histograms["init"].nunique(), len(names)))


def _average(rows: pd.DataFrame, values: pd.Series) -> pd.Series:
    """For each row the mean of `values` over its layer's bins, weighted by their share."""
    layer = [rows[name] for name in (*PANEL, "layer")]
    share = rows["density"] * (rows["high"] - rows["low"])
    return (share * values).groupby(layer).transform("sum") / share.groupby(layer).transform("sum")


def _deviation(rows: pd.DataFrame, center: pd.Series) -> pd.Series:
    """For each row its layer's root mean square about `center`; a bin's values lie evenly within it."""
    reach = rows[["low", "high"]].abs().max(axis=1).groupby([rows[name] for name in (*PANEL, "layer")]).transform("max")
    low, high = (rows["low"] - center) / reach, (rows["high"] - center) / reach  # a square may leave float64
    return reach * np.sqrt(_average(rows, (low**2 + low * high + high**2) / 3))


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A column an initializer: activations above, gradients below; in each a histogram a layer, the first on top."""
    inits, layers = summary["init"].unique(), sorted(summary["layer"].dropna().unique())
    title = f"Activations (above) and gradients (below) by layer: {summary['activation'].iloc[0]}"
    if (there := summary["initializers"].iloc[0]) > len(inits):
        title += f" ({len(inits)} of {there} initializers, spread over their growths)"
    figure = style.page(max(2.4 * len(inits) + 1.2, 7.0), 7.2, title, CAPTION)
    grid = figure.subplots(len(QUANTITIES), len(inits), sharey=True, squeeze=False)
    for column, init in zip(grid.T, inits, strict=True):
        column[0].set_title(style.label(init))
        for axes, quantity in zip(column, QUANTITIES, strict=True):
            rows = summary[(summary["init"] == init) & (summary["quantity"] == quantity)]
            _panel(axes, rows.dropna(subset=["height"]), layers)
            axes.set_xlabel(f"{QUANTITIES[quantity]} (asinh axis)")
    for axes in grid[:, 0]:
        axes.set(ylabel="layer", yticks=range(len(layers)), yticklabels=layers, ylim=(len(layers) - 0.8, -1.1))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, layers: list[int]) -> None:
    """One initializer's activations or gradients; says so where there are none."""
    filled = rows[rows["height"] > 0]
    if filled.empty:
        axes.set_xticks([])
        words = "no histogram:\nall 0, beyond float64\nor not measured"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.4", style="italic")
        return
    for place, (layer, color) in enumerate(zip(layers, sns.color_palette("flare", len(layers)), strict=True)):
        bins = rows[rows["layer"] == layer]
        tops, edges = place - ROOM * bins["height"] / TALLEST, [*bins["low"], *bins["high"].tail(1)]
        if len(bins):
            axes.stairs(
                tops, edges, baseline=place, fill=True, facecolor=color, edgecolor=color, linewidth=0.6, label=layer
            )
    _scale(axes, filled["low"].min(), filled["high"].max(), rows["linear"].iloc[0])


def _scale(axes: Axes, low: float, high: float, linear: float) -> None:
    """The asinh axis, with a few ticks in round numbers."""
    axes.set_xscale("asinh", linear_width=linear)
    axes.set_xlim(low, high)
    two_sided = -low > high / 2
    axes.xaxis.set_major_locator(AsinhLocator(linear, numticks=5 if two_sided else 4, base=0))
    axes.xaxis.set_major_formatter(_short)


def _short(value: float, _: float) -> str:
    """A tick's label: ``−5e8`` rather than ``-5e+08``."""
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-").replace("-", "−")


CAPTION = (
    "At initialization, n = 1 seed. Each panel's axis is asinh: linear within its narrowest layer's range (but at least"
    f" {NARROWEST:.0%} of its widest's), logarithmic beyond, so that layers of different scale are seen together."
    " Height: density × standard deviation of the layer, so that a Gaussian takes half the space at any scale; cut at"
    f" {TALLEST:g}: a block is a spike, as of a rectifier's zeros. A layer without histogram is all 0 or beyond"
    " float64."
)
