"""The one style of all figures: colours, marks, words and the frame that every figure shares.

Figures are plain `matplotlib.figure.Figure` objects: pyplot and its global state are never used, and the settings
below hold only while a figure is drawn.
"""

from __future__ import annotations

import functools
import itertools
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

CAPTION_SIZE, TITLE_SIZE = 9, 13
LINE, EDGE = 1.3, 0.08
"""A line's height in letters; inches between a text and the figure's edge."""
LONGEST_LINE = 26
SETTINGS = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("notebook"),
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.title_fontsize": 10,
    "figure.titlesize": TITLE_SIZE,
    "axes.edgecolor": "0.4",
    "axes.linewidth": 0.8,
    "legend.handlelength": 3.4,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
}

_HUES = [sns.color_palette("colorblind")[place] for place in (0, 1, 2, 3, 4, 9, 5, 7)]  # not the pale ones
_MARKERS = "os^DvPX*"
_DASHES = ("solid", (0, (6, 1.5)), (0, (2, 1)))


@dataclass(frozen=True)
class Look:
    """How one initializer is drawn, whichever the figure; told apart in grey too, by its marker and dash."""

    color: tuple[float, float, float]
    marker: str
    filled: bool
    dash: str | tuple[float, tuple[float, ...]]

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        face = self.color if self.filled else "white"
        shape = {"marker": self.marker, "markerfacecolor": face, "markersize": 5}
        return {"color": self.color, "linestyle": self.dash, "linewidth": 1.7, **shape}


COMMON = {
    "he_normal": 0, "xavier_normal": 1, "torch_default": 2, "orthogonal": 3, "lecun_normal": 4, "normal": 5, "zeros": 6,
    "ones": 7, "he_uniform": 8, "xavier_uniform": 9, "lecun_uniform": 12, "uniform": 13,
}  # fmt: skip
"""The looks of the commonest initializers, the same in every figure; uniform ones are the normal ones', dashed."""
OTHERS = (15, 14, 11, 10, *range(16, 24))
"""The looks of other initializers beside them, in their order."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each of `names`: of the commonest initializers its own, else by its place among the others.

    Eight hues, each with its marker; the second eight are dashed with open markers, the third have shorter dashes.
    Past 24 names looks repeat.
    """
    distinct = list(dict.fromkeys(names))
    every = range(len(_HUES) * len(_DASHES))
    spare = [place for place in every if place not in (*OTHERS, *(COMMON.get(name) for name in distinct))]
    free = itertools.cycle([*OTHERS, *spare] if any(name in COMMON for name in distinct) else every)
    return {name: _look(COMMON[name] if name in COMMON else next(free)) for name in distinct}


def _look(place: int) -> Look:
    turn, hue = divmod(place, len(_HUES))
    return Look(_HUES[hue], _MARKERS[hue], turn % 2 == 0, _DASHES[turn])


def hue(place: int) -> tuple[float, float, float]:
    """The colour at this place of the palette, for what is no initializer."""
    return _HUES[place % len(_HUES)]


def styled(draw: Callable[[pd.DataFrame], Figure]) -> Callable[[pd.DataFrame], Figure]:
    """Decorate a figure's `draw` so that it draws in this style and leaves matplotlib's settings as they were."""

    @functools.wraps(draw)
    def drawn(summary: pd.DataFrame) -> Figure:
        with mpl.rc_context(SETTINGS):
            figure = draw(summary)
            figure.draw_without_rendering()  # ticks are made when first needed: now, while the settings hold
        return figure

    return drawn


def page(width: float, height: float, title: str, caption: str) -> Figure:
    """An empty figure of `width` x `height` inches with its title above and its caption below, wrapped to fit."""
    figure = Figure(figsize=(width, height))
    lines = textwrap.wrap(caption, _letters(width, CAPTION_SIZE), break_on_hyphens=False)
    foot = (len(lines) * CAPTION_SIZE * LINE / 72 + 0.12) / height
    figure.set_layout_engine("constrained", rect=(0, foot, 1, 1 - foot))
    left = EDGE / width
    figure.suptitle(textwrap.fill(title, _letters(width, TITLE_SIZE)), x=left, ha="left")
    note: dict[str, Any] = {"size": CAPTION_SIZE, "color": "0.3", "va": "bottom", "linespacing": LINE}
    figure.text(left, EDGE / height, "\n".join(lines), **note)
    return figure


def _letters(width: float, size: float) -> int:
    """How many letters of `size` points fit into `width` inches."""
    return int(width * 72 / (0.56 * size))


def label(spec: str) -> str:
    """A spec string in lines that fit a legend or an axis; never shortened, so that no two become one."""
    return textwrap.fill(spec, LONGEST_LINE, subsequent_indent="  ")


def span(numbers: pd.Series) -> str:
    """``10`` or, where they differ, ``3 to 10``; whole numbers, 0 if there is none."""
    low, high = (int(end) for end in (numbers.min(), numbers.max())) if len(numbers) else (0, 0)
    return f"{low}" if low == high else f"{low} to {high}"


def seeds(counts: pd.Series) -> str:
    """``n = 10 seeds`` or, where pairings differ, ``n = 3 to 10 seeds``."""
    number = span(counts)
    return f"n = {number} seed{'' if number == '1' else 's'}"
