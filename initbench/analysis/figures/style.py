"""The one style of all figures: colours, marks, words and the frame that every figure shares.

Figures are plain `matplotlib.figure.Figure` objects: pyplot and its global state are never used, and the settings
below hold only while a figure is drawn.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CAPTION_SIZE, TITLE_SIZE = 9, 13
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

_HUES = [sns.color_palette("colorblind")[place] for place in (0, 1, 2, 3, 4, 5, 9, 7)]  # without pink and pale yellow
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


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each of `names`, by its place among them: the same names in the same order look the same.

    Eight hues, each with its marker; the second eight are dashed with open markers, the third have shorter dashes.
    Past 24 names looks repeat.
    """
    found = {}
    for place, name in enumerate(dict.fromkeys(names)):
        turn, hue = divmod(place, len(_HUES))
        found[name] = Look(_HUES[hue], _MARKERS[hue], turn % 2 == 0, _DASHES[turn % len(_DASHES)])
    return found


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
    figure = Figure(figsize=(width, height), layout="constrained")
    inch = 1 / height
    letters = int(width * 72 / (0.52 * CAPTION_SIZE))
    lines = textwrap.wrap(caption, letters, break_on_hyphens=False)
    foot = (len(lines) * CAPTION_SIZE * 1.35 / 72 + 0.12) * inch
    figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
    figure.suptitle(textwrap.fill(title, int(width * 72 / (0.6 * TITLE_SIZE))), x=0.08 / width, ha="left")
    figure.text(0.08 / width, 0.06 * inch, "\n".join(lines), size=CAPTION_SIZE, color="0.3", va="bottom", linespacing=1.3)
    return figure


def label(spec: str) -> str:
    """A spec string broken into lines that fit a legend or an axis; never shortened, so that no two become one."""
    return textwrap.fill(spec, LONGEST_LINE, subsequent_indent="  ")


def span(numbers: pd.Series) -> str:
    """``10`` or, where they differ, ``3 to 10``; whole numbers."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low}" if low == high else f"{low} to {high}"


def seeds(counts: pd.Series) -> str:
    """``n = 10 seeds`` or, where pairings differ, ``n = 3 to 10 seeds``."""
    number = span(counts.dropna())
    return f"n = {number} seed{'' if number == '1' else 's'}"


def say(axes: Axes, words: str) -> None:
    """Write `words` in the middle of a panel that has nothing to draw."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.4", style="italic")


def grid_shape(panels: int, most: int = 4) -> tuple[int, int]:
    """Rows and columns of a page of `panels` panels, at most `most` abreast."""
    columns = min(most, max(panels, 1))
    return int(np.ceil(max(panels, 1) / columns)), columns


def outer_labels(grid: np.ndarray, used: int, x: str, y: str) -> None:
    """Name the axes at the outside of a grid of panels of which only the first `used` are; remove the others."""
    columns = grid.shape[1]
    for place, axes in enumerate(grid.flat):
        if place >= used:
            axes.remove()
        elif place + columns >= used:
            axes.set_xlabel(x)
            axes.tick_params(labelbottom=True)
        if place % columns == 0:
            axes.set_ylabel(y)
