"""Rows of the table `predictions`, and products that never turn a lost value into a 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initbench.core.records import Promise

Real = NDArray[np.float64]
Row = dict[str, float | str]
Table = dict[str, NDArray[Any]]
"""Columns of one network, an entry a layer."""
Columns = dict[str, Real]
"""Predicted columns, `layers networks`."""
Notes = NDArray[np.object_]
"""What there is to say of each value's row, `layers networks`."""

PREDICTED = ("z_second_moment", "a_mean", "a_second_moment", "a_variance", "z_cosine", "chi", "grad_z_second_moment",
             "grad_a_second_moment")  # fmt: skip
SPREADS = ("z_second_moment_sd", "a_second_moment_sd", "grad_z_second_moment_sd")
"""Standard deviations over networks, which only `finite_width` knows."""
_MAY_BE_UNDEFINED = ("z_cosine", "chi")


def table(promises: Sequence[Promise], columns: Mapping[str, Real], notes: Sequence[str] = ()) -> Table:
    """One network: each layer's place, what was predicted of it, and a note.

    A value that left float64 is NaN, and the note says so where there is no other in `notes`.
    """
    told = np.array([list(notes) or [""] * len(promises)], object).T
    (found,) = tables([promises], {name: values[:, None] for name, values in columns.items()}, told)
    return found


def tables(several: Sequence[Sequence[Promise]], columns: Columns, notes: Notes | None = None) -> list[Table]:
    """The same of several networks."""
    shape = len(several[0]), len(several)
    known = {name: np.where(np.isfinite(values), values, np.nan) for name, values in columns.items()}
    known = {name: known.get(name, np.full(shape, np.nan)) for name in (*PREDICTED, *SPREADS)}
    told = np.full(shape, "", object) if notes is None else notes.copy()
    lost = {name: np.isnan(known[name]) for name in PREDICTED if name not in _MAY_BE_UNDEFINED}
    for spot in zip(*np.nonzero(np.any(list(lost.values()), axis=0) & (told == "")), strict=True):
        told[spot] = f"beyond float64: {', '.join(name for name, out in lost.items() if out[spot])}"
    layers = [promise.layer for promise in several[0]]
    where = {name: np.array([getattr(layer, of) for layer in layers])
             for name, of in (("layer", "index"), ("fan_in", "fan_in"), ("fan_out", "fan_out"))}  # fmt: skip
    return [
        {**where, "weight_variance": np.array([promise.variance for promise in promises]),
         **{name: values[:, number] for name, values in known.items()}, "note": told[:, number]}
        for number, promises in enumerate(several)
    ]  # fmt: skip


def times(*factors: Real | float) -> Real:
    """The product; NaN where float64 cannot hold it."""
    product = np.asarray(math.prod(factors))
    true_zero = reduce(np.logical_or, (np.equal(factor, 0) for factor in factors))
    lost = ~np.isfinite(product) | (~true_zero & (np.abs(product) < np.finfo(float).tiny))
    return np.where(lost, np.nan, product)
