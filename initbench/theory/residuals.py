"""Measured networks held against `finite_width`, one layer at a time.

Given what the network itself measures at the layer before, theory says what this layer should do, with a spread of
order 1/sqrt(n) that does not grow with the depth. The deviations, in units of that spread, are independent from layer
to layer and standard normal where theory and code agree, whatever the depth, the activation and the batch.

First order in 1/n has an error of its own, and it is told: the corrections times the relative variance between a
batch's inputs, which is what the next order is made of, and likewise what one batch's own inequality moves in the
gradient. It is 0 for a rectifier, whose corrections vanish. Forward, where it is not small (SiLU, GELU and Mish with
He's weights), the density of the inputs' levels takes first order's place (`theory.inequality`). Where a few large
weights decide, as where nearly all are 0, nothing is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.core.threads import one_thread
from initbench.theory import infinite_width
from initbench.theory.finite_width import HEAVY, Walk, walked
from initbench.theory.fluctuation import HELD, Layer
from initbench.theory.gradient import by_units, log_variance
from initbench.theory.inequality import Coming, Levels
from initbench.theory.moments import GaussianMoments
from initbench.theory.networks import Networks
from initbench.theory.response import SLOPE_SQUARE, SQUARE, Local
from initbench.theory.several import is_homogeneous

Real = NDArray[np.float64]

TOGETHER = 256
"""Networks whose quadratures are held in memory at once."""
LARGEST = 1.0
"""A log variance of one layer beyond which first order says nothing: no deviation is told of it."""
DOUBTFUL = 0.1
"""Of a layer's spread: the error of first order from which on the density of a batch's levels is followed."""
ROUNDING = 1e-5
"""Of measured moments: what orthogonal weights and a linear network leave of a spread that is exactly 0."""


@dataclass
class Residuals:
    """`networks layers`, NaN where a moment is 0, not known, or beyond what the law holds for."""

    forward: Real
    """Of z_second_moment given the layer before (the first: the input), in standard deviations."""
    forward_doubt: Real
    """The theory's own error, in the same unit: shared by all networks, so no number of them averages it away."""
    backward: Real
    """Of grad_z_second_moment given the layer after and this layer's own z_second_moment."""
    backward_doubt: Real
    forward_bias: Real
    """Of log z_second_moment from what infinite width and this network's spread expect, in standard deviations."""
    backward_bias: Real
    """Of log grad_z_second_moment likewise."""


