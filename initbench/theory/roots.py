"""Roots of many functions of one shape at once, found between the points of a grid; also two in one gap of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

ROUNDING = 1e-12
"""A value below this is 0: of two that cancel, no digit is left."""


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
    from scipy.optimize import elementwise  # here, as it takes a quarter of a second to load, and few commands need it

    values = function(grid, *(arg[:, None] for arg in args))
    sign = np.sign(np.where(np.abs(values) < ROUNDING, 0, values))
    crossing, folded = _crossings(sign, grid), _folds(function, values * sign, sign, grid, args)
    row, low, high = (np.concatenate(parts) for parts in zip(crossing, folded, strict=True))
    order = np.lexsort((low, row))
    row, low, high = row[order], low[order], high[order]
    theirs = [arg[row] for arg in args]
    if not len(row):
        return Roots(row, low, low > high)
    place = elementwise.find_root(function, (low, high), args=theirs, tolerances={"xatol": 1e-14, "xrtol": 0}).x
    return Roots(row, place, function(low, *theirs) > 0)


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
    near = middle < np.maximum(left, right) - middle
    row, at = np.nonzero(alike & (middle <= left) & (middle <= right) & near)
    if not len(row):
        return row, grid[at], grid[at]
    from scipy.optimize import elementwise  # here, as above

    way = sign[row, at + 1]
    ends = grid[at], grid[at + 1], grid[at + 2]
    found = elementwise.find_minimum(
        lambda t, way, *args: way * function(t, *args), ends, args=[way, *(arg[row] for arg in args)]
    )
    beyond = found.f_x < 0
    row, low, middle, high = row[beyond], ends[0][beyond], found.x[beyond], ends[2][beyond]
    return np.concatenate([row, row]), np.concatenate([low, middle]), np.concatenate([middle, high])
