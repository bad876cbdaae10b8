"""Integrals layer after layer, made anew only for networks that have moved since."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

ROUNDING = 4e-15
"""What E[z²] may move, relative, without another integral of a function of z."""


class Kept:
    """Integrals at E[z²], and at a cosine if there is one; `still` is what these may move, q relative to itself."""

    def __init__(self, integrate: Callable[..., Sequence[Real]], still: float = ROUNDING) -> None:
        """`integrate` is called with the rows that moved and their arguments; its results are `rows ...`."""
        self._integrate, self._still = integrate, still
        self._known: tuple[list[Real], list[Real]] | None = None

    def __call__(self, q: Real, *cosine: Real) -> list[Real]:
        """The integrals, each `networks ...`; they are read and not written to."""
        now = [q, *cosine]
        if self._known is None:
            found = self._integrate(np.arange(len(q)), *now)
            self._known = [array.copy() for array in now], [array.copy() for array in found]
        before, known = self._known
        moved = np.zeros(len(q), bool)
        for old, new, scale in zip(before, now, [q, *np.ones_like(cosine)], strict=True):
            kept = (np.abs(new - old) <= self._still * scale) | (np.isnan(new) & np.isnan(old))
            moved |= ~kept.reshape(len(q), -1).all(axis=-1)
        if moved.any():
            found = self._integrate(np.flatnonzero(moved), *(array[moved] for array in now))
            for old, new in zip([*before, *known], [*(array[moved] for array in now), *found], strict=True):
                old[moved] = new
        return known
