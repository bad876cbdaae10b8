"""A row of the table `predictions`, and products that never turn a lost value into a 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from initbench.core.records import Promise

Real = NDArray[np.float64]
Row = dict[str, float | str]

PREDICTED = ("z_second_moment", "a_mean", "a_second_moment", "a_variance", "z_cosine", "chi", "grad_z_second_moment",
             "grad_a_second_moment")  # fmt: skip
SPREADS = ("z_second_moment_sd", "a_second_moment_sd", "grad_z_second_moment_sd")
"""Standard deviations over networks, which only `finite_width` knows."""
_MAY_BE_UNDEFINED = ("z_cosine", "chi")


def record(promise: Promise, values: Mapping[str, float], note: str = "") -> Row:
    """One row: the layer, what was predicted of it, and a note where a value left float64 (it is NaN then)."""
    known = {name: values.get(name, np.nan) for name in (*PREDICTED, *SPREADS)}
    kept = {name: value if np.isfinite(value) else np.nan for name, value in known.items()}
    lost = [name for name in PREDICTED if np.isnan(kept[name]) and name not in _MAY_BE_UNDEFINED]
    layer = promise.layer
    place = {"layer": layer.index, "fan_in": layer.fan_in, "fan_out": layer.fan_out}
    told = note or (f"beyond float64: {', '.join(lost)}" if lost else "")
    return {**place, "weight_variance": promise.variance, **kept, "note": told}


def times(*factors: Real | float) -> Real:
    """The product; NaN where float64 cannot hold it."""
    product = np.asarray(math.prod(factors))
    true_zero = reduce(np.logical_or, (np.equal(factor, 0) for factor in factors))
    lost = ~np.isfinite(product) | (~true_zero & (np.abs(product) < np.finfo(float).tiny))
    return np.where(lost, np.nan, product)
