"""The phases of one activation in mean-field theory: how deep inputs can be told apart, where it is critical."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from initbench.analysis.figures import style

POINT, LINE = "phase", "critical line"
"""The two parts of a summary."""
COLUMNS = ["part", "activation", "weight_variance", "bias_variance", "xi_c", "chi_1", "phase", "stability", "piece"]
DEPTHS = (1.0, 1000.0)
"""Layers where the colours end."""
ENDLESS = {"unbounded": "0.72", "vanishing": "0.9"}
"""Phases without a fixed point above 0, in greys that no colour of the map has beside it."""
LEAST_AREA = 0.05
"""Of the grid: a phase that covers less gets no word."""
STROKE = [withStroke(linewidth=4.5, foreground="black")]
DASHES = {"attracting": "solid", "repelling": (0, (2, 1.2))}
WORDS = {"attracting": "χ₁ = 1, q* attracts", "repelling": "χ₁ = 1, q* repels", "neutral": "χ₁ = 1, every q is q*"}


def summary(points: pd.DataFrame, line: pd.DataFrame | None = None) -> pd.DataFrame:
    """What the figure draws, of one activation: its `points` (xi_c and phase), then its critical `line`, if known.

    `points` and `line` are those of a phase diagram; `part` tells their rows apart. The line goes along rising q*,
    through all its branches; where it leaves the bias variances that are shown, a new ``piece`` begins.
    """
    if line is None:
        return points.assign(part=POINT).reindex(columns=COLUMNS)
    found = line[line["stability"] != "none"].sort_values("q_star", kind="stable")
    height = found["bias_variance"].rank(method="dense")
    found = found.assign(piece=(height.diff().abs() > 1).cumsum())
    parts = [points.assign(part=POINT), found.assign(part=LINE)]
    return pd.concat([part.reindex(columns=COLUMNS) for part in parts if len(part)], ignore_index=True)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A heat map of xi_c over both variances; phases named where they lie, the critical line over them."""
    points, line = summary[summary["part"] == POINT], summary[summary["part"] == LINE]
    name = points["activation"].iloc[0]
    figure = style.page(8.0, 6.4, f"Phases of {name} in mean-field theory", _caption(points))
    axes = figure.subplots()
    image = _map(axes, points)
    _names(axes, points)
    handles = [*{key.get_label(): key for key in _line(axes, line)}.values(), *_greys(points)]
    axes.set(xlabel=style.SIGMA_W, ylabel=style.SIGMA_B)
    if handles:
        key: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False}
        axes.legend(handles=handles, borderaxespad=0.2, **key)
    figure.colorbar(image, ax=axes, label=style.LAYERS, extend="both", pad=0.02, aspect=30)
    return figure


def _map(axes: Axes, points: pd.DataFrame) -> Any:
    """The colours: xi_c where there is a fixed point, grey where there is none."""
    table = points.pivot(index="bias_variance", columns="weight_variance", values="xi_c")
    phase = points.pivot(index="bias_variance", columns="weight_variance", values="phase")
    across, up = _edges(table.columns.to_numpy(float)), _edges(table.index.to_numpy(float))
    for word, grey in ENDLESS.items():
        cells = np.ma.masked_where((phase != word).to_numpy(), np.ones(phase.shape))
        axes.pcolormesh(across, up, cells, cmap=ListedColormap([grey]))
    depth = np.ma.masked_where(phase.isin(list(ENDLESS)).to_numpy(), table.to_numpy(float))
    norm = LogNorm(*DEPTHS)
    image = axes.pcolormesh(across, up, depth.clip(DEPTHS[0] / 2, 2 * DEPTHS[1]), norm=norm, cmap="viridis")
    axes.set(xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    axes.grid(False)
    return image


def _edges(centres: np.ndarray) -> np.ndarray:
    """Where the cells around `centres` meet."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[:-1] + centres[1:]) / 2
    return np.array([2 * centres[0] - middle[0], *middle, 2 * centres[-1] - middle[-1]])


def _names(axes: Axes, points: pd.DataFrame) -> None:
    """The word of each phase at the one of its cells that lies deepest inside it."""
    scale = points[["weight_variance", "bias_variance"]].max().to_numpy()
    places = points[["weight_variance", "bias_variance"]].to_numpy() / np.where(scale > 0, scale, 1)
    for word in points["phase"].unique():
        mine = (points["phase"] == word).to_numpy()
        if mine.mean() < LEAST_AREA:
            continue
        # the frame is a boundary too, so that a word does not stand across it
        inside = places[mine]
        room = np.minimum(inside, 1 - inside).min(axis=1)
        if not mine.all():
            gaps = np.linalg.norm(inside[:, None] - places[~mine][None], axis=2).min(axis=1)
            room = np.minimum(room, gaps)
        x, y = inside[room.argmax()] * scale
        text = axes.text(x, y, word, size=12, weight="bold", color="white", ha="center", va="center")
        text.set_path_effects([withStroke(linewidth=2.5, foreground="0.15")])


def _line(axes: Axes, line: pd.DataFrame) -> list[Any]:
    """The critical line, solid where it attracts and dashed where it repels; a dot where it is one point."""
    drawn = []
    for stability, dash in DASHES.items():
        look: dict[str, Any] = {"color": "white", "linewidth": 2.2, "linestyle": dash, "path_effects": STROKE}
        for _, piece in line[line["stability"] != "neutral"].groupby("piece"):
            mine = piece["stability"] == stability
            if not mine.any():
                continue
            # a repelling run goes on to its neighbours, where it meets the attracting ones
            beside = mine.shift(fill_value=False) | mine.shift(-1, fill_value=False)
            where = piece["weight_variance"].where(mine | beside if stability == "repelling" else mine)
            drawn += axes.plot(where, piece["bias_variance"], label=WORDS[stability], **look)
    dots = line[line["stability"] == "neutral"]
    if len(dots):
        look = {"color": "white", "marker": "o", "markersize": 8, "markeredgecolor": "black", "linestyle": "none"}
        drawn += axes.plot(dots["weight_variance"], dots["bias_variance"], label=WORDS["neutral"], **look)
    return drawn


def _greys(points: pd.DataFrame) -> list[Patch]:
    words = {"unbounded": "q grows without end", "vanishing": "q goes to 0"}
    there = [word for word in ENDLESS if (points["phase"] == word).any()]
    return [Patch(facecolor=ENDLESS[word], edgecolor="0.4", label=words[word]) for word in there]


def _caption(points: pd.DataFrame) -> str:
    return (
        f"Theory of infinite width, no sampling; {len(points)} points. ξ_c = −1/ln χ: after each ξ_c layers the cosine"
        " between two inputs is e times as near to where all pairs end, 1 in the ordered phase (inputs forgotten,"
        " gradients vanish) and less in the chaotic one (neighbours torn apart, gradients explode). Depth that trains"
        " is a few ξ_c; ξ_c grows without end towards χ₁ = σ_w² E[φ′(z)²] = 1. q: E[z²], from an input with E[x²] = 1."
        f" Colours end at {DEPTHS[0]:g} and {DEPTHS[1]:g} layers."
    )
