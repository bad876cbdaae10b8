"""Mean ranks with the critical difference (Demšar 2006, figure 1): levels joined by a bar are not told apart."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from initbench.analysis.figures import style

BAR = 0.22
"""Between the bars of groups, in lines of text."""
LEAST_P = 0.001


def summary(ranks: pd.DataFrame, by: str = "level") -> pd.DataFrame:
    """What is drawn of `analysis.comparison.ranks` of `by`, with the last rank that each is not told apart from."""
    until = [ranks.loc[ranks["rank"] <= rank + ranks["critical_difference"], "rank"].max() for rank in ranks["rank"]]
    return ranks[["level", "rank", "critical_difference", "p_friedman", "blocks", "method"]].assign(until=until, by=by)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Ranks on an axis, best to the left; each level's name hangs from its place; bars join what is alike."""
    first, count = summary.iloc[0], len(summary)
    groups = _groups(summary)
    title = f"Which {style.word(first['by'])} is best, most of the time?"
    figure = style.page(8, 0.2 * count + 0.2 * len(groups) + 2.0, title, _caption(summary))
    axes = figure.subplots()
    left = (count + 1) // 2
    for place, row in enumerate(summary.to_dict("records")):
        side, line = ("right", place) if place < left else ("left", count - 1 - place)
        depth = 1 + BAR * len(groups) + 0.8 * line
        end = 0.4 if side == "right" else count + 0.6
        axes.plot([row["rank"], row["rank"], end], [0, depth, depth], color="0.3", lw=1.1, clip_on=False)
        axes.text(end, depth, f" {row['level']} ({row['rank']:.2f}) ", ha=side, va="center")
    for number, (start, until) in enumerate(groups):
        height = 0.35 + BAR * number
        axes.plot([start - 0.04, until + 0.04], [height, height], color="0.1", lw=3.5, solid_capstyle="butt")
    axes.plot([1, 1 + first["critical_difference"]], [-0.7, -0.7], "|-", color="0.1", ms=8)
    axes.text(1, -0.95, f"critical difference {first['critical_difference']:.2f}", va="bottom")
    axes.set(xlim=(1 - 0.05, count + 0.05), ylim=(1.4 + BAR * len(groups) + 0.8 * (left - 1), -1.4))
    axes.xaxis.tick_top()
    axes.set_xticks(range(1, count + 1))
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.spines["top"].set_position(("data", 0))
    axes.grid(visible=False)
    axes.set_yticks([])
    return figure


def _groups(summary: pd.DataFrame) -> list[tuple[float, float]]:
    """First and last rank of each longest run of levels that are not told apart; runs of one are none."""
    groups: list[tuple[float, float]] = []
    for start, until in summary[["rank", "until"]].itertuples(index=False):
        alone = summary["rank"].between(start, until).sum() == 1
        if not alone and not any(low <= start and until <= high for low, high in groups):
            groups.append((start, until))
    return groups


def _caption(summary: pd.DataFrame) -> str:
    first = summary.iloc[0]
    method, p = str(first["method"]), first["p_friedman"]
    friedman = f"= {p:.3g}" if p >= LEAST_P else f"< {LEAST_P}"
    return (
        f"{method[0].upper()}{method[1:]}; {first['blocks']} blocks. 1 is best. Friedman's p {friedman}. Levels"
        " under one bar are not told apart at 5 % (Nemenyi)."
    )
