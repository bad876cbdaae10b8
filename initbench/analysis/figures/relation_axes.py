"""The axes of a measure against a factor: where levels stand, what is logarithmic, which numbers are told."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from initbench.analysis.figures import style
from initbench.analysis.observations import are_numbers
from initbench.analysis.statistics import LOG

DECADES = 1.5
"""Of a positive factor, from which on its axis is logarithmic."""
LETTERS, BESIDE, WIDEST = 13.0, 2.2, 13.0
"""Letters of an axis's words that fit an inch; inches beside the panels, and of the widest page for one."""
MOST_LABELS = 8
"""Levels that are labelled each by itself."""


def scale(axes: Axes, rows: pd.DataFrame) -> None:
    """The axis of the measure: logarithmic for what is positive."""
    positive = rows["estimate"].dropna()
    if rows["scale"].iloc[0] == LOG.name and (positive > 0).all() and len(positive):
        axes.set_yscale("log")
        if positive.max() < 20 * positive.min():  # less than a decade or so: plain numbers, no powers of ten
            if positive.max() > 4 * positive.min():
                axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        else:
            axes.yaxis.set_minor_formatter(NullFormatter())


def place(axes: Axes, levels: pd.Series, counted: bool) -> pd.Series:
    """Places on the axis: a number itself, logarithmic if over decades; a word by its order.

    Layers and steps, which are `counted`, stand evenly: what grows by a factor in each is then straight.
    """
    if not are_numbers(levels):
        names = list(dict.fromkeys(levels))
        lines, upright = _beside([str(name) for name in names], _room(axes))
        axes.set_xticks(range(len(names)), lines, rotation=90 if upright else 0)
        axes.set_xlim(-0.6, len(names) - 0.4)
        return levels.map(names.index)
    if not counted and levels.min() > 0 and np.log10(levels.max() / levels.min()) > DECADES:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif pd.api.types.is_integer_dtype(levels):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    told = sorted(set(levels))
    if not counted and _fit(axes, told):
        axes.set_xticks(told, [f"{level:g}" for level in told])
    return levels


def _beside(names: list[str], room: float) -> tuple[list[str], bool]:
    """Words of an axis, in lines where they need it to stand beside each other; upright where that is not enough."""
    whole = [style.label(name) for name in names]
    if breadth(whole) <= room:
        return whole, False
    slot = max(1, int(room / len(names) * LETTERS) - 1)
    lines = [textwrap.fill(name, slot, break_long_words=False, break_on_hyphens=False) for name in names]
    return (lines, False) if breadth(lines) <= room else (whole, True)


def _fit(axes: Axes, levels: list[float]) -> bool:
    """Whether the levels themselves can stand on the axis: few, and none too near the next."""
    if not 1 < len(levels) <= MOST_LABELS:
        return False
    places = np.log10(levels) if axes.get_xscale() == "log" else np.array(levels, float)
    nearest = np.diff(places).min() / np.ptp(places) * 0.9 * _room(axes)
    return (max(len(f"{level:g}") for level in levels) + 1) / LETTERS <= nearest


def _room(axes: Axes) -> float:
    """Inches that the panel is wide."""
    figure: Any = axes.get_figure()
    panels: Any = axes.get_subplotspec()
    return (figure.get_figwidth() - BESIDE) / panels.get_gridspec().ncols


def breadth(names: Sequence[str]) -> float:
    """Inches that words, at equal distances and with a letter between two, take beside each other."""
    sizes = [max(map(len, name.split("\n"))) for name in names]
    widest = max((one + other) / 2 for one, other in zip(sizes, sizes[1:] or sizes, strict=False))
    return len(sizes) * (widest + 1) / LETTERS
