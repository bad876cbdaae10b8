"""What each factor alone explains of a grid's test accuracy, and what is left to their interactions."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from initbench.analysis import training
from initbench.analysis.figures import style

REST = "interactions and rest"
WORDS = 0.75
"""Room beside the longest bar."""
BAR: dict[str, Any] = {"height": 0.62, "edgecolor": "none"}


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per factor, the one that explains most first (`training.factors`); last what all of them leave."""
    told = training.factors(runs)
    names = ["factor", "explained", "best", "mean_at_best", "worst", "mean_at_worst"]
    rest = pd.DataFrame({"factor": [REST], "explained": [max(0.0, 1 - told["explained"].sum())]})
    counts = {"runs": int((runs["status"] == "finished").sum()), "diverged": int((runs["status"] == "diverged").sum())}
    return pd.concat([told[names], rest], ignore_index=True).assign(**counts)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A bar a factor, with its share, its best and its worst level."""
    first = summary.iloc[0]
    factor, share = style.word(first["factor"]), first["explained"]
    title = f"Alone, the {factor} explains {style.share(share)} of the variance of test accuracy"
    figure = style.page(8.5, 0.36 * len(summary) + 1.9, title, _caption(summary))
    axes = figure.subplots()
    colors = ["0.7" if factor == REST else style.hue(0) for factor in summary["factor"]]
    bars = axes.barh(range(len(summary)), summary["explained"], color=colors, **BAR)
    axes.bar_label(bars, [_told(row) for row in summary.to_dict("records")], padding=4, size=9)
    axes.set_yticks(range(len(summary)), [style.label(style.word(factor)) for factor in summary["factor"]])
    room = float(summary["explained"].max()) + WORDS
    axes.set(xlim=(0, room), xlabel="share explained (eta²)")
    axes.set_xticks([share for share in (0, 0.25, 0.5, 0.75, 1) if share < room])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return figure


def _told(row: dict[Any, Any]) -> str:
    share = style.share(row["explained"])
    if row["factor"] == REST:
        return share
    ends = ((word, row[word], row[f"mean_at_{word}"]) for word in ("best", "worst"))
    return f"{share}    " + ", ".join(f"{word} {level} ({mean:.3f})" for word, level, mean in ends)


def _caption(summary: pd.DataFrame) -> str:
    first = summary.iloc[0]
    return (
        f"{first['runs']:,} finished runs; {first['diverged']:,} diverged and are not in it. eta²: the share of the"
        " variance of test accuracy that lies between the means of a factor's levels, whatever the other factors;"
        " beside it the best and the worst level with their means. Grey: what no factor explains alone."
    )
