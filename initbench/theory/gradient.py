"""Finite width backward: the squared gradient of one network, as a function of each layer's level ξ.

Two effects are beyond mean field: the level that the slope depends on fluctuates; and the gradient knows its weights,
because given z = W a the part of W along a is known, so that s = z·dL/dz passes from layer to layer
(`Local.alignment`). For a rectifier both vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initbench.theory.fluctuation import Layer, Signal
from initbench.theory.response import SAME, Local

Real = NDArray[np.float64]


@dataclass
class Gradient:
    """A layer's squared gradient dL/dz, as a function of its ξ: log E at E ξ, two derivatives, variances given ξ."""

    value: float
    slope: float
    bend: float
    spread: Real
    carried: float
    """E[(z·dL/dz)²] over what it would be if the gradient did not know its weights."""
    between: float
    """E of the squared cosine between two inputs' gradients."""
    at_a: float = 0.0
    """log E[(dL/da)²] of this layer."""
    aligned: float = 0.0
    """The share that knowing the weights adds."""

    def log_expectation(self, z: Signal) -> float:
        """log E[(dL/dz)²] for a given input."""
        return float(self.value + (self.bend + self.slope**2) / 2 * z.spread[0])


def backward(layers: Sequence[Layer]) -> list[Gradient]:
    """Each layer's gradient, first layer to last."""
    found = [_at_the_end(layers[-1])]
    for layer, after in reversed(list(pairwise(layers))):
        found.append(_passed_back(layer, after, found[-1]))
    return found[::-1]


def returning(layer: Layer, local: Local, between: float, kept: float = 0.0) -> Real:
    """Log variance that the layer's units add to the squared gradient, given E[z²]; `fixed same pair ...`.

    The gradient at a is Gaussian, `between` its squared cosine between two inputs; orthogonal weights have `kept` its
    length, a share of the freedom of its units.
    """
    slopes, k = local.slope**2, local.returned
    found = []
    for cosine, square in ((SAME, 1.0), (SAME, 1.0), (layer.cosine, between)):
        by_slope = local.covariance(slopes, slopes, cosine) / k.value**2
        found.append(by_slope * (1 + 2 * square) + 2 * square * (1 - kept))
    return np.maximum(np.log1p(np.stack(found) / layer.units) - layer.already(k.slope), 0.0)


def _at_the_end(layer: Layer) -> Gradient:
    k = layer.local.returned
    _, power = layer.local.alignment
    value = float(np.log(k.value) + k.curvature * layer.noise())
    carried = float(power * layer.share + 1 - layer.share)
    spread = returning(layer, layer.local, 0.0)
    return Gradient(value, float(k.slope), float(k.bend), spread, carried, _between(layer, 0.0))


def _between(layer: Layer, at_a: float) -> float:
    """The squared cosine between two inputs' gradients at z, given that at a."""
    local, k = layer.local, layer.local.returned.value
    centre = local.mean(local.slope)
    kept = (local.covariance(local.slope, local.slope, layer.cosine) + centre**2) / k
    slopes = local.slope**2
    new = 1 + local.covariance(slopes, slopes, layer.cosine) / k**2
    return float(kept**2 * at_a + new * (1 - at_a) ** 2 / layer.units)


def _passed_back(layer: Layer, after: Layer, gradient: Gradient) -> Gradient:
    local, n = layer.local, layer.units
    k, level = local.returned, local.passed
    gain = np.log(after.units * after.promise.variance)
    orthogonal = after.promise.coupling == "orthogonal"
    knows = (gradient.carried - 1) / n
    aligned = knows * (local.mean((local.phi * local.slope) ** 2) / (level.value * k.value) - orthogonal)
    response = after.share * level.slope
    bend = after.share * level.bend + after.share * (1 - after.share) * level.slope**2
    step = after.z.spread - response**2 * layer.z.spread
    both = layer.covariances(local, local.phi**2, local.slope**2) / (level.value * k.value)
    together = after.share * both / n * gradient.slope
    later = (gradient.bend + gradient.slope**2) / 2
    value = (gain + np.log(k.value) + k.curvature * layer.noise() + np.log1p(aligned) + gradient.value + together[0]
             + later * step[0] - gradient.slope * bend / 2 * layer.z.spread[0])  # fmt: skip
    added = returning(layer, local, gradient.between, kept=orthogonal * n / max(n, after.units))
    pull, power = local.alignment
    return Gradient(
        value=float(value),
        slope=float(k.slope + gradient.slope * response),
        bend=float(k.bend + gradient.bend * response**2 + gradient.slope * bend),
        spread=gradient.spread + gradient.slope**2 * step + 2 * together + added,
        carried=float(layer.share * (pull * (gradient.carried - 1) + power) + 1 - layer.share),
        between=_between(layer, gradient.between),
        at_a=float(gain + np.log1p(knows * (not orthogonal)) + gradient.log_expectation(after.z)),
        aligned=float(aligned),
    )
