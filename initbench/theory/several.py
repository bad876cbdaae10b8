"""The activations of several networks as one: each is applied to its own rows of an array.

A theory's arithmetic is on small arrays, and a call of numpy costs more than what it computes. So all pairings walk
through their layers together, whatever their activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.activations.closed_forms import PiecewiseLinear
from initbench.activations.record import values_and_slopes
from initbench.theory.expectation import FAR

Real = NDArray[np.float64]
Rows = NDArray[np.intp]

STRAIGHT, BENT = 1e26, 1e-10
"""The variance from which on what phi is nearer to 0 than `FAR` does not count; how far from a ray it may be there."""
SLIGHT, NEAR, CURVED = 1e-30, 1e-14, 1e-12
"""The variance up to which only what phi is within `NEAR` of 0 counts, and how far from a ray it may be there."""


class Kinds(tuple[Activation, ...]):
    """Some activations, and what is asked of each of them again and again."""

    def told(self, of: Callable[[Activation], Any]) -> NDArray[Any]:
        """What `of` says of each, found once."""
        if of not in self._told:
            self._told[of] = np.array([of(kind) for kind in self])
        return self._told[of]

    @cached_property
    def _told(self) -> dict[Callable[[Activation], Any], NDArray[Any]]:
        return {}

    @cached_property
    def kinks(self) -> Real:
        """`kinds kinks`; infinite ones, which cut nothing, where one has fewer than another."""
        found = np.full((len(self), max(len(kind.kinks) for kind in self)), np.inf)
        for row, kind in zip(found, self, strict=True):
            row[: len(kind.kinks)] = kind.kinks
        return found


@dataclass(frozen=True, eq=False)
class Several:
    """An activation for each row of an array; rows of one stand together, so that each is called once."""

    kinds: Kinds
    which: Rows
    """Of `kinds`, that of each row."""

    @classmethod
    def of(cls, each: Sequence[Activation]) -> Several:
        """One activation a row."""
        kinds = {activation: number for number, activation in enumerate(dict.fromkeys(each))}
        return cls(Kinds(kinds), np.array([kinds[activation] for activation in each], np.intp))

    def at(self, rows: Rows | slice | NDArray[np.bool_]) -> Several:
        """Those of some rows."""
        return Several(self.kinds, self.which[rows])

    @property
    def kinks(self) -> Real:
        """`rows kinks`; infinite ones, which cut nothing, where a row has fewer than another."""
        return self.kinds.kinks[self.which]

    def value(self, z: Real) -> Real:
        """phi(z), `rows ...`."""
        found = np.empty_like(z)
        for kind, rows in self._runs:
            found[rows] = kind.value(z[rows])
        return found

    def slope(self, z: Real) -> Real:
        """phi'(z), `rows ...`."""
        return self.both(z)[1]

    def both(self, z: Real) -> tuple[Real, Real]:
        """phi(z) and phi'(z), `rows ...`."""
        kinds, own = zip(*self._runs, strict=True)
        found = values_and_slopes(kinds, [torch.from_numpy(z[rows]) for rows in own])
        value, slope = (np.concatenate([part.numpy() for part in parts]) for parts in found)
        return value, slope

    @property
    def straight(self) -> NDArray[np.bool_]:
        """Whether phi, seen from afar, is two rays that meet at 0: as it is at variances from `STRAIGHT` on."""
        straight: NDArray[np.bool_] = self.kinds.told(_is_straight)[self.which]
        return straight

    @property
    def bent_at_zero(self) -> NDArray[np.bool_]:
        """The same of phi seen from near 0."""
        bent: NDArray[np.bool_] = self.kinds.told(_is_bent_at_zero)[self.which]
        return bent

    def levels(self, q: Real) -> tuple[Real, Real]:
        """Variances from which averages at q, `rows ...`, follow, and by how much q is larger.

        Where phi(s z) = s phi(z) for s > 0 an average at s² q is one at q times a power of s, so that one will do.
        """
        which = self.kinds.told(is_homogeneous)[self.which], self.straight, self.bent_at_zero
        homogeneous, straight, bent = (of.reshape(-1, *[1] * (q.ndim - 1)) for of in which)
        level = np.clip(q, np.where(bent & (q > 0), SLIGHT, 0), np.where(straight, STRAIGHT, np.inf))
        level = np.where(homogeneous & np.isfinite(q), 1.0, level)
        return level, np.divide(q, level, out=np.ones_like(q), where=level != q)

    @cached_property
    def _runs(self) -> list[tuple[Activation, slice]]:
        ends = [0, *np.flatnonzero(np.diff(self.which)) + 1, len(self.which)]
        return [(self.kinds[self.which[start]], slice(start, end)) for start, end in pairwise(ends) if end > start]


def is_homogeneous(activation: Activation) -> bool:
    """Whether phi(s z) = s phi(z) for all s > 0."""
    form = activation.closed_form
    return isinstance(form, PiecewiseLinear) and form.offset == 0


@lru_cache
def _is_straight(activation: Activation) -> bool:
    return _is_rays(activation, FAR, BENT)


@lru_cache
def _is_bent_at_zero(activation: Activation) -> bool:
    return _is_rays(activation, NEAR, CURVED)


def _is_rays(activation: Activation, at: float, off: float) -> bool:
    """Whether tangents `at` either side of 0 meet there, but for a share `off` of phi."""
    ends = np.array([-at, at])
    value, slope = activation.both(ends)
    return bool((np.abs(value - slope * ends) <= off * np.abs(value).max()).all())
