"""Finite width backward: the squared gradient of one network, as a function of each layer's level ξ.

Two effects are beyond mean field: the level that the slope depends on fluctuates; and the gradient knows its weights,
because given z = W a the part of W along a is known, so that s = z·dL/dz passes from layer to layer
(`Local.alignment`); of a single weight by its fourth moment: E[w² f(z)] = E[w²] E[f] + a²/2 (E[w⁴] - E[w²]²) E[f''].
For a rectifier both vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initbench.theory.fluctuation import Layer, Signal, fixed_same_pair
from initbench.theory.response import SLOPE, SLOPE_SQUARE, SQUARE, Local

Real = NDArray[np.float64]

LEAST_KURTOSIS = -2.0
"""An excess that no distribution is below: a sum of one to three units to first order would be."""


@dataclass
class Gradient:
    """A layer's squared gradient dL/dz, as a function of its ξ: log E at E ξ, two derivatives, variances given ξ."""

    value: Real
    slope: Real
    bend: Real
    spread: Real
    carried: Real
    """E[(z·dL/dz)²] over what it would be if the gradient did not know its weights."""
    between: Real
    """E of the squared cosine between two inputs' gradients."""
    kurtosis: Real
    """Excess kurtosis of dL/da of the layer before, a sum over this one's units, by the weights' fourth moment."""
    above: Real
    """log of E[(dL/da)²] of this layer over E[(dL/dz)²] of the next."""
    aligned: Real
    """The share that knowing the weights adds."""

    def log_expectation(self, z: Signal, drawn: bool = False) -> Real:
        """log E[(dL/dz)²] for a given input, or one of a batch that is `drawn` anew."""
        moved = self.slope * z.extra if drawn else 0.0
        return self.value + moved + (self.bend + self.slope**2) / 2 * z.spread[int(drawn)]


def backward(layers: Sequence[Layer]) -> list[Gradient]:
    """Each layer's gradient, first layer to last."""
    found = [_at_the_end(layers[-1])]
    for layer, after in reversed(list(pairwise(layers))):
        found.append(_passed_back(layer, after, found[-1]))
    return found[::-1]


def returning(layer: Layer, local: Local, between: Real, kept: Real, kurtosis: Real) -> Real:
    """Log variance that the layer's units add to the squared gradient, given E[z²]; `fixed same pair`.

    Arguments as of `by_units`.
    """
    return log_variance(layer, local, *by_units(layer, local, between, kept, kurtosis))


def log_variance(layer: Layer, local: Local, by_slope: Real, by_gradient: Real) -> Real:
    """The same from its two parts."""
    return np.maximum(np.log1p(by_slope + by_gradient) - layer.already(local.returned.slope), 0.0)


def by_units(layer: Layer, local: Local, between: Real, kept: Real, kurtosis: Real) -> tuple[Real, Real]:
    """Relative variance of the squared gradient at z by the units' slopes, and by those of a: `fixed same pair`.

    The gradient at a is Gaussian but for its excess `kurtosis`, `between` its squared cosine between two inputs;
    orthogonal weights have `kept` its length, a share of the freedom of its units.
    """
    square = fixed_same_pair(1.0, between) + kurtosis / 2 * fixed_same_pair(1.0, (1 + 2 * between) / 3)
    own, pair = (local.covariance(SLOPE_SQUARE, SLOPE_SQUARE, cosine) for cosine in (None, layer.cosine))
    by_slope = fixed_same_pair(own, pair) / local.returned.value**2
    return by_slope * (1 + 2 * square) / layer.units, 2 * square * (1 - kept) / layer.units


def _at_the_end(layer: Layer) -> Gradient:
    k, nothing = layer.local.returned, np.zeros_like(layer.z.mean)
    _, power = layer.local.alignment
    return Gradient(
        value=np.log(k.value) + k.curvature * layer.noise(),
        slope=k.slope,
        bend=k.bend,
        spread=returning(layer, layer.local, nothing, nothing, nothing),
        carried=power * layer.share + 1 - layer.share,
        between=_between(layer, nothing),
        kurtosis=_kurtosis(layer, nothing),
        above=nothing,
        aligned=nothing,
    )


def _between(layer: Layer, at_a: Real) -> Real:
    """The squared cosine between two inputs' gradients at z, given that at a."""
    local, k = layer.local, layer.local.returned.value
    kept = (local.covariance(SLOPE, SLOPE, layer.cosine) + local.mean[..., SLOPE] ** 2) / k
    new = 1 + local.covariance(SLOPE_SQUARE, SLOPE_SQUARE, layer.cosine) / k**2
    return np.minimum(kept**2 * at_a + new * (1 - at_a) ** 2 / layer.units, 1.0)


def _kurtosis(layer: Layer, at_a: Real) -> Real:
    """Of dL/da of the layer before, given that of this layer's own."""
    by_slope = layer.local.covariance(SLOPE_SQUARE, SLOPE_SQUARE) / layer.local.returned.value**2
    fourth = (3 + at_a) * (1 + by_slope)
    of_sum = np.maximum(layer.promises.excess_kurtosis * fourth / layer.units, LEAST_KURTOSIS)
    return np.where(layer.promises.orthogonal, 0.0, of_sum)


def _passed_back(layer: Layer, after: Layer, gradient: Gradient) -> Gradient:
    local, n = layer.local, layer.units
    k, level = local.returned, local.passed
    gain = np.log(after.units * after.promises.variance)
    orthogonal = after.promises.orthogonal
    knows = (gradient.carried - 1) / n * (1 + np.where(orthogonal, 0.0, after.promises.excess_kurtosis) / 2)
    aligned = knows * (local.product(SQUARE, SLOPE_SQUARE) / (level.value * k.value) - orthogonal)
    response = after.share * level.slope
    bend = after.share * level.bend + after.share * (1 - after.share) * level.slope**2
    step = after.z.spread - response**2 * layer.z.spread
    both = layer.covariances(local, SQUARE, SLOPE_SQUARE) / (level.value * k.value)
    together = after.share * both / n * gradient.slope
    later = (gradient.bend + gradient.slope**2) / 2
    value = (gain + np.log(k.value) + k.curvature * layer.noise() + np.log1p(aligned) + gradient.value + together[0]
             + later * step[0] - gradient.slope * bend / 2 * layer.z.spread[0])  # fmt: skip
    added = returning(layer, local, gradient.between, orthogonal * n / max(n, after.units), gradient.kurtosis)
    pull, power = local.alignment
    return Gradient(
        value=value,
        slope=k.slope + gradient.slope * response,
        bend=k.bend + gradient.bend * response**2 + gradient.slope * bend,
        spread=gradient.spread + gradient.slope**2 * step + 2 * together + added,
        carried=layer.share * (pull * (gradient.carried - 1) + power) + 1 - layer.share,
        between=_between(layer, gradient.between),
        kurtosis=_kurtosis(layer, gradient.kurtosis),
        above=gain + np.log1p(knows * ~orthogonal),
        aligned=aligned,
    )
