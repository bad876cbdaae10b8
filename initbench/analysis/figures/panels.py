"""Panels beside each other that share their axes, and the one key of all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from initbench.analysis.figures import style

Level = TypeVar("Level")


def spread(levels: Sequence[Level], most: int) -> list[Level]:
    """At most `most` of `levels`, evenly over their order, the first and the last among them."""
    kept = min(most, len(levels))
    return [levels[round(place * (len(levels) - 1) / max(1, kept - 1))] for place in range(kept)]


def shape(count: int, most: int) -> tuple[int, int]:
    """Rows and columns of `count` panels, at most `most` beside each other; at least one."""
    columns = max(1, min(count, most))
    return max(1, math.ceil(count / columns)), columns


def name_axes(grid: np.ndarray, used: int, x: str, y: str) -> None:
    """Name the outer axes of a grid of which only the first `used` are, and remove the others.

    Without `x` the lowest axes have no numbers: others stand below them.
    """
    columns = grid.shape[1]
    for place, axes in enumerate(grid.flat):
        if place >= used:
            axes.remove()
        elif x and place + columns >= used:
            axes.set_xlabel(x)
            axes.tick_params(labelbottom=True)
        if place % columns == 0:
            axes.set_ylabel(y)


def key(figure: Figure, looks: Mapping[str, style.Look], title: str, more: Iterable[Any] = ()) -> None:
    """Right of the panels every name of `looks` with its line, then what else is drawn."""
    drawn = [Line2D([], [], label=style.label(name), **look.line) for name, look in looks.items()]
    figure.legend(handles=[*drawn, *more], loc="outside right center", title=title, frameon=False)
