"""The one style of all figures: colours, marks, words and the frame that every figure shares.

Figures are plain `matplotlib.figure.Figure` objects: pyplot and its global state are never used, and the settings
below hold only while a figure is drawn.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

DOTS_PER_INCH = 150
CAPTION_SIZE, TITLE_SIZE = 9, 13
LINE, EDGE = 1.3, 0.08
"""A line's height in letters; inches between a text and the figure's edge."""
LONGEST_LINE = 26
LONG_WORD, JOINT = re.compile(rf"\S{{{LONGEST_LINE + 1},}}"), re.compile("[_/]")
"""A word that no line holds, and where it is rather broken than between any two letters."""
BREAK = "\v"
"""Where a line may end and has no blank: `textwrap` breaks at it; one in a spec is a blank."""
SIGMA_W, SIGMA_B = r"$\sigma_w^2$ = fan_in · Var(w)", r"$\sigma_b^2$ = Var(b)"
XI_C, XI_Q = r"$\xi_c$, of the cosine between inputs", r"$\xi_q$, of E[z²]"
LAYERS = r"$\xi_c$ in layers"
FORMULAS = frozenset({SIGMA_W, SIGMA_B, XI_C, XI_Q, LAYERS})
"""Texts with formulas in them. In all others a $ is a $: they may be a user's."""
SUBSCRIPT = re.compile(r"([α-ω])_(\w)(²?)(?!\w)")
"""A symbol as plain text has it: σ_w², ξ_c."""
SETTINGS = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("notebook"),
    "figure.dpi": DOTS_PER_INCH,  # letters are as wide where they get their places as in the image
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
    def darker(self) -> tuple[float, ...]:
        """The colour of what is drawn over the line and is to be seen on it."""
        return tuple(0.3 * share for share in self.color)

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        face = self.color if self.filled else "white"
        shape = {"marker": self.marker, "markerfacecolor": face, "markersize": 5}
        return {"color": self.color, "linestyle": self.dash, "linewidth": 1.7, **shape}


INITIALIZERS = frozenset({"init", "initializer"})
"""The factor's names."""
_FAMILIES = (
    ("he_normal", "he_uniform", "he_fan_out_normal", "he_fan_avg_normal", "he_fan_out_uniform", "he_fan_avg_uniform"),
    ("xavier_normal", "xavier_uniform", "keras_default"),
    ("torch_default", "moment", "jax_default"),
    ("orthogonal", "identity", "scaled_orthogonal", "lsuv"),
    ("lecun_normal", "lecun_uniform", "variance_scaling"),
    ("normal", "uniform"),
    ("zeros", "kumar", "constant", "zero_init"),
    ("ones", "critical", "sparse", "truncated_normal"),
)
"""Initializers of one hue each."""
KNOWN = {name: (turn, hue) for hue, family in enumerate(_FAMILIES) for turn, name in enumerate(family)}


def looks(names: Iterable[str], of: str = "") -> dict[str, Look]:
    """A look for each of `names`, levels of the factor `of`: those of most factors look different by their order.

    Initializers have the same look in every figure if they are `KNOWN`, and else the same colour, a function of their
    name; where several have one colour, markers and dashes tell them apart. Past 48 looks repeat.
    """
    distinct = dict.fromkeys(names)
    if of not in INITIALIZERS:
        return {name: _look(*divmod(place, len(_HUES))) for place, name in enumerate(distinct)}
    places = {name: KNOWN[name] for name in distinct if name in KNOWN}
    for name in distinct:
        if name not in places:
            hue, taken = _hue_of(name), set(places.values())
            places[name] = next((turn, hue) for turn in itertools.count() if (turn, hue) not in taken)
    return {name: _look(*places[name]) for name in distinct}


def _hue_of(name: str) -> int:
    """Python's own hash is another in each process. He's and Xavier's are theirs alone: others stand beside them."""
    return 2 + hashlib.blake2b(name.encode()).digest()[0] % (len(_HUES) - 2)


def _look(turn: int, hue: int) -> Look:
    """Eight hues, each with its marker; every second turn is dashed with open markers, every third has other ones."""
    marker = _MARKERS[(hue + 3 * (turn // 2)) % len(_MARKERS)]
    return Look(_HUES[hue], marker, turn % 2 == 0, _DASHES[turn % len(_DASHES)])


def word(factor: str) -> str:
    """What a factor is called."""
    return {"init": "initializer", "lr": "learning rate"}.get(factor, factor.replace("_", " "))


LEAST = 0.001
"""A share that is not told below this: it is rounding, or nothing."""


def share(value: float) -> str:
    """``64.7 %``, and ``< 0.1 %`` below `LEAST`."""
    return f"{100 * value:.1f} %" if value >= LEAST else f"< {100 * LEAST:.1f} %"


def hue(place: int) -> tuple[float, float, float]:
    """The colour at this place of the palette, for what is no initializer."""
    return _HUES[place % len(_HUES)]


def styled(draw: Callable[[pd.DataFrame], Figure]) -> Callable[[pd.DataFrame], Figure]:
    """Decorate a figure's `draw` so that it draws in this style and leaves matplotlib's settings as they were."""

    @functools.wraps(draw)
    def drawn(summary: pd.DataFrame) -> Figure:
        with mpl.rc_context(SETTINGS):
            figure = draw(summary)
            _read_no_formulas(figure)
            _lay_out(figure)
        return figure

    return drawn


def _lay_out(figure: Figure) -> None:
    """Give all its place, for every file that is made of it. The second time axes move less than a pixel, if at all.

    An engine that stays would lay it out anew, and draw it once for nothing, for each file. Ticks are made when first
    needed: now, while the settings hold.
    """
    engine = figure.get_layout_engine()
    assert engine is not None, "`page` gives it one"
    for _ in range(2):
        engine.execute(figure)
    figure.set_layout_engine(None)


def _read_no_formulas(figure: Figure) -> None:
    """In any text but `FORMULAS`, symbols with a subscript, and the powers of ten along a logarithmic axis."""
    for text in figure.findobj(Text):
        words = text.get_text()
        plain = "$" in words or not SUBSCRIPT.search(words)
        text.set_parse_math(words in FORMULAS or not plain)
        if not plain:
            text.set_text(SUBSCRIPT.sub(_as_formula, words))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if isinstance(axis.get_major_formatter(), LogFormatter):
            for tick in axis.get_ticklabels(which="both"):
                tick.set_parse_math(True)


def _as_formula(symbol: re.Match[str]) -> str:
    letter, subscript, square = symbol.groups()
    return f"${letter}_{subscript}{'^2' if square else ''}$"


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
    blank = re.sub(r"\s", " ", spec)
    words = LONG_WORD.sub(lambda word: JOINT.sub(rf"\g<0>{BREAK}", word[0]), blank.replace("(", f"({BREAK}"))
    lines = textwrap.fill(words, LONGEST_LINE, subsequent_indent="  ", break_on_hyphens=False, replace_whitespace=False)
    return lines.replace(BREAK, "")


def span(numbers: pd.Series) -> str:
    """``10`` or, where they differ, ``3 to 10``; whole numbers, 0 if there is none."""
    low, high = (int(end) for end in (numbers.min(), numbers.max())) if len(numbers) else (0, 0)
    return f"{low}" if low == high else f"{low} to {high}"


def seeds(counts: pd.Series) -> str:
    """``n = 10 seeds`` or, where pairings differ, ``n = 3 to 10 seeds``."""
    number = span(counts)
    return f"n = {number} seed{'' if number == '1' else 's'}"
