"""Accuracy against the learning rate: who can be trained at which rates, and whether the rates tried reach the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from initbench.analysis.figures import configurations, panels, style

RATE = "lr"
MOST_PANELS, MOST_COLUMNS = 8, 4
BESIDE = 0.1
"""Of the least step between two rates, how far lines stand beside it at most."""
MOST_TICKS = 5
"""Rates that are labelled, of many evenly over their order."""
CHOSEN: dict[str, Any] = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": "none"}


def summary(runs: pd.DataFrame, tuned: Sequence[str] = ()) -> pd.DataFrame:
    """A row per panel, line and rate: mean test accuracy over seeds, from lowest to highest.

    Which lines and panels, and what of other factors: `configurations`. A diverged run counts as 0; ``diverged`` are
    that many of ``runs``. ``chosen_rate`` is the rate with the best mean on validation, the first of equals.
    """
    shown = configurations.configurations(runs, MOST_PANELS, tuned, RATE)
    table = shown.groupby([*configurations.LINES, RATE], sort=False)
    means = table.agg(
        mean=("test_accuracy", "mean"),
        low=("test_accuracy", "min"),
        high=("test_accuracy", "max"),
        val_accuracy=("val_accuracy", "mean"),
        runs=("test_accuracy", "count"),
        diverged=("lost", "sum"),
        seeds=("seed", "nunique"),
    ).join(table[[*_names(shown), "hue_name", "panel_name", "panels", "chosen"]].first())
    best = means.groupby(configurations.LINES, sort=False)["val_accuracy"].idxmax()
    return means.assign(chosen_rate=means.index.isin(best)).reset_index()


def _names(shown: pd.DataFrame) -> list[str]:
    return [name for name in shown["chosen"].iloc[0].split(", ") if name]


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A panel a level of the panels' factor, a line an initializer; below it the share that diverged, if any did."""
    levels = list(summary["panel"].unique())
    looks = style.looks(map(str, summary["hue"]), summary["hue_name"].iloc[0])
    rows, columns = panels.shape(len(levels), MOST_COLUMNS)
    strips = [3, 1] if summary["diverged"].any() else [3]
    size = max(2.7 * columns + 2.6, 7.0), max(0.95 * sum(strips) * rows + 1.6, 0.22 * len(looks) + 2)
    figure = style.page(*size, "Test accuracy against the learning rate", _caption(summary))
    heights: dict[str, Any] = {"height_ratios": strips * rows, "squeeze": False}
    grid = figure.subplots(len(strips) * rows, columns, sharex=True, sharey="row", **heights)
    for part, (name, paint) in enumerate([("test accuracy", _lines), ("diverged", _shares)][: len(strips)]):
        axes = grid[part :: len(strips)]
        for one, level in zip(axes.flat, levels, strict=False):
            paint(one, summary[summary["panel"] == level], looks)
        panels.name_axes(axes, len(levels), "learning rate" if part == len(strips) - 1 else "", name)
    for one, level in zip(grid[:: len(strips)].flat, levels, strict=False):
        one.set_title(style.label(configurations.title(summary, level)))
    _scale(grid[0, 0], sorted(summary[RATE].unique()))
    if summary["hue_name"].iloc[0]:
        panels.key(figure, looks, summary["hue_name"].iloc[0])
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    for name, look, line in _beside(rows, looks):
        best = line[line["chosen_rate"]]
        axes.fill_between(line[RATE], line["low"], line["high"], color=look.color, alpha=0.15, linewidth=0)
        axes.plot(line[RATE], line["mean"], label=name, **look.line)
        axes.plot(best[RATE], best["mean"], markeredgecolor=look.color, label=f"{name}, chosen", **CHOSEN)
    axes.set(ylim=(-0.03, 1.03))


def _shares(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    for name, look, line in _beside(rows, looks):
        axes.plot(line[RATE], line["diverged"] / line["runs"], label=name, **look.line)
    axes.set(ylim=(-0.15, 1.15), yticks=[0, 1], yticklabels=["0 %", "100 %"])


def _beside(rows: pd.DataFrame, looks: dict[str, style.Look]) -> Iterator[tuple[str, style.Look, pd.DataFrame]]:
    """The lines, a little beside each other on the axis of rates: so that each is seen where they coincide."""
    rates = np.sort(rows[RATE].unique())
    room = BESIDE * np.log(rates[1:] / rates[:-1]).min(initial=1.0)
    off = dict(zip(looks, np.linspace(-room, room, len(looks)) if len(looks) > 1 else [0.0], strict=True))
    for name, line in rows.sort_values(RATE).groupby(rows["hue"].map(str), sort=False):
        yield str(name), looks[str(name)], line.assign(**{RATE: line[RATE] * np.exp(off[str(name)])})


def _scale(axes: Axes, rates: list[float]) -> None:
    """The axis that all panels share, labelled with rates that were run."""
    axes.set_xscale("log")
    ticks = panels.spread(rates, MOST_TICKS)
    axes.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _caption(summary: pd.DataFrame) -> str:
    lost = summary["diverged"].sum()
    return (
        f"{style.seeds(summary['seeds'])}. Lines: mean over seeds; bands: lowest to highest seed. A diverged run counts"
        f" as 0 ({lost:,} of {summary['runs'].sum():,} runs shown). Lines stand a little beside each other."
        " Ring: the rate that is best on validation; at the end of an axis a better one may lie beyond the rates"
        f" tried.{configurations.told(summary, 'line and rate')}"
    )
