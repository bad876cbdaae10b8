"""Roots of many functions of one shape at once, found between the points of a grid; also two in one gap of it.

Not by scipy.optimize, which takes half a second to load: a third of what the theory of all pairings takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

ROUNDING = 1e-12
"""A value below this is 0: of two that cancel, no digit is left."""
CLOSE = 1e-14
"""What the next step towards a root may be, absolute."""
HALVINGS = 64
"""After so many a bracket has no number left between its ends."""
SECTIONS, ZOOMS = np.linspace(0, 1, 9)[:, None], 14
"""Of a bracket around an extremum, two of which are the next one: 4^-14 of it are half of float64's digits."""


@dataclass(frozen=True)
class Roots:
    """Of all functions, in the order of rows, and then of place."""

    row: NDArray[np.intp]
    """Whose root it is."""
    place: Real
    falling: NDArray[np.bool_]
    """Whether the function goes from above 0 to below."""


def roots(function: Callable[..., Real], grid: Real, *args: Real) -> Roots:
    """The roots of t -> function(t, *args[row]), elementwise, between the ends of the ascending `grid`.

    Where values change their sign there is a root. Where they come near to 0 and go away again, their extremum is
    sought: beyond 0 it parts two roots, which may be nearer to each other than any grid (a tangent bifurcation).
    """
    values = function(grid, *(arg[:, None] for arg in args))
    sign = np.sign(np.where(np.abs(values) < ROUNDING, 0, values))
    crossing, folded = _crossings(sign, grid), _folds(function, values * sign, sign, grid, args)
    row, low, high = (np.concatenate(parts) for parts in zip(crossing, folded, strict=True))
    order = np.lexsort((low, row))
    row, low, high = row[order], low[order], high[order]
    theirs = [arg[row] for arg in args]
    if not len(row):
        return Roots(row, low, low > high)
    return Roots(row, bracketed(function, low, high, *theirs), function(low, *theirs) > 0)


def bracketed(function: Callable[..., Real], low: Real, high: Real, *args: Real) -> Real:
    """The root of each t -> function(t, *args) between `low` and `high`, where its signs differ.

    Ridders (1979): times an exponential of t, the values at the ends and in the middle are on a line, whose root is the
    next place. So a bracket halves at least, and near a simple root the digits double.
    """
    place = np.full_like(low, np.inf)
    at_low, at_high = function(low, *args), function(high, *args)
    for _ in range(HALVINGS):
        middle, before = (low + high) / 2, place
        at_middle = function(middle, *args)
        straight = np.sqrt(at_middle**2 - at_low * at_high)
        share = np.divide(at_middle, straight, out=np.zeros_like(straight), where=straight > 0)
        place = middle + (middle - low) * np.sign(at_low - at_high) * share
        if (np.abs(place - before) <= CLOSE).all():
            break
        at_place, left = function(place, *args), place < middle
        t = np.stack([low, np.where(left, place, middle), np.where(left, middle, place), high])
        values = np.stack([at_low, np.where(left, at_place, at_middle), np.where(left, at_middle, at_place), at_high])
        first = np.argmax(np.sign(values[:-1]) * np.sign(values[1:]) <= 0, axis=0)[None]
        (low, high), (at_low, at_high) = (
            np.take_along_axis(of, np.concatenate([first, first + 1]), axis=0) for of in (t, values)
        )
    return place


Brackets = tuple[NDArray[np.intp], Real, Real]
"""Row, low end and high end."""


def _crossings(sign: Real, grid: Real) -> Brackets:
    """Between neighbours of other sign, which a single 0 may part."""
    row, at = np.nonzero(sign[:, :-1] * sign[:, 1:] < 0)
    over, zero = np.nonzero((sign[:, :-2] * sign[:, 2:] < 0) & (sign[:, 1:-1] == 0))
    low, high = (np.concatenate(ends) for ends in ((grid[at], grid[zero]), (grid[at + 1], grid[zero + 2])))
    return np.concatenate([row, over]), low, high


def _folds(function: Callable[..., Real], size: Real, sign: Real, grid: Real, args: tuple[Any, ...]) -> Brackets:
    """On both sides of an extremum that is on the other side of 0 than its neighbours on the grid."""
    left, middle, right = size[:, :-2], size[:, 1:-1], size[:, 2:]
    alike = (sign[:, :-2] == sign[:, 1:-1]) & (sign[:, 2:] == sign[:, 1:-1]) & (sign[:, 1:-1] != 0)
    # a parabola through three values goes an eighth of their range below the lowest at most
    with np.errstate(invalid="ignore"):  # of infinite values none is an extremum
        near = middle < np.maximum(left, right) - middle
    row, at = np.nonzero(alike & (middle <= left) & (middle <= right) & near)
    if not len(row):
        return row, grid[at], grid[at]
    way, theirs = sign[row, at + 1], [arg[row] for arg in args]
    middle = _lowest(lambda t: way * function(t, *theirs), grid[at], grid[at + 2])
    beyond = way * function(middle, *theirs) < 0
    row, low, middle, high = row[beyond], grid[at][beyond], middle[beyond], grid[at + 2][beyond]
    return np.concatenate([row, row]), np.concatenate([low, middle]), np.concatenate([middle, high])


def _lowest(function: Callable[[Real], Real], low: Real, high: Real) -> Real:
    """Where the function is lowest in brackets with one minimum each."""
    for _ in range(ZOOMS):
        t = low + (high - low) * SECTIONS
        best = np.clip(function(t).argmin(axis=0), 1, len(t) - 2)[None]
        low, high = (np.take_along_axis(t, best + side, axis=0)[0] for side in (-1, 1))
    return (low + high) / 2
