"""Rows of the table `predictions`, and products that never turn a lost value into a 0."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Row = dict[str, float | str]
Table = dict[str, NDArray[Any]]
"""Columns of `predictions` that tell what is predicted, and notes; arrays of one shape."""
Columns = dict[str, Real]
"""Predicted columns, `layers networks`."""
Notes = NDArray[np.object_]
"""What there is to say of each value's row, `layers networks`."""

PREDICTED = ("z_second_moment", "a_mean", "a_second_moment", "a_variance", "z_cosine", "chi", "grad_z_second_moment",
             "grad_a_second_moment")  # fmt: skip
SPREADS = ("z_second_moment_sd", "a_second_moment_sd", "grad_z_second_moment_sd")
"""Standard deviations over networks, which only `finite_width` knows."""
DEFINED = tuple(name for name in PREDICTED if name not in ("z_cosine", "chi"))
"""Those that every layer has."""


def blank(*shape: int) -> Table:
    """Columns of which nothing is known."""
    return {**{name: np.full(shape, np.nan) for name in (*PREDICTED, *SPREADS)}, "note": np.full(shape, "", object)}


def told(columns: Columns, notes: Notes | None = None) -> Table:
    """What was predicted of each layer, and a note.

    A value that left float64 is NaN, and the note says so where there is no other in `notes`.
    """
    found = blank(*next(iter(columns.values())).shape)
    for name, values in columns.items():
        np.copyto(found[name], values, where=np.isfinite(values))
    note = found["note"]
    if notes is not None:
        note[:] = notes
    lost = {name: np.isnan(found[name]) for name in DEFINED}
    for spot in zip(*np.nonzero(np.any(list(lost.values()), axis=0) & (note == "")), strict=True):
        note[spot] = f"beyond float64: {', '.join(name for name, out in lost.items() if out[spot])}"
    return found


def times(*factors: Real | float) -> Real:
    """The product; NaN where float64 cannot hold it."""
    product = np.asarray(math.prod(factors))
    true_zero = reduce(np.logical_or, (np.equal(factor, 0) for factor in factors))
    lost = ~np.isfinite(product) | (~true_zero & (np.abs(product) < np.finfo(float).tiny))
    return np.where(lost, np.nan, product)
