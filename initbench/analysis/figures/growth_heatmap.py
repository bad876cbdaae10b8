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

DIRECTIONS = {"forward": "Forward: mean of z²", "backward": "Backward: mean of (∂loss/∂z)²"}
CLIP = 0.6
"""The colours end at a factor of 4 a layer, where the axis of the depth profiles ends too."""
MARKS = {"vanishing": "↓", "exploding": "↑", "saturated": "sat", "dead": "dead", "symmetric": "sym"}
UNSEEN = ("saturated", "dead", "symmetric")
"""Words that a growth does not show: their mark stands below the number too."""
ABSENT = "n/a"
DARK = 0.4
"""Beyond this growth a cell is so dark that its text is white."""
TEXT: dict[str, Any] = {"size": 8.5, "linespacing": 0.9, "ha": "center", "va": "center"}
OUTLINE: dict[str, Any] = {"fill": False, "edgecolor": "0.1", "linewidth": 1.3, "clip_on": False}


def summary(verdicts: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """What the figure draws: a row per init, activation, direction, absent pairings too.

    ``growth`` is log10 of the second moment's factor per layer, NaN where it is unknown or infinite; ``text`` is what
    the cell says, ``stable`` whether it is outlined; ``seeds`` counts those of the table `layers`.
    """
    inits, activations = verdicts["init"].unique(), verdicts["activation"].unique()
    keys = ["direction", "init", "activation"]
    cells = pd.MultiIndex.from_product([list(DIRECTIONS), inits, activations], names=keys)
    told = verdicts.set_index(keys)[["measured_growth", "word"]].reindex(cells).reset_index()
    growth = told.pop("measured_growth").astype(float).replace([np.inf, -np.inf], np.nan)
    count = layers.groupby(["init", "activation"])["seed"].nunique().rename("seeds")
    text = [_text(*cell) for cell in zip(growth, told["word"], strict=True)]
    told = told.assign(growth=growth, text=text, stable=told["word"] == "stable")
    return told.merge(count, on=["init", "activation"], how="left")


def _text(growth: float, word: object) -> str:
    """A cell's words: the growth, else the mark of its verdict; both where the growth does not show the verdict."""
    mark = ABSENT if pd.isna(word) else MARKS.get(str(word), str(word))
    if np.isnan(growth):
        return mark
    number = f"{round(growth, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no minus sign before 0
    return f"{number}\n{mark}" if word in UNSEEN else number


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Two heat maps with one colour scale, forward and backward: a row an initializer, a column an activation."""
    inits, activations = list(summary["init"].unique()), list(summary["activation"].unique())
    width, height = max(0.9 * len(activations) + 3.0, 8.0), max(0.4 * len(inits) + 2.8, 4.0)
    figure = style.page(width, height, "Growth of the signal's second moment per layer", _caption(summary))
    grid = figure.subplots(1, 2)
    for axes, direction in zip(grid, DIRECTIONS, strict=True):
        rows = summary[summary["direction"] == direction]
        table = rows.set_index(["init", "activation"]).unstack()[["growth", "text", "stable"]]
        _panel(axes, table.loc[inits].reindex(columns=activations, level=1))
        axes.set_title(DIRECTIONS[direction])
    grid[1].set_yticklabels([])
    figure.colorbar(grid[0].collections[0], ax=grid, label="log10 of the factor per layer", extend="both", pad=0.01, aspect=30)
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    """One direction; its axes name every row and column, however many."""
    growth = table["growth"]
    rows, columns = map(style.label, growth.index), map(style.label, growth.columns)
    sns.heatmap(growth, ax=axes, cmap="vlag", vmin=-CLIP, vmax=CLIP, cbar=False, linewidths=0.8,
                xticklabels=list(columns), yticklabels=list(rows))  # fmt: skip
    axes.set(xlabel="", ylabel="", facecolor="0.9")
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    for (row, column), value in np.ndenumerate(growth.to_numpy()):
        color = "white" if abs(value) > DARK else "0.1"
        axes.text(column + 0.5, row + 0.5, table["text"].iat[row, column], color=color, **TEXT)
        if table["stable"].iat[row, column]:
            axes.add_patch(Rectangle((column, row), 1, 1, **OUTLINE))


def _caption(summary: pd.DataFrame) -> str:
    marks = ", ".join(word if mark == word else f"{mark} {word}" for word, mark in MARKS.items())
    return (
        f"At initialization, {style.seeds(summary['seeds'])}. Numbers: log10 of the factor per layer, in the direction of"
        f" travel (0.30 doubles, −0.30 halves at each layer); colours end at ±{CLIP:g}, a factor of 4. Outlined: judged stable."
        f" Marks where there is no number, or where it does not show the verdict: {marks}, {ABSENT} not measured."
    )
