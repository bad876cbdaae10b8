"""Where an elementwise function is not smooth, found from its values and derivatives alone.

Between two neighbouring points a smooth function changes less the nearer they are; where it jumps, it keeps its change.
So every interval of a grid is halved, always towards the half that changes more, down to neighbouring floats: what is
left of the change is a jump. The same is done for phi', phi'' and phi''', which autograd gives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Real = NDArray[np.float64]
Function = Callable[[Tensor], Tensor]

ORDERS = 4
"""phi and its first three derivatives."""
HALVINGS = 64
JUMP = 1e-8
"""Of a derivative, relative to its size near 0 and near the jump: what is smaller changes no integral."""
NEAR, SPACING, TINY, FAR, PER_SIDE = 32.0, 1 / 64, 1e-9, 1e3, 512
"""The grid is even up to `NEAR`, and geometric from `TINY` to `FAR` on both sides of 0; a kink beyond is not found."""
CORE = 2.0
"""|z| that most pre-activations have: the size of a derivative is its largest value there."""
APART = 1e-9
"""Kinks nearer than this, relative, are one: that of phi' is one of phi'' too."""
MOST = 64
"""More are a function that rounding or chance has broken into pieces: the search ends."""
STEPS = np.geomspace(1e-8, 1 / 32, 64)
"""From a kink, where the grid is finer when others are looked for beside it."""
BESIDE_IT = 1e-6
"""How far beside a jump a function is looked at, relative to |z|: so near that only rounding changes it."""
INSIDE = (1e-3, 1e-2)
"""Where a piece is looked at from both its ends, relative to its length."""


def kinks(function: Function) -> tuple[float, ...]:
    """All points at which phi, phi', phi'' or phi''' jumps, each to the neighbouring float, in order.

    More than `MOST` are not all that there are.
    """
    seen = _scanned(function, _grid())
    if len(seen) > MOST:
        return seen
    around = [kink + side * STEPS for kink in seen for side in (-1, 1)]  # an interval may have had two of them
    return _scanned(function, np.unique(np.concatenate([_grid(), *around]))) if around else seen


def _scanned(function: Function, grid: Real) -> tuple[float, ...]:
    """The kinks that are alone in their interval of the grid, in order."""
    distinct: list[float] = []
    for order in range(ORDERS):  # lower ones first: theirs are sharper
        for kink in _jumps(partial(_derivatives, function, order), grid):
            if all(abs(kink - other) > APART * max(abs(kink), abs(other)) for other in distinct):
                distinct.append(kink)
            if len(distinct) > MOST:
                return tuple(sorted(distinct))
    return tuple(sorted(distinct))


def is_flat(function: Function, at: tuple[float, ...]) -> bool:
    """Whether phi' is exactly 0 on an interval, given the kinks: between two analytic pieces, or everywhere.

    Far out a smooth function's slope is rounded to 0 too; that of a flat piece is 0 right beside its kink.
    """
    if not at:
        return not _derivatives(function, 1, np.arange(-CORE, CORE, SPACING)).any()
    edges = np.array([at[0] - 1, *at, at[-1] + 1])
    lengths = np.diff(edges)
    share = np.array([*INSIDE, *(1 - np.array(INSIDE))])
    inside = edges[:-1, None] + lengths[:, None] * share
    return bool((_derivatives(function, 1, inside.ravel()).reshape(inside.shape) == 0).all(axis=1).any())


def _grid() -> Real:
    even = np.arange(-NEAR, NEAR, SPACING) + 0.37 * SPACING  # kinks like round numbers: off the grid
    far = np.geomspace(TINY, FAR, PER_SIDE)
    return np.unique(np.concatenate([even, far, -far]))


def _jumps(f: Callable[[Real], Real], grid: Real) -> list[float]:
    """Where f jumps."""
    value = np.nan_to_num(f(grid), nan=0.0, posinf=0.0, neginf=0.0)
    low, high, at_low, at_high = grid[:-1], grid[1:], value[:-1], value[1:]
    size = np.abs(value)
    core = size[np.abs(grid) <= CORE].max()
    nearby = np.lib.stride_tricks.sliding_window_view(np.pad(size, 2), 6).max(axis=1)
    with np.errstate(invalid="ignore"):  # infinite and undefined values change by nothing that is a number
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            at = f(middle)
            left = np.abs(at - at_low) >= np.abs(at_high - at)
            low, at_low = np.where(left, low, middle), np.where(left, at_low, at)
            high, at_high = np.where(left, middle, high), np.where(left, at, at_high)
        jumps = np.abs(at_high - at_low) > JUMP * np.maximum(core, nearby)
        jumps[jumps] = _stand_out(f, (low + high)[jumps] / 2, np.abs(at_high - at_low)[jumps])
    return [_shortest(*ends) for ends in zip(low[jumps].tolist(), high[jumps].tolist(), strict=True)]


def _stand_out(f: Callable[[Real], Real], at: Real, jump: Real) -> NDArray[np.bool_]:
    """Whether f changes at each point by more than on either side of it: rounding changes it everywhere."""
    near = BESIDE_IT * np.maximum(np.abs(at), BESIDE_IT)
    steps = np.linspace(0.05, 1, 20) * near[:, None]
    sides = np.stack([at[:, None] - steps, at[:, None] + steps])
    ranges = np.ptp(f(sides.ravel()).reshape(sides.shape), axis=-1)
    return jump > 10 * ranges.max(axis=0)


def _derivatives(function: Function, order: int, z: Real) -> Real:
    """The derivative of this order at each z; 0 where autograd knows none."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = torch.from_numpy(z.astype(np.float64)).requires_grad_()
        found = function(leaf)
        for number in range(order):
            if not found.requires_grad:  # constant: all that follow are 0
                return np.zeros_like(z)
            try:
                (found,) = torch.autograd.grad(found.sum(), leaf, create_graph=number + 1 < order)
            except RuntimeError:  # a function whose derivative has none: kinks of higher order stay unseen
                return np.zeros_like(z)
    return found.detach().numpy(force=True)  # autograd may have a zero without memory


def _shortest(low: float, high: float) -> float:
    """Of all numbers between two, the one with the fewest decimals: thresholds are written, not measured."""
    middle = (low + high) / 2
    return next((short for digits in range(16) if low <= (short := round(middle, digits)) <= high), middle) + 0.0
