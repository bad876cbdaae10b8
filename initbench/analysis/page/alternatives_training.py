"""Figures of training in words."""

from __future__ import annotations

import pandas as pd

from initbench.analysis.figures.style import share
from initbench.analysis.page.phrases import few, number

BEST = 11
"""Lines told of a figure."""


def levels(summary: pd.DataFrame) -> str:
    """Accuracy by level: of each factor what it explains, its best and its worst level."""
    lines = []
    for factor, rows in summary.groupby("factor", sort=False):
        known = rows.dropna(subset=["mean"])
        if known.empty:
            continue
        ranked = known.sort_values("mean").to_dict("records")
        worst, best = ranked[0], ranked[-1]
        lines.append(f"{factor} explains {share(rows['explained'].iloc[0])}: mean {best['mean']:.3f} at"
                     f" {best['level']}, {worst['mean']:.3f} at {worst['level']}")  # fmt: skip
    return few(lines, 12)


def shares(summary: pd.DataFrame) -> str:
    """What each factor explains."""
    rows = summary.to_dict("records")
    return few([f"{row['factor']} explains {share(row['explained'])}" for row in rows], 12)


def pairings(summary: pd.DataFrame) -> str:
    """Of each initializer the accuracy with its best and its worst activation."""
    lines = []
    for init, rows in summary.groupby("init", sort=False):
        ranked = rows.sort_values("test_accuracy").to_dict("records")
        told = [f"{number(row['test_accuracy'])} with {row['activation']}" for row in (ranked[-1], ranked[0])]
        lines.append(f"{init}: test accuracy {' down to '.join(told[: len(ranked)])}")
    return few(lines, 20)


def configurations(summary: pd.DataFrame) -> str:
    """The best configuration, and how many there are."""
    factors = list(summary.columns[: summary.columns.get_loc("test_accuracy")])
    best = summary.sort_values("rank").iloc[0]
    setting = ", ".join(f"{name} {best[name]}" for name in factors)
    return (
        f"{len(summary):,} configurations, test accuracy {number(summary['test_accuracy'].min())} to"
        f" {number(summary['test_accuracy'].max())}. Best on validation: {setting}, with"
        f" {number(best['test_accuracy'])}."
    )


def lost(summary: pd.DataFrame) -> str:
    """Of each initializer how many runs diverged, and with which activation most."""
    lines = []
    for init, rows in summary.groupby("init", sort=False):
        told = f"{init}: {rows['diverged'].sum():,} of {rows['runs'].sum():,} runs"
        most = rows.sort_values("share", ascending=False, kind="stable").iloc[0]
        if most["diverged"]:
            told += f", most with {most['activation']} ({most['diverged']:,} of {most['runs']:,})"
        lines.append(told)
    return f"{summary['diverged'].sum():,} of {summary['runs'].sum():,} runs diverged. {few(lines, 20)}"


def by_rate(summary: pd.DataFrame) -> str:
    """Of each line, the best first, the rate chosen and what it reaches there, and at the worst rate."""
    told = []
    for row in summary[summary["chosen_rate"]].sort_values("mean", ascending=False).to_dict("records"):
        line = summary[(summary["panel"] == row["panel"]) & (summary["hue"] == row["hue"])]
        worst, lost = line.loc[line["mean"].idxmin()], line["diverged"].sum()
        words = f"{_line(row)}: {number(row['mean'])} at {row['lr']:g}"
        words += f", down to {number(worst['mean'])} at {worst['lr']:g}" if worst["mean"] < row["mean"] else ""
        told.append(words + (f"; {lost} of {line['runs'].sum()} runs diverged" if lost else ""))
    return f"At the rate chosen on validation, the best first. {_with_worst(told)}"


def curves(summary: pd.DataFrame) -> str:
    """Of each line, the best first, where its validation accuracy ends, and who diverged."""
    accuracies = summary[summary["quantity"] == "val_accuracy"].sort_values("step")
    ends = accuracies.groupby(["panel", "hue"], sort=False).tail(1).sort_values("mean", ascending=False)
    told = []
    for row in ends.to_dict("records"):
        lost = f", the last before {row['diverged']} of {row['seeds']} diverged" if row["diverged"] else ""
        told.append(f"{_line(row)}: {number(row['mean'])} at update {row['step']}{lost}")
    return f"Validation accuracy, the best first. {_with_worst(told)}"


def _line(row: dict) -> str:
    """The name of a line, and of its panel."""
    hue = f"{row['hue_name']} {row['hue']}" if row["hue_name"] not in ("", "initializer") else str(row["hue"])
    return f"{hue}, {row['panel_name']} {row['panel']}" if row["panel_name"] else hue


def _with_worst(ranked: list[str]) -> str:
    """The best, and where they are many the worst too."""
    return few(ranked, BEST) + (f" The worst: {ranked[-1]}." if len(ranked) > BEST else "")
