"""Depth scales of mean-field theory against one variance: how many layers a signal is remembered for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from initbench.analysis.figures import style

VARIANCES = {"weight_variance": style.SIGMA_W, "bias_variance": style.SIGMA_B}
SCALES = {"xi_c": style.XI_C, "xi_q": style.XI_Q}
TOP = 1000.0
"""Layers where the axis ends at the latest."""
ENDLESS: dict[str, Any] = {"marker": "^", "linestyle": "none", "clip_on": False, "zorder": 4}
SHADES = ("1.0", "0.93")
"""Of phases in turn."""
LEAST_WIDTH = 0.06
"""Of the axis: a phase that is narrower gets no word."""
WORD: dict[str, Any] = {"ha": "center", "va": "bottom", "color": "0.35", "size": 9, "in_layout": False}


def summary(points: pd.DataFrame) -> pd.DataFrame:
    """A row per point of the table ``phases`` of one activation, along the variance ``x`` that varies (``x_name``)."""
    x, held = sorted(VARIANCES, key=lambda name: points[name].nunique(), reverse=True)
    rows = points.reindex(columns=["activation", x, held, *SCALES, "phase"]).sort_values(x, ignore_index=True)
    return rows.rename(columns={x: "x", held: "held"}).assign(x_name=x, held_name=held)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Both scales on a log axis, over the phases; a triangle on the upper edge where one has no end."""
    first = summary.iloc[0]
    title = f"How deep a signal is remembered: depth scales of {first['activation']}"
    figure = style.page(8.0, 4.8, title, _caption(summary))
    axes = figure.subplots()
    _phases(axes, summary)
    numbers = summary[[*SCALES]].to_numpy(float)
    known = numbers[np.isfinite(numbers)]
    low, high = known.min(initial=1.0) / 1.3, min(TOP, known.max(initial=10.0) * 1.3)
    for size, (scale, name) in zip((11, 6), SCALES.items(), strict=True):  # both are seen where both are endless
        look = style.looks(SCALES)[scale]
        depth = summary[scale].astype(float)
        axes.plot(summary["x"], depth.where(np.isfinite(depth)), label=name, **look.line)
        endless = summary.loc[np.isposinf(depth), "x"]
        if len(endless):
            axes.plot(endless, np.full(len(endless), high), color=look.color, markersize=size, **ENDLESS)
    axes.set(yscale="log", ylim=(low, high), xlabel=VARIANCES[first["x_name"]], ylabel="layers")
    key: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False}
    axes.legend(**key)
    return figure


def _phases(axes: Axes, rows: pd.DataFrame) -> None:
    """Each run of one phase as a shade with its word; they meet halfway between points."""
    x, phase = rows["x"].to_numpy(float), rows["phase"].to_numpy()
    middle = (x[:-1] + x[1:]) / 2
    edges = np.array([x[0] - (middle[0] - x[0]), *middle, x[-1] + (x[-1] - middle[-1])])
    starts = [0, *(np.flatnonzero(phase[1:] != phase[:-1]) + 1)]
    for place, (start, end) in enumerate(zip(starts, [*starts[1:], len(x)], strict=True)):
        axes.axvspan(edges[start], edges[end], color=SHADES[place % len(SHADES)], linewidth=0, zorder=0)
        if edges[end] - edges[start] > LEAST_WIDTH * (edges[-1] - edges[0]):
            axes.text((edges[start] + edges[end]) / 2, 0.02, phase[start], transform=axes.get_xaxis_transform(), **WORD)
    axes.set_xlim(edges[0], edges[-1])


def _caption(summary: pd.DataFrame) -> str:
    first = summary.iloc[0]
    held = f"{VARIANCES[first['held_name']].split(' = ')[-1]} = {first['held']:g}"
    return (
        f"Theory of infinite width, no sampling; {len(summary)} points, {held}. ξ = −1/ln|χ|: after each ξ layers the"
        " distance from the fixed point is e times smaller. Depth that trains is a few ξ_c, which grows without end"
        " towards the critical point between order (inputs forgotten, gradients vanish) and chaos (neighbours torn"
        " apart, gradients explode). Triangles on the upper edge: no end. A scale that leads away is not drawn."
    )
