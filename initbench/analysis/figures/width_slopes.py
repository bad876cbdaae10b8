"""What width does to the signal where its way ends: the mean over seeds against the width, and the fitted power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from initbench.analysis.figures import style
from initbench.analysis.growth import DIRECTIONS, PAIRING

TITLES = {"forward": "mean of z², last layer", "backward": "mean of (∂loss/∂z)², layer 1"}
MOST = 4
"""Activations beside each other, the study's first."""
LEAST_DECADES = 1.0
"""Of the shared axis, so that chance does not look like a slope."""


def summary(by_width: dict[int, pd.DataFrame], slopes: pd.DataFrame) -> pd.DataFrame:
    """What the figure draws: a row per direction, init, activation and width.

    `by_width` holds the table `layers` of each width, `slopes` the table of that name. ``mean`` is over the ``seeds``,
    ``low`` and ``high`` a standard error from it; ``fit`` is the line of the slope through the centre of the means,
    weighted by the width as the slope's fit is, and ``fit_low`` and ``fit_high`` are the ends of its 95 % interval.
    """
    together = pd.concat([layers.assign(width=width) for width, layers in by_width.items()], ignore_index=True)
    ends = {"forward": together["layer"].max(), "backward": 1}
    tables = [_of_direction(together, slopes, direction, layer) for direction, layer in ends.items()]
    return pd.concat(tables, ignore_index=True)


def _of_direction(layers: pd.DataFrame, slopes: pd.DataFrame, direction: str, layer: int) -> pd.DataFrame:
    statistic = DIRECTIONS[direction]
    chosen = layers[layers["layer"] == layer].groupby([*PAIRING, "width"], sort=False)[statistic]
    means = chosen.agg(mean="mean", error="sem", seeds="size").reset_index()
    asked = (slopes["statistic"] == statistic) & (slopes["against"] == "width") & (slopes["layer"] == layer)
    fits = slopes.loc[asked, [*PAIRING, "slope", "low", "high"]].rename(columns={"low": "flattest", "high": "steepest"})
    table = means.merge(fits, on=PAIRING, how="left").assign(direction=direction, layer=layer)
    return pd.concat([_fitted(rows) for _, rows in table.groupby(PAIRING, sort=False)], ignore_index=True)


def _fitted(rows: pd.DataFrame) -> pd.DataFrame:
    x, mean = np.log(rows["width"].to_numpy(float)), rows["mean"].where(rows["mean"] > 0)
    known = mean.notna() & np.isfinite(mean)
    weight = rows["width"].where(known, 0) / max(rows["width"].where(known, 0).sum(), 1)
    centre, height = (weight * x).sum(), (weight * np.log(mean.where(known, 1))).sum()
    lines = {name: np.exp(height + rows[slope] * (x - centre))
             for name, slope in (("fit", "slope"), ("one", "flattest"), ("other", "steepest"))}  # fmt: skip
    band = {"fit_low": np.minimum(lines["one"], lines["other"]), "fit_high": np.maximum(lines["one"], lines["other"])}
    error = rows["error"].fillna(0)
    spread = {"low": (rows["mean"] - error).clip(lower=0), "high": rows["mean"] + error}
    return rows.drop(columns=["error", "flattest", "steepest"]).assign(**spread, fit=lines["fit"], **band)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Log against log: a row a direction, a column an activation; marks are measured, lines and bands the fit."""
    activations, looks = list(summary["activation"].unique())[:MOST], style.looks(summary["init"], "init")
    width = max(2.6 * len(activations) + 2.9, 7.0)
    figure = style.page(width, max(6.2, 0.22 * len(looks) + 2), "How the signal goes with the width", _caption(summary))
    grid = figure.subplots(len(TITLES), len(activations), sharex=True, sharey="row", squeeze=False)
    for line, (direction, title) in zip(grid, TITLES.items(), strict=True):
        for axes, activation in zip(line, activations, strict=True):
            both = (summary["direction"] == direction) & (summary["activation"] == activation)
            _panel(axes, summary[both], looks)
        shown = summary[(summary["direction"] == direction) & summary["activation"].isin(activations)]
        line[0].set(ylabel=title, ylim=_limits(shown))
    widths = sorted(summary["width"].unique())
    for axes, activation in zip(grid[0], activations, strict=True):
        axes.set_title(style.label(activation))
    for axes in grid[-1]:
        axes.set_xticks(widths, [f"{units}" for units in widths])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("width")
    keys = [Line2D([], [], label=style.label(name), **look.line) for name, look in looks.items()]
    figure.legend(handles=keys, loc="outside right center", title="initializer", frameon=False)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    axes.set(xscale="log", yscale="log")
    for name, curve in rows.groupby("init", sort=False):
        look = looks[str(name)]
        marks: dict[str, Any] = {**look.line, "linestyle": "none"}
        axes.fill_between(
            curve["width"], curve["fit_low"], curve["fit_high"], color=look.color, alpha=0.15, linewidth=0
        )
        axes.plot(curve["width"], curve["fit"], color=look.color, linestyle=look.dash, linewidth=1.4)
        axes.vlines(curve["width"], curve["low"], curve["high"], color=look.color, linewidth=1.2)
        axes.plot(curve["width"], curve["mean"].where(curve["mean"] > 0), label=name, **marks)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Of an axis that holds all means with some room, and one decade at least."""
    log = np.log10(rows["mean"].where(rows["mean"] > 0).dropna())
    middle, half = ((log.max() + log.min()) / 2, (log.max() - log.min()) / 2) if len(log) else (0.0, 0.0)
    reach = max(half * 1.1 + 0.1, LEAST_DECADES / 2)
    return 10 ** (middle - reach), 10 ** (middle + reach)


def _caption(summary: pd.DataFrame) -> str:
    more = summary["activation"].nunique() - MOST
    return (
        f"At initialization, {style.seeds(summary['seeds'])}; forward at layer"
        f" {summary['layer'].max()}, the last. Marks: mean over seeds, with its standard error. Lines: the power of the"
        " width fitted to them, weighted by the width, with the slope's 95 % interval as a band. A level line keeps the"
        " signal at any width." + (f" {more} more activations are in the tables." if more > 0 else "")
    )
