"""Learning curves that theory predicts of deep linear networks: the training loss, update by update."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from initbench.analysis.figures import style

TRAINING = ["depth", "lr"]
"""What tells the curves apart: seeds have the same one."""
FRACTIONS = {"to_half": 0.5, "to_a_tenth": 0.1, "to_a_hundredth": 0.01}
DECADES = 1.5
"""Of the loss, from which on its axis is logarithmic."""


def summary(curves: pd.DataFrame) -> pd.DataFrame:
    """The loss at each recorded step, of each depth at its learning rate."""
    return curves.drop_duplicates([*TRAINING, "step"])[[*TRAINING, "step", "train_loss"]].reset_index(drop=True)


def times(curves: pd.DataFrame) -> pd.DataFrame:
    """A row per curve: its loss at the start and the end, and after how many updates it is first down to a share.

    ``to_half``, ``to_a_tenth``, ``to_a_hundredth`` of the start, to the recorded step; missing where it never is.
    """
    rows = []
    for (depth, lr), curve in summary(curves).groupby(TRAINING, sort=False):
        ordered = curve.sort_values("step")
        loss, step = ordered["train_loss"], ordered["step"]
        reached = {name: step[loss <= share * loss.iloc[0]].min() for name, share in FRACTIONS.items()}
        rows.append({"depth": depth, "lr": lr, "loss_at_start": loss.iloc[0], "loss_at_end": loss.iloc[-1],
                     "updates": step.iloc[-1], **reached})  # fmt: skip
    return pd.DataFrame(rows)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A line for each depth at its learning rate."""
    figure = style.page(7.6, 4.6, "The training loss that theory predicts", _caption(summary))
    axes = figure.subplots()
    looks = style.looks(name for name, _ in _curves(summary))
    for name, curve in _curves(summary):
        every = max(1, len(curve) // 8)
        axes.plot(curve["step"], curve["train_loss"], label=name, markevery=every, **looks[name].line)
    positive = summary["train_loss"].min() > 0
    if positive and np.log10(summary["train_loss"].max() / summary["train_loss"].min()) > DECADES:
        axes.set_yscale("log")
    axes.set(xlabel="updates", ylabel="training loss")
    axes.margins(x=0.02)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _curves(summary: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(f"depth {depth}, lr {lr}", rows) for (depth, lr), rows in summary.groupby(TRAINING, sort=False)]


def _caption(summary: pd.DataFrame) -> str:
    curves = len(_curves(summary))
    return (
        f"{curves} curve{'' if curves == 1 else 's'} of deep linear networks whose weights start on the diagonal, by"
        " full-batch gradient descent on the mean square. Theory: no sampling, no interval. Depth counts hidden layers."
    )
