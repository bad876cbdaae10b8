"""How often the verdicts call a network wrong: honest ones, where that is a false alarm, and wrong ones."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest

from initbench.analysis.agreement import LEVEL
from initbench.analysis.figures import style

WANTED = 0.99
"""Of wrong networks that are to be found."""


def summary(alarms: pd.DataFrame) -> pd.DataFrame:
    """A row per case: repetitions, alarms, their rate and its exact 95 % interval (Clopper & Pearson 1934)."""
    rows = []
    for case, group in alarms.groupby("case", sort=False):
        found, count = int(group.alarm.sum()), len(group)
        interval = binomtest(found, count).proportion_ci(method="exact")
        rows.append({"case": case, "honest": bool(group.honest.iloc[0]), "repetitions": count, "alarms": found,
                     "rate": found / count, "low": interval.low, "high": interval.high})  # fmt: skip
    return pd.DataFrame(rows)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """False alarms on the left against the nominal rate, found errors on the right; a line a case."""
    both = [(summary[summary.honest], LEVEL, f"false alarms (nominal {LEVEL:.0%})", style.hue(0)),
            (summary[~summary.honest], WANTED, f"errors found (wanted {WANTED:.0%})", style.hue(1))]  # fmt: skip
    sides = [side for side in both if len(side[0])]
    tallest = max(len(rows) for rows, *_ in sides)
    figure = style.page(5.6 * len(sides) + 1.5, 0.42 * tallest + 2.2, "Can the verdicts be trusted?", _caption(summary))
    for axes, (rows, nominal, title, color) in zip(
        figure.subplots(1, len(sides), squeeze=False)[0], sides, strict=True
    ):
        places = range(len(rows))
        errors = [rows.rate - rows.low, rows.high - rows.rate]
        axes.errorbar(rows.rate, places, xerr=errors, fmt="o", color=color, capsize=3)
        axes.axvline(nominal, color="0.2", linestyle=(0, (4, 2)), linewidth=1.2)
        axes.set_yticks(places, [textwrap.fill(case, 34, break_long_words=False) for case in rows["case"]])
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="share of repetitions")
        axes.set_title(title, loc="left")
        axes.xaxis.set_major_formatter("{x:.0%}")
        false = nominal == LEVEL
        axes.set_xlim(0 if false else min(0.9, rows.low.min()), max(0.125, rows.high.max() * 1.1) if false else 1.004)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], min_n_ticks=3))
    return figure


def _caption(summary: pd.DataFrame) -> str:
    return (
        f"{style.span(summary.repetitions)} repetitions a case, each a study with seeds of its own. An alarm: any"
        " pairing or direction of the table is called wrong, after correction for all its tests. Bars: exact 95 %"
        " intervals."
    )
