"""The recursion of all laws of infinite width, for whatever stands in for the activation.

With sigma_w² = fan_in·Var(w), sigma_b² the bias variance and (u, v) Gaussian,

    q_l     = sigma_w² E[phi(z_(l-1))²] + sigma_b²           E[z²] of layer l; the input's own second moment for l = 1
    c_l q_l = sigma_w² E[phi(u) phi(v)] + sigma_b²           the cosine between two inputs
    chi_l   = fan_out_(l+1)·Var(w_(l+1)) E[phi'(z_l)²]       the gradient's ratio from layer l+1 to l

(Poole et al. 2016, eqs. 3 to 6; Schoenholz et al. 2017, eq. 5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.activations.closed_forms import PiecewiseLinear
from initbench.core.records import InputMoments
from initbench.theory.kept import Kept
from initbench.theory.moments import GaussianMoments, integrated, kernels
from initbench.theory.networks import Networks
from initbench.theory.rows import PREDICTED, Columns, times
from initbench.theory.several import Rows, Several

Real = NDArray[np.float64]
Stand = PiecewiseLinear | GaussianMoments

SLOPE = "slope"
"""E[phi'(z)²] of a layer, which the way back needs."""
KNOWN = 1e-10
"""What E[z²], relative, and a cosine may move without another integral E[phi(u) phi(v)]."""


@lru_cache(maxsize=8)  # mean field is also where finite width starts
def moments(stand_in: Callable[[Activation], Stand], networks: Networks, inputs: InputMoments) -> Columns:
    """The predicted columns, `layers networks`; NaN where float64 cannot hold them."""
    distinct, which = networks.distinct("variance", "bias_variance")
    with np.errstate(all="ignore"):
        stands = _Together(stand_in, distinct.activations, len(inputs.cosines) or 1)
        rows = _forward(stands, distinct, inputs)
        _backward(distinct, rows)
    return {name: np.stack([row[name].mean(axis=-1) for row in rows])[:, which] for name in PREDICTED}


def _forward(stands: _Together, networks: Networks, inputs: InputMoments) -> list[dict[str, Real]]:
    """The columns of each layer, `networks inputs`: one value for each of the input's second moments, or cosines."""
    second, lengths = np.array([inputs.second_moment]), len(inputs.second_moment)
    between = np.array([inputs.cosines or (inputs.cosine,)])
    product = between * second.mean(axis=-1, keepdims=True)  # E[a a'] between two inputs
    equal = bool((between == 1).all()) and lengths == 1  # they stay so, though rounding grows in chaos
    rows = []
    for promises in networks.layers:
        fan_in, variance, bias = promises.layer.fan_in, promises.variance, promises.bias_variance
        q = times(fan_in, variance[:, None], second) + bias[:, None]
        level = q.mean(axis=-1, keepdims=True)
        shared = fan_in * variance[:, None] * product + bias[:, None]
        cosine = level / level if equal else np.clip(shared / level, -1.0, 1.0)
        mean, spread, slope = stands.moments(q if lengths == 1 else np.append(q, level, axis=-1))
        alone = (spread + mean**2)[:, -1:]  # two inputs are held to one of their mean length
        mean, spread, slope = (of[:, :lengths] for of in (mean, spread, slope))
        second = spread + mean**2
        kept = second.mean(axis=-1, keepdims=True) / np.where(alone == 0, 1.0, alone)
        product = kept * stands.kernel(level, np.where(level > 0, cosine, 0.0))
        # over the whole batch, the samples' different means add to the variance
        rows.append({"z_second_moment": q, "z_cosine": cosine, "a_mean": mean, "a_second_moment": second,
                     "a_variance": (spread.mean(axis=-1) + mean.var(axis=-1))[:, None], SLOPE: slope})  # fmt: skip
    return rows


def _backward(networks: Networks, rows: list[dict[str, Real]]) -> None:
    """Fill the gradient columns, last layer first."""
    grad_a = np.ones_like(rows[-1][SLOPE])
    next_gain: Real = np.array(np.nan)  # the last layer has no next weight
    for promises, row in zip(reversed(networks.layers), reversed(rows), strict=True):
        grad_z = times(row[SLOPE], grad_a)
        row.update({"chi": next_gain * row[SLOPE], "grad_a_second_moment": grad_a, "grad_z_second_moment": grad_z})
        next_gain = (promises.layer.fan_out * promises.variance)[:, None]
        grad_a = times(next_gain, grad_z)


class _Together:
    """What stands in for each network's activation: closed forms group by group, all integrals at once."""

    def __init__(self, stand_in: Callable[[Activation], Stand], activations: Several, pairs: int) -> None:
        stands = [stand_in(kind) for kind in activations.kinds]
        open_ones = np.array([isinstance(stand, GaussianMoments) and stand.form is None for stand in stands])
        self.integrated = np.flatnonzero(open_ones[activations.which])
        numbers = {stand: np.array([other == stand for other in stands])
                   for stand, quadrature in zip(stands, open_ones, strict=True) if not quadrature}  # fmt: skip
        self.closed = [(stand, np.flatnonzero(of[activations.which])) for stand, of in numbers.items()]
        self._own = own = activations.at(self.integrated)
        self._moments = Kept(lambda rows, q: integrated(own.at(rows), q))
        self._kernels = Kept(lambda rows, q, c: [kernels(own.at(rows // pairs), q, c, self._known(rows // pairs))],
                             KNOWN)  # fmt: skip

    def moments(self, q: Real) -> Real:
        """E[phi], Var[phi] and E[phi'²], `3 networks inputs`."""
        found = np.empty((3, *q.shape))
        for stand, rows in self.closed:
            found[:, rows] = *stand.mean_and_variance(q[rows]), stand.slope_second_moment(q[rows])
        if len(self.integrated):
            level, grown = self._own.levels(q[self.integrated])
            mean, variance, slope, self._terms = self._moments(level)
            self._size = variance[:, -1] + mean[:, -1] ** 2
            found[:, self.integrated] = mean * np.sqrt(grown), variance * grown, slope
        return found

    def kernel(self, q: Real, c: Real) -> Real:
        """E[phi(u) phi(v)], `networks pairs`, at one q for all pairs of a network: the last of `moments`."""
        found = np.empty_like(c)
        for stand, rows in self.closed:
            found[rows] = stand.kernel(q[rows], c[rows])
        if len(self.integrated):
            level, grown = self._own.levels(q[self.integrated])
            own = c[self.integrated]
            kept = self._kernels(np.broadcast_to(level, own.shape).ravel(), own.ravel())[0]
            found[self.integrated] = kept.reshape(own.shape) * grown
        return found

    def _known(self, rows: Rows) -> tuple[Real, Real]:
        """What the last `moments` found of the series of these."""
        return self._terms[rows], self._size[rows]
