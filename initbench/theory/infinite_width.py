"""The recursion of all laws of infinite width, for whatever stands in for the activation.

With sigma_w² = fan_in·Var(w), sigma_b² the bias variance and (u, v) Gaussian,

    q_l     = sigma_w² E[phi(z_(l-1))²] + sigma_b²           E[z²] of layer l; the input's own second moment for l = 1
    c_l q_l = sigma_w² E[phi(u) phi(v)] + sigma_b²           the cosine between two inputs
    chi_l   = fan_out_(l+1)·Var(w_(l+1)) E[phi'(z_l)²]       the gradient's ratio from layer l+1 to l

(Poole et al. 2016, eqs. 3 to 6; Schoenholz et al. 2017, eq. 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from initbench.activations.closed_forms import PiecewiseLinear
from initbench.core.records import InputMoments, Promise
from initbench.theory.moments import GaussianMoments
from initbench.theory.rows import times

Real = NDArray[np.float64]
Stand = PiecewiseLinear | GaussianMoments


def moments(stand_in: Stand, promises: Sequence[Promise], inputs: InputMoments) -> list[dict[str, float]]:
    """The predicted columns of each layer, first to last; NaN where float64 cannot hold them."""
    variances = tuple(Promise(p.layer, p.variance, bias_variance=p.bias_variance) for p in promises)
    return [row.copy() for row in _moments(stand_in, variances, inputs)]


@lru_cache(maxsize=4096)
def _moments(stand_in: Stand, promises: Sequence[Promise], inputs: InputMoments) -> list[dict[str, float]]:
    """Initializers that differ in what infinite width does not see are computed once."""
    with np.errstate(all="ignore"):
        rows = _forward(stand_in, promises, inputs)
        _backward(stand_in, promises, rows)
    return [{name: float(np.mean(value)) for name, value in row.items()} for row in rows]


def _forward(stand_in: Stand, promises: Sequence[Promise], inputs: InputMoments) -> list[dict[str, Real]]:
    second = np.array(inputs.second_moment)
    product = inputs.cosine * second.mean()  # E[a a'] between two inputs
    rows = []
    for promise in promises:
        fan_in, variance = promise.layer.fan_in, promise.variance
        q = times(fan_in, variance, second) + promise.bias_variance
        level = q.mean()
        cosine = np.clip((fan_in * variance * product + promise.bias_variance) / level, -1.0, 1.0)
        mean, spread = stand_in.mean(q), stand_in.variance(q)
        second = spread + mean**2
        product = stand_in.kernel(level, cosine) if level > 0 else stand_in.mean(level) ** 2
        # over the whole batch, the samples' different means add to the variance
        rows.append({"z_second_moment": q, "z_cosine": cosine, "a_mean": mean, "a_second_moment": second,
                     "a_variance": spread.mean() + mean.var()})  # fmt: skip
    return rows


def _backward(stand_in: Stand, promises: Sequence[Promise], rows: list[dict[str, Real]]) -> None:
    """Fill the gradient columns, last layer first; one value for each of the input's second moments."""
    grad_a = np.ones_like(rows[-1]["z_second_moment"])
    next_gain = np.nan  # the last layer has no next weight
    for promise, row in zip(reversed(promises), reversed(rows), strict=True):
        slope = stand_in.slope_second_moment(row["z_second_moment"])
        grad_z = times(slope, grad_a)
        row.update({"chi": next_gain * slope, "grad_a_second_moment": grad_a, "grad_z_second_moment": grad_z})
        next_gain = promise.layer.fan_out * promise.variance
        grad_a = times(next_gain, grad_z)