@one_thread()
def residuals(
    activation: Activation,
    promises: Sequence[Promise],
    inputs: InputMoments,
    z: Real,
    gradients: Real,
    scales: Real | float = 0.0,
) -> Residuals:
    """Deviations of measured z_second_moment and grad_z_second_moment, `networks layers`, from what theory expects.

    `scales` is log E[w²] over the promised, where weights adapt to data: a layer is held to the weights that it has.
    """
    found = Residuals(*(np.full_like(z, np.nan) for _ in range(6)))
    if not all(promise.random for promise in promises):
        return found
    networks = Networks.of([(activation, promises)])
    walk, infinite = walked(networks, inputs), infinite_width.moments(GaussianMoments, networks, inputs)
    with np.errstate(all="ignore"):
        level = np.log(np.where((z > HELD[0]) & (z < HELD[1]), z, np.nan))
        gradient = np.log(np.where((gradients > 0) & np.isfinite(gradients), gradients, np.nan))
        doubtful, scale = _doubtful(walk, inputs), np.broadcast_to(scales, z.shape)
        even = is_homogeneous(activation)
        for rows in np.array_split(np.arange(len(z)), -(-len(z) // TOGETHER)):
            step: Step | Followed = _from_input(walk, inputs)
            levels = Levels(networks, walk.layers, level[rows], inputs) if doubtful else None
            followed = levels if levels and levels.known else None
            for number, layer in enumerate(walk.layers):
                place = (rows, number)
                found.forward[place], found.forward_doubt[place] = step.arrived(
                    layer, level[place], scale[place], inputs
                )
                local = Local(activation, np.exp(level[place]))
                steep, share = np.abs(local.returned.slope), None
                if followed:
                    steep, share = np.maximum(steep, followed.steepness(number)), followed.shares
                moved = steep * _unsteady(_apart(layer.z.spread), inputs, share)
                back = _back(walk, number, local, gradient[rows], scale[rows], inputs, moved, even)
                found.backward[place], found.backward_doubt[place] = back
                if followed and number + 1 < len(walk.layers):
                    step = Followed(followed.onward(number), 0 * level[place])
                else:
                    step = _onward(layer, local, inputs, even)
        for number, (layer, own) in enumerate(zip(walk.layers, walk.gradients, strict=True)):
            forward, backward = (infinite[name][number] for name in ("z_second_moment", "grad_z_second_moment"))
            spread = inputs.over_batch(layer.z.spread)
            found.forward_bias[:, number] = _off(level[:, number], forward, spread)
            spread = inputs.over_batch(own.slope**2 * layer.z.spread + own.spread)
            found.backward_bias[:, number] = _off(gradient[:, number], backward, spread)
    for table in vars(found).values():
        table[:, _heavy(walk)] = np.nan
    return found


def _heavy(walk: Walk) -> NDArray[np.bool_]:
    """Which layers have a few large weights that decide, or one beside them has."""
    own = np.array([bool(layer.kurtosis > HEAVY) for layer in walk.layers])
    before, after = np.append(False, own[:-1]), np.append(own[1:], False)
    return own | before | after


def _off(found: Real, expected: Real, spread: Real) -> Real:
    """Deviation of a logarithm from that of a log-normal number of this expectation."""
    return (found - np.log(expected) + spread / 2) / spread**0.5


@dataclass
class Step:
    """What a layer hands to the next, given what it measures itself."""

    coming: Real
    """log E of the batch's mean square."""
    spread: Real
    """Log variances, `fixed same pair ...`."""
    unequal: float
    """Relative variance between the inputs of a batch."""
    correction: Real
    """What first order changed in `coming`."""
    even: bool = False
    """Whether the spread is even about its mean (`_standardized`)."""

    def arrived(self, layer: Layer, level: Real, scale: Real, inputs: InputMoments) -> tuple[Real, Real]:
        """Deviation and doubt of the level that the next layer measures."""
        promises = layer.promises
        weights = promises.layer.fan_in * promises.variance * np.exp(self.coming + scale)
        share = weights / (weights + promises.bias_variance)
        before, by_units = (inputs.over_batch(of, self.unequal) for of in (share**2 * self.spread, layer.by_units))
        variance = before + by_units
        doubt = self.correction * (self.unequal + _unsteady(self.unequal, inputs))
        even = _share(before, variance) if self.even else 0.0
        return _standardized(level, np.log(weights + promises.bias_variance), variance, doubt, even)


@dataclass
class Followed:
    """The same, where the density of the batch's levels is followed (`theory.inequality`)."""

    coming: Coming
    known: Real
    """0, or NaN where the layer before is not known."""

    def arrived(self, _layer: Layer, level: Real, scale: Real, _inputs: InputMoments) -> tuple[Real, Real]:
        """As of `Step`; a scale is of layers without biases."""
        doubt = self.coming.unsteady * self.coming.variance**0.5
        return _standardized(level, self.coming.log + scale + self.known, self.coming.variance, doubt)


def _doubtful(walk: Walk, inputs: InputMoments) -> bool:
    """Whether what first order leaves unknown of some layer's mean square is more than a little of its spread."""
    if inputs.batch == 1 or not np.isfinite([layer.z.mean for layer in walk.layers]).all():
        return False
    for layer, after in pairwise(walk.layers):
        correction, apart = layer.local.passed.curvature * layer.noise(inputs), _apart(layer.z.spread)
        spread = inputs.over_batch(layer.passing(layer.local) + after.by_units)
        if np.abs(correction) * (apart + _unsteady(apart, inputs)) > DOUBTFUL * spread**0.5:
            return True
    return False


def _from_input(walk: Walk, inputs: InputMoments) -> Step:
    return Step(walk.given.log_expectation, walk.given.spread, 0.0, np.zeros(1))


def _onward(layer: Layer, local: Local, inputs: InputMoments, even: bool) -> Step:
    passed = local.passed
    correction = passed.curvature * layer.noise(inputs)
    return Step(np.log(passed.value) + correction, layer.passing(local), _apart(layer.z.spread), correction, even)


def _back(
    walk: Walk, number: int, local: Local, gradient: Real, scale: Real, inputs: InputMoments, moved: Real, even: bool
) -> tuple[Real, Real]:
    """Deviation and doubt of a layer's squared gradient.

    `moved` is what one batch's own inequality may do to log E[phi'²], per standard deviation of the gradients.
    """
    layer, own, k, passed = walk.layers[number], walk.gradients[number], local.returned, local.passed
    correction = k.curvature * layer.noise(inputs)
    expected, found = np.log(k.value) + correction, gradient[:, number]
    if number + 1 == len(walk.layers):
        nothing, doubt = np.zeros(1), correction * _apart(layer.z.spread)
        parts = by_units(layer, local, nothing, nothing, nothing)
        variance = inputs.over_batch(log_variance(layer, local, *parts))
        return _standardized(found, expected, variance, doubt, even * _by_slopes(*parts, inputs))
    after, later = walk.layers[number + 1], walk.gradients[number + 1]
    kept = after.promises.orthogonal * layer.units / max(layer.units, after.units)
    # within a batch, an input that is louder than the rest here has another gradient from above
    both = layer.covariances(local, SQUARE, SLOPE_SQUARE) / (passed.value * k.value) / layer.units
    louder = k.slope * passed.slope * _apart(layer.z.spread) + both[1] - both[2]
    together = later.slope * after.share * inputs.others * louder
    expected = expected + np.log(after.units * after.promises.variance) + np.log1p(own.aligned) + together
    unequal, apart = _apart(later.slope**2 * after.z.spread + later.spread), _apart(layer.z.spread)
    parts = by_units(layer, local, later.between, kept, later.kurtosis)
    variance = inputs.over_batch(log_variance(layer, local, *parts), unequal)
    doubt = (np.abs(correction) + np.abs(together) + np.abs(own.aligned)) * (unequal + apart)
    doubt = doubt + (unequal * apart) ** 0.5 * moved
    expected = expected + gradient[:, number + 1] + scale[:, number + 1]
    return _standardized(found, expected, variance, doubt, even * _by_slopes(*parts, inputs))


def _by_slopes(by_slope: Real, by_gradient: Real, inputs: InputMoments) -> Real:
    """The first's share of the variance of a batch's mean."""
    return _share(inputs.over_batch(by_slope), inputs.over_batch(by_slope + by_gradient))


def _share(part: Real, whole: Real) -> Real:
    return part / np.maximum(whole, np.finfo(float).tiny)  # of orthogonal weights and a linear network both are 0


def _apart(spread: Real) -> float:
    """Relative variance between the inputs of one network's batch."""
    return max(float((spread[1] - spread[2]).item()), 0.0)


def _unsteady(apart: float, inputs: InputMoments, share: Real | None = None) -> Real:
    """How far batches differ in the variance `apart` between their inputs, in standard deviations of a log-normal's.

    A batch that is more unequal than others stays so from layer to layer, which is of the next order where little is
    apart. `share` is one over the number of inputs that count, E[sum q² / (sum q)²]: all of the batch, if not given.
    """
    share = np.array(1 / inputs.batch) if share is None else share
    return inputs.others * min(apart, 1.0) * np.minimum((2 + 16 * apart) * share, 1.0) ** 0.5


def _standardized(
    found: Real, log_expectation: Real, variance: Real, error: Real, even: Real | float = 0.0
) -> tuple[Real, Real]:
    """Deviation from what is expected, and the error, both in standard deviations.

    One layer adds a mean of squares over its units: a gamma variable, of relative variance v. Its cube root is normal
    with mean 1 - v/9 and variance v/9 (Wilson & Hilferty 1931) down to a few units, where its logarithm is skewed by
    -sqrt(v). Of a function of two rays the share `even` of the variance is how many units, and how much of z, are on
    either of them, which is even about its mean: then the power is that which undoes the third moment of both, with
    mean and variance to second order in v (Jensen & Solomon 1972).
    """
    relative, power = np.expm1(variance), ((1 - even) ** 2 + 3 * even**2) / 3
    spread = relative * (1 - (1 - power) * (1 - 3 * power) / 2 * relative)
    whole = np.sqrt(spread + error**2 + ROUNDING**2)
    moved = np.expm1(power * (found - log_expectation)) / power + (1 - power) / 2 * spread
    return np.where(variance < LARGEST, moved, np.nan) / whole, np.abs(error) / whole
