"""The coordinate check judged: slopes over the width with intervals, and a word, in place of a curve to squint at.

In a parametrization that is right the outputs of all layers, and what each step changes of them, stay the same however
wide the network is; the loss's gradient at hidden outputs falls as 1/width, as each of more units counts for less.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from initbench.analysis.slopes import BOUND, Slope, slope_of_means

QUANTITIES = {"activation": (0.0, 0.0), "update": (0.0, 0.0), "gradient": (-1.0, 0.0)}
"""The power of the width that is expected of a hidden layer's, and of an output whose size is fixed."""
WORST = {"pass": 0, "undecided": 1, "fail": 2}


def check(table: pd.DataFrame) -> pd.DataFrame:
    """A row per step, call and quantity: its slope against the width (log-log, mean over seeds), and the word.

    ``pass`` where the 95 % interval is within `BOUND` of what is expected, ``fail`` where it is beyond, else
    ``undecided``. An output of fixed size may fall with the width: muP's is small at the start, where it is large.
    """
    keys = ["parametrization", "step", "layer", "module", "call", "kind"]
    rows = []
    for key, group in table.groupby(keys, sort=False):
        fixed, seeds = len(group["elements"].unique()) == 1, int(group["seed"].nunique())
        for quantity, powers in QUANTITIES.items():
            by_width = group.groupby("width")[f"{quantity}_rms"]
            mean, error = (np.asarray(of, np.float64) for of in (by_width.mean(), by_width.sem()))
            if not (quantity == "update" and group["step"].iloc[0] == 0):
                fit = slope_of_means(np.array(sorted(group["width"].unique()), float), mean, error, seeds)
                rows.append({**dict(zip(keys, key, strict=True)), "quantity": quantity, "slope": fit.value,
                             "low": fit.low, "high": fit.high, "expected": powers[fixed],
                             "seeds": seeds,
                             "word": _word(fit, powers[fixed], may_fall=fixed)})  # fmt: skip
    return pd.DataFrame(rows)


def _word(fit: Slope, expected: float, may_fall: bool) -> str:
    return replace(fit, low=max(fit.low, expected - BOUND)).word(expected) if may_fall else fit.word(expected)


def summary(slopes: pd.DataFrame) -> pd.DataFrame:
    """A row per layer and quantity: the step farthest off, of those with the worst word."""
    ranked = slopes.assign(rank=slopes["word"].map(WORST), off=(slopes["slope"] - slopes["expected"]).abs())
    worst = ranked.sort_values(["rank", "off"], ascending=False, kind="stable").drop_duplicates(["layer", "quantity"])
    return worst.sort_index().sort_values("layer", kind="stable").drop(columns=["rank", "off"]).reset_index(drop=True)


def verdict(slopes: pd.DataFrame) -> str:
    """``pass``, ``fail`` or ``undecided``: the worst word of all."""
    return max(slopes["word"], key=WORST.__getitem__)


def sentence(slopes: pd.DataFrame) -> str:
    """What the check found, and where it is farthest off."""
    word, rule = verdict(slopes), slopes["parametrization"].iloc[0]
    told = f"Coordinate check of the {rule} parametrization: {word}."
    if word == "pass":
        return f"{told} No layer's activations, updates or gradients change with the width as they should not."
    found = slopes[slopes["word"] == word]
    row = found.iloc[int((found["slope"] - found["expected"]).abs().to_numpy().argmax())]
    return (
        f"{told} {len(found)} of {len(slopes)} slopes; the farthest off: {row['module']}'s {row['quantity']} at step"
        f" {row['step']} goes as width^{row['slope']:.2f} ({row['low']:.2f} to {row['high']:.2f}), expected is"
        f" {row['expected']:g}"
    )
