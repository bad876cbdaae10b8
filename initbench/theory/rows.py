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
Table = dict[str, list[Any]]
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
    unknown = np.full(len(promises), np.nan)
    predicted = {name: columns.get(name, unknown) for name in (*PREDICTED, *SPREADS)}
    predicted = {name: np.where(np.isfinite(values), values, np.nan) for name, values in predicted.items()}
    lost = {name: np.isnan(predicted[name]) for name in PREDICTED if name not in _MAY_BE_UNDEFINED}
    told = list(notes) or [""] * len(promises)
    for layer in np.flatnonzero(np.any(list(lost.values()), axis=0)):
        names = [name for name, where in lost.items() if where[layer]]
        told[layer] = told[layer] or f"beyond float64: {', '.join(names)}"
    return {
        "layer": [promise.layer.index for promise in promises],
        "fan_in": [promise.layer.fan_in for promise in promises],
        "fan_out": [promise.layer.fan_out for promise in promises],
        "weight_variance": [promise.variance for promise in promises],
        **{name: values.tolist() for name, values in predicted.items()},
        "note": told,
    }


def times(*factors: Real | float) -> Real:
    """The product; NaN where float64 cannot hold it."""
    product = np.asarray(math.prod(factors))
    true_zero = reduce(np.logical_or, (np.equal(factor, 0) for factor in factors))
    lost = ~np.isfinite(product) | (~true_zero & (np.abs(product) < np.finfo(float).tiny))
    return np.where(lost, np.nan, product)
