"""Singular values of Jacobians, of each layer and of the whole network: who is near dynamical isometry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from initbench.analysis.figures import panels, style

KEYS = ["init", "activation", "scope", "layer"]
VALUES = ["singular_min", "singular_5", "singular_25", "singular_50", "singular_75", "singular_95", "singular_max"]
LINE = "singular_75"
"""The median of a rectifier's layer is often 0."""
MOST_COLUMNS = 3
LOWEST = 1e-12
"""The axis ends here, or where the data does; what is below the rounding is drawn to far below."""


def summary(jacobians: pd.DataFrame) -> pd.DataFrame:
    """What the figure draws: a row per init, activation and layer, and one for the whole network (scope ``network``).

    Of the singular values the ends and five quantiles, geometric means over the ``seeds``; NaN where a seed's value is
    below its rounding. `jacobians` is the table of `initbench jacobian --spectrum`; rows without one are left out, and
    those whose Jacobian is 0.
    """
    known = jacobians[jacobians["singular_max"] > 0]
    logs = pd.concat([known[KEYS], known[VALUES].apply(np.log)], axis=1)
    groups = logs.groupby(KEYS, sort=False)[VALUES]
    means = groups.mean().where(groups.count().eq(groups.size(), axis=0)).apply(np.exp)
    return means.assign(seeds=groups.size()).reset_index()


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """One panel an activation: layers from left to right, and the network beside them; a line an initializer."""
    activations, looks = list(summary["activation"].unique()), style.looks(summary["init"], "init")
    rows, columns = panels.shape(len(activations), MOST_COLUMNS)
    size = max(3.4 * columns + 2.6, 7.0), max(2.9 * rows + 1.5, 0.22 * len(looks) + 2)
    figure = style.page(*size, "Singular values of the Jacobian, layer by layer and of the network", _caption(summary))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, activation in zip(grid.flat, activations, strict=False):
        _panel(axes, summary[summary["activation"] == activation], looks)
        axes.set_title(style.label(activation))
    panels.name_axes(grid, len(activations), "layer", "singular value")
    ends = summary[["singular_5", LINE, "singular_min", "singular_max"]].to_numpy(float)
    grid[0, 0].set_ylim(max(np.nanmin(ends, initial=1), LOWEST) / 2, np.nanmax(ends, initial=1) * 2)
    panels.key(figure, looks, "initializer")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    depth, names = int(rows["layer"].max()), list(rows["init"].unique())
    axes.set_yscale("log")
    for place, (name, x) in enumerate(zip(names, places(depth, len(names)), strict=True)):
        look, mine = looks[name], rows[rows["init"] == name]
        layers, networks = mine[mine["scope"] == "layer"], mine[mine["scope"] == "network"]
        low = layers["singular_5"].fillna(LOWEST**2)
        axes.fill_between(layers["layer"], low, layers["singular_95"], color=look.color, alpha=0.15, linewidth=0)
        every = max(1, len(layers) // 4)
        axes.plot(layers["layer"], layers[LINE], label=name, markevery=(place % every, every), **look.line)
        for network in networks.to_dict("records"):  # none where the product left float64
            _interval(axes, x, network, look)
    axes.axhline(1, color="0.2", linewidth=0.9, linestyle=(0, (1, 1.5)))
    aside(axes, depth, len(names))


def places(depth: int, count: int) -> np.ndarray:
    """Where right of `depth` layers, behind a rule, the network has `count` marks."""
    return depth + (1.5 + np.arange(count)) * _step(depth, count)


def aside(axes: Axes, depth: int, count: int) -> None:
    """The rule, the room right of it for the network, and what stands on the axis."""
    step = _step(depth, count)
    axes.axvline(depth + step * 0.7, color="0.4", linewidth=0.8)
    ticks = [*np.unique(np.linspace(1, depth, min(depth, 4)).round()), depth + (1 + count / 2) * step]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.set_xticklabels([*(f"{tick:.0f}" for tick in ticks[:-1]), "network"])
    axes.set_xlim(1 - 0.5 * step, depth + (1.5 + count) * step)


def _step(depth: int, count: int) -> float:
    """Between two marks; all together take no more room than the layers."""
    return min(max(1.0, depth / 12), depth / count)


def _interval(axes: Axes, x: float, values: dict[Any, Any], look: style.Look) -> None:
    """All of the network's values as a line, nine tenths of them as a bar; open below where the rounding ends them."""
    thin, thick = (LOWEST**2 if math.isnan(values[end]) else values[end] for end in ("singular_min", "singular_5"))
    axes.vlines(x, thin, values["singular_max"], color=look.color, linewidth=1.2)
    axes.vlines(x, thick, values["singular_95"], color=look.color, linewidth=4.5, alpha=0.6)
    axes.plot([x], [values[LINE]], **look.line)


def _caption(summary: pd.DataFrame) -> str:
    return (
        f"At initialization, {style.seeds(summary['seeds'])}; geometric means over seeds and inputs, without Jacobians"
        " that are 0. Left: each layer's"
        " own Jacobian, the upper quartile as a line and from 5 to 95 % of its singular values as a band. Right of the"
        " rule: of the product of all layers, the upper quartile as a mark, 5 to 95 % as a bar, all as a line; what"
        " leaves below is near 0 or under the rounding. Dynamical isometry: all near 1."
    )
