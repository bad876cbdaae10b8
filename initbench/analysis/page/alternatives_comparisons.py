"""Figures of comparisons, of paths and of predicted curves in words; `alternatives` says by which columns."""

from __future__ import annotations

import pandas as pd

from initbench.analysis.figures import landscape, predicted_curves
from initbench.analysis.page import words
from initbench.analysis.page.phrases import few, number

MOST = 12
"""Levels or paths that are told; of more, how many there are."""


def differences(summary: pd.DataFrame) -> str:
    """Each level's difference from the baseline, with its interval and word."""
    lines = []
    for row in summary.to_dict("records"):
        found = f"{number(row['difference'])} ({number(row['low'])} to {number(row['high'])})"
        lost = f"{words.counted(int(row['lost']), 'seed')} without a number"
        lines.append(f"{row['level']} {row['word']}: {lost if pd.isna(row['difference']) else found}")
    return f"Against {words.level(summary['baseline'].iloc[0])}. {few(lines, MOST)}"


def ranks(summary: pd.DataFrame) -> str:
    """Each level's mean rank, and from which on a level is told apart from the best."""
    first = summary.iloc[0]
    lines = [f"{row['level']} {row['rank']:.2f}" for row in summary.to_dict("records")]
    apart = summary.loc[summary["rank"] > first["rank"] + first["critical_difference"], "level"]
    told = f"Told apart from {first['level']}: {', '.join(map(str, apart))}" if len(apart) else "None is told apart"
    return f"Mean ranks over {first['blocks']} blocks, 1 is best: {', '.join(lines)}. {told}."


def paths(summary: pd.DataFrame) -> str:
    """Of each path the loss at its start and its end; of the plane what of the paths it holds."""
    grid = summary.loc[summary["source"] == landscape.LOSS, "train_loss"]
    followed = summary[summary["source"] == landscape.PATH]
    lines = []
    for (plane, path), rows in followed.groupby(["plane", "path"], sort=False):
        losses = [number(loss) for loss in rows.sort_values("step")["train_loss"].iloc[[0, -1]]]
        who = ", ".join(str(name) for name in (plane, path) if name)
        lines.append(f"{who}: training loss {' to '.join(losses)} after {rows['step'].max():g} updates")
    told = f"Loss in the plane: {number(grid.min())} to {number(grid.max())}"
    return f"{told}; it holds {words.share(followed['explained'].iloc[0])} of the paths' variance. {few(lines, MOST)}"


def predicted(summary: pd.DataFrame) -> str:
    """Of each curve where it starts and ends, and when it is down to a tenth."""
    lines = []
    for row in predicted_curves.times(summary).to_dict("records"):
        told = f"depth {row['depth']}, lr {row['lr']:g}: training loss {number(row['loss_at_start'])} to"
        told += f" {number(row['loss_at_end'])} in {row['updates']} updates"
        lines.append(told + ("" if pd.isna(row["to_a_tenth"]) else f", a tenth after {row['to_a_tenth']:g}"))
    return few(lines, MOST)
