"""How much higher or lower each level of a factor is than the baseline: a forest plot of the differences."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from initbench.analysis.figures import style

MARKS = {"higher": "^", "lower": "v", "equivalent": "o", "undecided": "o"}
KEPT = ("by", "level", "baseline", "metric", "difference", "low", "high", "word", "ratio", "bound", "n", "lost",
        "method")  # fmt: skip


def summary(differences: pd.DataFrame, by: str = "level") -> pd.DataFrame:
    """What is drawn of `analysis.comparison.differences` of the factor `by`, the largest first, lost ones last."""
    ordered = differences.sort_values("difference", ascending=False, kind="stable", ignore_index=True)
    return ordered.assign(by=by)[list(KEPT)]


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A line a level: its difference with the interval; filled where it is decided, the bound of equivalence shaded."""
    first = summary.iloc[0]
    ratio = first["ratio"]
    metric, by, baseline = str(first["metric"]).replace("_", " "), style.word(first["by"]), str(first["baseline"])
    title = f"{metric.capitalize()} by {by}, against {style.label(baseline)}"
    figure = style.page(8, 0.42 * len(summary) + 2.0, title, _caption(summary))
    axes = figure.subplots()
    axes.axvline(1 if ratio else 0, color="0.3", lw=1)
    if pd.notna(first["bound"]):
        axes.axvspan(*_practically_none(first), color="0.92", zorder=0)
    for place, row in enumerate(summary.to_dict("records")):
        decided = row["word"] != "undecided"
        color = style.hue(list(MARKS).index(row["word"]))
        if pd.isna(row["difference"]):
            axes.text(0.5, place, f"{row['lost']} seeds without a number", va="center", ha="center", color="0.4",
                      transform=axes.get_yaxis_transform())  # fmt: skip
            continue
        axes.plot([row["low"], row["high"]], [place, place], color=color, lw=2)
        axes.plot(row["difference"], place, MARKS[row["word"]], color=color, ms=7, mfc=color if decided else "white")
        axes.annotate(row["word"], (row["high"], place), (6, 0), textcoords="offset points", va="center", color="0.3")
    axes.set_yticks(range(len(summary)), [style.label(str(level)) for level in summary["level"]])
    axes.set(
        ylim=(len(summary) - 0.5, -0.5), xlabel=f"{metric}, {'ratio to' if ratio else 'difference from'} {baseline}"
    )
    axes.margins(x=0.18)
    return figure


def _practically_none(row: pd.Series) -> tuple[float, float]:
    """Between which ends a difference counts for nothing; for ratios the bound is of the logarithm."""
    low, high = -row["bound"], row["bound"]
    return (math.exp(low), math.exp(high)) if row["ratio"] else (low, high)


def _caption(summary: pd.DataFrame) -> str:
    first = summary.iloc[0]
    told = f"{style.seeds(summary['n'])}; {first['method']}. Lines: 95 % intervals, words after correction."
    if pd.isna(first["bound"]):
        return told
    low, high = _practically_none(first)
    shaded = f"×{low:.3g} to ×{high:.3g}" if first["ratio"] else f"±{high:g}"
    return f"{told} Shaded: {shaded}, practically no difference."
