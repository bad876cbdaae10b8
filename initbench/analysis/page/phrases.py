"""Numbers and sentences of which a figure's words are made."""

from __future__ import annotations

import numpy as np

MOST = 8
"""Things named one by one; of more, the ends are named."""


def few(lines: list[str], most: int = MOST) -> str:
    """Sentences; of many the first, and how many more there are."""
    told = ". ".join(lines[:most])
    return f"{told}." if len(lines) <= most else f"{told}. And {len(lines) - most} more, in the CSV."


def number(value: object) -> str:
    """Three digits and a true minus sign; text as it is."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        return str(value)
    return f"{value:.3g}".replace("-", "−")


def percent(share: float, digits: int = 1) -> str:
    """``64.7 %``."""
    return f"{100 * share:.{digits}f} %"
