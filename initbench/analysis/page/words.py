"""Numbers and levels as a page writes them."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from initbench.analysis.statistics import CONFIDENCE, Interval

MISSING = "–"
TONES = {
    **dict.fromkeys(("held", "stable", "consistent", "finished", "pass"), "good"),
    **dict.fromkeys(("not held", "wrong", "dead", "exploding", "vanishing", "symmetric", "lost", "diverged", "failed",
                     "fail"), "bad"),
    **dict.fromkeys(("undecided", "saturated", "finite-width bias"), "mild"),
    **dict.fromkeys(("impossible", "untested", "unpredicted"), "none"),
}  # fmt: skip
"""How a word of verdicts is coloured; its text says the same."""


def number(value: Any, digits: int = 4) -> str:
    """Four digits, a true minus sign, a dash for what is missing; text as it is."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        whole = int(value)
        return (f"{whole:,}" if abs(whole) >= 10_000 else str(whole)).replace("-", "−")
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}g}".replace("inf", "∞").replace("-", "−")
    return str(value)


def share(value: float) -> str:
    """``12.3 %``."""
    return f"{100 * value:.3g} %".replace("inf", "∞")


def between(found: Interval, written: Any = number) -> str:
    """``95 % interval 0.91 to 0.95, n = 5 seeds``; one seed alone bounds nothing."""
    seeds = f"n = {found.n} seed{'' if found.n == 1 else 's'}"
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return f"no interval, {seeds}"
    return f"{CONFIDENCE:.0%} interval {written(found.low)} to {written(found.high)}, {seeds}".replace("%", " %")


def level(value: Any) -> str:
    """A factor's level, or a list of them: ``0.1, 0.01``; equal ones are counted."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {level(one)}" for name, one in value.items())
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, list | tuple):
        return f"{value:.12g}" if isinstance(value, float | np.floating) else str(value)
    runs: list[list[Any]] = []
    for one in value:
        if runs and runs[-1][0] == one:
            runs[-1][1] += 1
        else:
            runs.append([one, 1])
    return ", ".join(level(one) if times == 1 else f"{level(one)} ({times} times)" for one, times in runs)


def signed(text: str) -> str:
    """The same, with a true minus sign before its numbers."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def unbroken(text: str) -> str:
    """The same, with no end of a line within ``95 %`` or ``n = 5``."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def counted(count: int, of: str) -> str:
    """``1 run``, ``10,368 runs``."""
    return f"{count:,} {of}{'' if count == 1 else 's'}"
