"""What was expected and what was found, row by row, each with a drawing of its interval beside its bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from initbench.analysis.expectations import HELD
from initbench.analysis.page import words

MARKS = {"good": "✓", "bad": "✗", "mild": "?"}
ROOM = 0.35
"""Of the drawing's width beyond the interval and the bound."""


@dataclass(frozen=True)
class Outcome:
    """One row."""

    claim: str
    outcome: str
    tone: str
    mark: str
    estimate: str
    interval: str
    bound: str
    published: str
    n: str
    measure: str
    method: str
    remarks: list[str]
    picture: dict[str, float]
    """Per cent of the width: bound, interval and estimate; empty where something is not finite."""


def outcomes(table: pd.DataFrame) -> list[Outcome]:
    """A row per expectation of `analysis.expectations.outcomes`."""
    return [_outcome(row) for row in table.to_dict("records")]


def _outcome(row: dict[Any, Any]) -> Outcome:
    tone = words.TONES.get(row["outcome"], "mild")
    ends = [row["low"], row["high"]]
    remarks = [row["explained"]] if row["explained"] and row["outcome"] != HELD else []
    remarks += [f"Published is {row['published']}: {row['differs']}"] if row["differs"] else []
    return Outcome(
        claim=row["claim"], outcome=row["outcome"], tone=tone, mark=MARKS.get(tone, ""),
        estimate=words.number(row["estimate"]), interval=f"{words.number(ends[0])} to {words.number(ends[1])}",
        bound=words.signed(row["bound"]), published=words.signed(str(row["published"])),
        n=words.number(int(row["n"])), measure=row["measure"], method=row["method"], remarks=remarks,
        picture=_picture(row["estimate"], ends, [row["least"], row["most"]]),
    )  # fmt: skip


def _picture(estimate: float, ends: Sequence[float], bounds: Sequence[float]) -> dict[str, float]:
    low, high = ends
    if not all(map(math.isfinite, (estimate, low, high))):
        return {}
    points = [low, high, *(bound for bound in bounds if math.isfinite(bound))]
    room = ROOM * (max(points) - min(points)) or 1.0
    left, width = min(points) - room, max(points) - min(points) + 2 * room

    def place(value: float) -> float:
        return round(100 * (min(max(value, left), left + width) - left) / width, 2)

    told = {"bound": place(bounds[0]), "to": place(bounds[1]), "low": place(low), "high": place(high)}
    return {**told, "estimate": place(estimate)}
