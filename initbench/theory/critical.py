"""Criticality in mean-field theory, and the gains of an activation.

A weight variance sigma_w² = fan_in·Var(w) is critical where the variance map has a fixed point
q* = sigma_w² E[phi(z)²] + sigma_b², z ~ N(0, q*), at which chi_1 = sigma_w² E[phi'(z)²] = 1: there gradients neither
vanish nor explode (Poole et al. 2016; Schoenholz et al. 2017, eqs. 3 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.errors import UsageError
from initbench.theory.moments import GaussianMoments, linearized
from initbench.theory.roots import roots

Real = NDArray[np.float64]

SEARCHED = (1e-8, 1e8)
"""The q* among which critical points are sought."""
LOG_Q = np.linspace(np.log(SEARCHED[0]), np.log(SEARCHED[1]), 400)
_TINY = 1e-6  # where the map's curvature decides whether q* = 0 attracts


@dataclass(frozen=True)
class CriticalPoint:
    """A point of criticality of one activation at one bias variance."""

    weight_variance: float
    """sigma_w² = fan_in·Var(w)."""
    q: float
    """q*, the fixed point of E[z²]; 0 stands for all where every q is one."""
    attracting: bool
    """Whether E[z²] returns to q* after a disturbance."""
    every_q: bool = False
    """Whether the map is linear in q, so that every q is a fixed point and E[z²] stays where it is."""


@lru_cache
def critical(activation: Activation, bias_variance: float = 0.0) -> CriticalPoint:
    """The critical point of `activation` with bias variance sigma_b²; an attracting one before a repelling one.

    Raises `UsageError` with the reason where there is none.
    """
    at_zero = _at_zero(activation, bias_variance)
    if any(point.attracting for point in at_zero):  # the first in the order below: no other needs to be sought
        return at_zero[0]
    (points,) = critical_points(activation, [bias_variance])
    if not points:
        raise UsageError(why_none(activation, bias_variance))
    return min(points, key=lambda point: (not point.attracting, point.q))


def critical_points(activation: Activation, bias_variances: Sequence[float]) -> list[list[CriticalPoint]]:
    """All critical points at each bias variance sigma_b², by rising q*: none, one, or one for each branch of the line.

    With chi_1 = 1 put in, a fixed point is a root of q = E[phi²] / E[phi'²] + sigma_b²; among `SEARCHED` all are found,
    also two that are about to meet. q* = 0 is one where phi(0) = 0 and sigma_b² = 0.
    """
    moments, biases = GaussianMoments(activation), np.array(bias_variances, float)

    def excess(log_q: Real, bias: Real) -> Real:
        q = np.exp(log_q)
        passed, returned = moments.second_moments(q)
        with np.errstate(divide="ignore", invalid="ignore"):  # a function that is flat around 0 has no slope there
            return 1 - (passed / returned + bias) / q

    found = roots(excess, LOG_Q, biases)
    points = [_at_zero(activation, bias) for bias in bias_variances]
    if len(found.row):
        for row, point in zip(found.row, _points(moments, np.exp(found.place)), strict=True):
            points[row].append(point)
    return points


def _at_zero(activation: Activation, bias_variance: float) -> list[CriticalPoint]:
    """q* = 0, which needs phi(0) = 0 and no bias: sigma_w² = 1 / E[phi'²], read from the slopes at 0."""
    slope = float(linearized(activation).slope_second_moment(np.zeros(())))
    if bias_variance != 0 or activation.at_zero != 0 or slope == 0:
        return []
    q = np.array([_TINY, 1.0, 1 / _TINY])
    factor = GaussianMoments(activation).second_moment(q) / (slope * q)
    if np.allclose(factor, 1, rtol=0, atol=1e-12):
        return [CriticalPoint(1 / slope, 0.0, attracting=False, every_q=True)]
    return [CriticalPoint(1 / slope, 0.0, attracting=bool(factor[0] <= 1 + 1e-12))]


def _points(moments: GaussianMoments, q: Real) -> list[CriticalPoint]:
    """With chi_1 = 1 at these fixed points; one attracts where the map's own slope there is below 1."""
    weight_variance, step = 1 / moments.slope_second_moment(q), 1e-4
    rise = moments.second_moment(q * (1 + step)) - moments.second_moment(q * (1 - step))
    attracting = weight_variance * rise < 2 * step * q
    return [CriticalPoint(float(w), float(level), bool(attracts))
            for w, level, attracts in zip(weight_variance, q, attracting, strict=True)]  # fmt: skip


def why_none(activation: Activation, bias_variance: float) -> str:
    """The sentence for an activation that is nowhere critical at this bias variance."""
    what = f"{activation.spec} has no critical weight variance at bias variance {bias_variance:g}"
    moments, one = GaussianMoments(activation), np.ones(())
    if moments.slope_second_moment(one) == 0:
        return f"{what}: phi' is 0 wherever there is one, and so is chi_1 at any weight variance"
    if bias_variance > 0 and activation.at_zero == 0:
        q = np.exp(LOG_Q)
        passed, returned = moments.second_moments(q)
        if (passed + bias_variance * returned < q * returned).any():  # and grows where q is small, so it is between
            return (f"{what}: it would be where E[z²] is near {bias_variance:g}, and there phi' is so rarely other than"
                    " 0 that its average is not known")  # fmt: skip
        return f"{what}: where chi_1 = 1, each layer adds the bias's variance and E[z²] grows without end"
    grows = float(moments.second_moment(one)) > float(moments.slope_second_moment(one))
    way = "grows" if grows else "shrinks"
    return f"{what}: wherever chi_1 = 1, E[z²] {way} from layer to layer and has no fixed point"


@dataclass(frozen=True)
class Gains:
    """What is called "the gain" of an activation, each under its own name; gain² / fan_in is a weight variance."""

    torch: float | None
    """torch.nn.init.calculate_gain, where torch knows the activation."""
    moment: float
    """1 / sqrt(E[phi(z)²]), z ~ N(0, 1): keeps E[z²] = 1 from layer to layer."""
    backward: float
    """1 / sqrt(E[phi'(z)²]), z ~ N(0, 1): keeps the gradient's second moment where E[z²] = 1."""


@lru_cache
def moment_gain_square(activation: Activation) -> float:
    """1 / E[phi(z)²], z ~ N(0, 1)."""
    return 1 / float(GaussianMoments(activation).second_moment(np.ones(())))


def gains(activation: Activation) -> Gains:
    """The gains of `activation`."""
    known = activation.torch_gain
    return Gains(
        torch=None if known is None else float(torch.nn.init.calculate_gain(known[0], known[1])),  # type: ignore[arg-type]
        moment=moment_gain_square(activation) ** 0.5,
        backward=float(GaussianMoments(activation).slope_second_moment(np.ones(())) ** -0.5),
    )
