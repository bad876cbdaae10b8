"""How fast the signal grows or shrinks per layer, for every pairing of initializer and activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from initbench.analysis.figures import style

TITLES = {"forward": "Forward: mean of z²", "backward": "Backward: mean of (∂loss/∂z)²"}
CLIP = 0.6
"""The colours end at a factor of 4 a layer."""
DARK = 0.4
"""Beyond this growth a cell is so dark that its text is white."""
MARKS = {
    "stable": "✓",
    "vanishing": "↓",
    "exploding": "↑",
    "lost": "lost",
    "saturated": "sat",
    "dead": "dead",
    "symmetric": "sym",
    "impossible": "n/a",
}
UNSEEN = ("saturated", "dead", "symmetric")
"""Words that a growth does not show: their mark stands below the number too."""
TEXT: dict[str, Any] = {"size": 8.5, "linespacing": 0.9, "ha": "center", "va": "center"}
LINE = 0.18
"""Inches of a line of a label."""
OUTLINE: dict[str, Any] = {"fill": False, "edgecolor": "0.1", "linewidth": 1.3, "clip_on": False}


def summary(verdicts: pd.DataFrame) -> pd.DataFrame:
    """What the figure draws: a row per direction, init, activation; pairings that `verdicts` lacks have no word.

    ``growth`` is log10 of the second moment's factor per layer, NaN where it is unknown or infinite; ``text`` is what
    the cell says, and ``stable`` whether it is outlined.
    """
    keys: dict[str, Any] = {
        "direction": list(TITLES),
        "init": verdicts["init"].unique(),
        "activation": verdicts["activation"].unique(),
    }
    cells = pd.MultiIndex.from_product(list(keys.values()), names=list(keys))
    table = verdicts.set_index(list(keys))[["measured_growth", "seeds", "word"]].reindex(cells).reset_index()
    growth = table.pop("measured_growth").astype(float)
    growth = growth.where(np.isfinite(growth))
    text = [_text(*cell) for cell in zip(growth, table["word"], strict=True)]
    return table.assign(growth=growth, text=text, stable=table["word"] == "stable")


def _text(growth: float, word: object) -> str:
    """A cell's words: its growth, else the mark of its verdict; both where the growth does not show the verdict."""
    mark = MARKS.get(str(word), "")
    if np.isnan(growth):
        return mark
    number = f"{round(growth, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no minus sign before 0
    return f"{number}\n{mark}" if word in UNSEEN else number


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Two heat maps with one colour scale, forward and backward: a row an initializer, a column an activation."""
    inits, activations = list(summary["init"].unique()), list(summary["activation"].unique())
    column, row = (max(least, LINE * _lines(names)) for least, names in ((0.45, activations), (0.4, inits)))
    width, height = max(2 * column * len(activations) + 3.0, 8.0), max(row * len(inits) + 2.8, 4.0)
    figure = style.page(width, height, "Growth of the signal's second moment per layer", _caption(summary))
    grid = figure.subplots(1, 2)
    for axes, direction in zip(grid, TITLES, strict=True):
        cells = summary[summary["direction"] == direction].set_index(["init", "activation"])
        tables = (cells[name].unstack().loc[inits, activations] for name in ("growth", "text", "stable"))
        _panel(axes, *tables)
        axes.set_title(TITLES[direction])
    grid[1].set_yticklabels([])
    key: dict[str, Any] = {"label": "log10 of the factor per layer", "extend": "both", "pad": 0.01, "aspect": 30}
    figure.colorbar(grid[0].collections[0], ax=grid, **key)
    return figure


def _lines(specs: list[str]) -> int:
    """Of the longest label."""
    return max(style.label(spec).count("\n") + 1 for spec in specs)


def _panel(axes: Axes, growth: pd.DataFrame, text: pd.DataFrame, stable: pd.DataFrame) -> None:
    """One direction; its axes name every row and column, however many."""
    rows, columns = ([style.label(name) for name in names] for names in growth.axes)
    colors: dict[str, Any] = {"cmap": "vlag", "vmin": -CLIP, "vmax": CLIP, "cbar": False, "linewidths": 0.8}
    sns.heatmap(growth, ax=axes, xticklabels=columns, yticklabels=rows, **colors)
    axes.set(xlabel="", ylabel="", facecolor="0.9")
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    for (row, column), words in np.ndenumerate(text.to_numpy()):
        color = "white" if abs(growth.to_numpy()[row, column]) > DARK else "0.1"
        axes.text(column + 0.5, row + 0.5, words, color=color, **TEXT)
        if stable.to_numpy()[row, column]:
            axes.add_patch(Rectangle((column, row), 1, 1, **OUTLINE))


def _caption(summary: pd.DataFrame) -> str:
    marks = ", ".join(word if mark == word else f"{mark} {word}" for word, mark in MARKS.items())
    seeds = style.seeds(summary.loc[summary["seeds"] > 0, "seeds"])
    return (
        f"At initialization, {seeds}. Numbers: log10 of the factor per layer, in the direction of travel (0.30 doubles,"
        f" −0.30 halves at each layer); colours end at ±{CLIP:g}, a factor of 4. Outlined: judged stable. Marks where"
        f" there is no number, or where it does not show the verdict: {marks}. Blank: not measured."
    )
