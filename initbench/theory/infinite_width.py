"""The recursion of all laws of infinite width, for whatever stands in for the activation.

With sigma_w² = fan_in·Var(w), sigma_b² the bias variance and (u, v) Gaussian,

    q_l     = sigma_w² E[phi(z_(l-1))²] + sigma_b²           E[z²] of layer l; the input's own second moment for l = 1
    c_l q_l = sigma_w² E[phi(u) phi(v)] + sigma_b²           the cosine between two inputs
    chi_l   = fan_out_(l+1)·Var(w_(l+1)) E[phi'(z_l)²]       the gradient's ratio from layer l+1 to l

(Poole et al. 2016, eqs. 3 to 6; Schoenholz et al. 2017, eq. 5).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from initbench.activations.closed_forms import PiecewiseLinear
from initbench.core.records import InputMoments
from initbench.theory.moments import GaussianMoments
from initbench.theory.networks import Networks
from initbench.theory.rows import Columns, times

Real = NDArray[np.float64]
Stand = PiecewiseLinear | GaussianMoments

TOGETHER = 10
"""Layers whose quadratures are held in memory at once."""
STILL = 1e-12
"""What E[z²], relative, and a cosine may move without another E[phi(u) phi(v)]."""


@lru_cache(maxsize=8)  # mean field is also where finite width starts
def moments(stand_in: Stand, networks: Networks, inputs: InputMoments) -> Columns:
    """The predicted columns, `layers networks`; NaN where float64 cannot hold them."""
    distinct, which = networks.distinct()
    with np.errstate(all="ignore"):
        rows = _forward(stand_in, distinct, inputs)
        _backward(stand_in, distinct, rows)
    return {name: np.stack([row[name].mean(axis=-1) for row in rows])[:, which] for name in rows[0]}


def _forward(stand_in: Stand, networks: Networks, inputs: InputMoments) -> list[dict[str, Real]]:
    """The columns of each layer, `networks inputs`: one value for each of the input's second moments."""
    second = np.array([inputs.second_moment])
    product = inputs.cosine * second.mean(axis=-1)  # E[a a'] between two inputs
    kernel, rows = _Kernel(stand_in), []
    for promises in networks.layers:
        fan_in, variance, bias = promises.layer.fan_in, promises.variance, promises.bias_variance
        q = times(fan_in, variance[:, None], second) + bias[:, None]
        level = q.mean(axis=-1)
        cosine = np.clip((fan_in * variance * product + bias) / level, -1.0, 1.0)
        mean, spread = stand_in.mean_and_variance(q)
        second = spread + mean**2
        product = kernel(level, np.where(level > 0, cosine, 0.0))
        # over the whole batch, the samples' different means add to the variance
        rows.append({"z_second_moment": q, "z_cosine": cosine[:, None], "a_mean": mean, "a_second_moment": second,
                     "a_variance": (spread.mean(axis=-1) + mean.var(axis=-1))[:, None]})  # fmt: skip
    return rows


class _Kernel:
    """E[phi(u) phi(v)] layer after layer, integrated anew only for networks that have moved since."""

    def __init__(self, stand_in: Stand) -> None:
        self.stand_in = stand_in
        self.known: tuple[Real, Real, Real] | None = None

    def __call__(self, q: Real, c: Real) -> Real:
        if self.known is None:
            self.known = q.copy(), c.copy(), self.stand_in.kernel(q, c)
        old_q, old_c, product = self.known
        moved = ~((np.abs(q - old_q) <= STILL * q) & (np.abs(c - old_c) <= STILL))
        old_q[moved], old_c[moved] = q[moved], c[moved]
        product[moved] = self.stand_in.kernel(q[moved], c[moved])
        return product.copy()


def _backward(stand_in: Stand, networks: Networks, rows: list[dict[str, Real]]) -> None:
    """Fill the gradient columns, last layer first."""
    levels = np.stack([row["z_second_moment"] for row in rows])
    blocks = np.array_split(levels, -(-len(levels) // TOGETHER))
    slopes = np.concatenate([stand_in.slope_second_moment(block) for block in blocks])
    grad_a = np.ones_like(levels[-1])
    next_gain: Real = np.array(np.nan)  # the last layer has no next weight
    for promises, row, slope in zip(reversed(networks.layers), reversed(rows), reversed(slopes), strict=True):
        grad_z = times(slope, grad_a)
        row.update({"chi": next_gain * slope, "grad_a_second_moment": grad_a, "grad_z_second_moment": grad_z})
        next_gain = (promises.layer.fan_out * promises.variance)[:, None]
        grad_a = times(next_gain, grad_z)
