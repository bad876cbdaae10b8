"""Mean squared singular values of Jacobians beside mean field's: a layer's, and the network's for each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from initbench.analysis.figures import panels, style
from initbench.analysis.figures.jacobian_spectrum import KEYS, aside, places

VALUE, PREDICTED = "squared_singular_value", "predicted_squared_singular_value"
MOST_COLUMNS = 4
DECADES = 2
"""The axis ends with the data, or this far from 1."""
THEORY: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (1, 1.5)), "zorder": 3}
DASH: dict[str, Any] = {"color": "black", "marker": "_", "markersize": 9, "linestyle": "none", "zorder": 3}


def summary(jacobians: pd.DataFrame) -> pd.DataFrame:
    """A row per init, activation and layer, and one for the whole network (scope ``network``): a factor per layer.

    ``mean`` (geometric) over the ``seeds``, ``low`` and ``high`` of the `squared_singular_value`, and the one
    ``predicted``; of the network its depth-th root. NaN where a seed's is beyond float64; pairings that cannot be are
    left out.
    """
    drawn = jacobians.reindex(columns=[*KEYS, "seed", VALUE, PREDICTED]).dropna(subset=["seed"])
    power = 1 / drawn["layer"].where(drawn["scope"] == "network", 1)
    with np.errstate(divide="ignore"):  # exactly 0 stays 0
        logs = drawn.assign(**{name: np.log(drawn[name].astype(float)) * power for name in (VALUE, PREDICTED)})
    groups = logs.groupby(KEYS, sort=False)
    complete = groups[VALUE].count() == groups.size()
    told = groups[VALUE].agg(mean="mean", low="min", high="max").where(complete)
    return np.exp(told.assign(predicted=groups[PREDICTED].first())).assign(seeds=groups.size()).reset_index()


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """One panel an activation: layers from left to right, and the network beside them; a line an initializer."""
    activations, looks = list(summary["activation"].unique()), style.looks(summary["init"], "init")
    rows, columns = panels.shape(len(activations), MOST_COLUMNS)
    size = max(3.0 * columns + 2.6, 7.0), max(2.6 * rows + 1.5, 0.22 * len(looks) + 2)
    title = "Mean squared singular value of the Jacobian, layer by layer and of the network"
    figure = style.page(*size, title, _caption(summary))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    _scale(grid[0, 0], summary)  # first: lines are added faster where axes are fixed
    for axes, activation in zip(grid.flat, activations, strict=False):
        _panel(axes, summary[summary["activation"] == activation], looks)
        axes.set_title(style.label(activation))
    panels.name_axes(grid, len(activations), "layer", "factor per layer")
    panels.key(figure, looks, "initializer", [Line2D([], [], label="theory (mean field)", **THEORY)])
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    """One activation; markers are staggered, so that lines that coincide are all seen."""
    depth, step = int(rows["layer"].max()), max(1, rows["layer"].nunique() // 4)
    aside(axes, depth, len(looks))
    for place, (x, name) in enumerate(zip(places(depth, len(looks)), looks, strict=True)):
        look, mine = looks[name], rows[rows["init"] == name]
        line, network = mine[mine["scope"] == "layer"], mine[mine["scope"] == "network"]
        mean, predicted = (line[of].where(line[of] > 0) for of in ("mean", "predicted"))  # a log axis has no 0
        axes.fill_between(line["layer"], line["low"], line["high"], color=look.color, alpha=0.15, linewidth=0)
        axes.plot(line["layer"], mean, label=name, markevery=(place % step, step), **look.line)
        axes.plot(line["layer"], predicted, label=f"{name}, theory", **THEORY)
        axes.vlines([x] * len(network), network["low"], network["high"], color=look.color, linewidth=1.2)
        axes.plot([x] * len(network), network["mean"], label=f"{name}, network", **look.line)
        axes.plot([x] * len(network), network["predicted"], label=f"{name}, network, theory", **DASH)


def _scale(axes: Axes, summary: pd.DataFrame) -> None:
    """The axis of factors that all panels share: whole decades."""
    drawn = summary[["low", "high", "predicted"]].to_numpy(float)
    decades = np.log10(drawn[np.isfinite(drawn) & (drawn > 0)])
    low, high = np.floor(decades.min(initial=-0.5)), np.ceil(decades.max(initial=0.5))
    axes.set(yscale="log", ylim=(10 ** max(low, -DECADES), 10 ** min(high, DECADES)))


def _caption(summary: pd.DataFrame) -> str:
    return (
        f"At initialization, {style.seeds(summary['seeds'])}; tr(J′J) / fan_in, the factor on a gradient's second"
        " moment on its way back: geometric means over seeds, from lowest to highest. Left: each layer's own Jacobian."
        " Right of the rule: that of the product of all layers, its depth-th root. Dotted, and dashes there:"
        " mean-field theory. What is exactly 0 or beyond float64 is not on the axis, which ends with the data or"
        f" {DECADES} decades from 1."
    )
