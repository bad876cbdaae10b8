"""Finite width forward: how the log moments of one network walk from layer to layer (`theory.finite_width`).

Three variances stand together in an array, `fixed same pair`: of the moment of one given input; of one of a batch,
whose length may vary; the covariance between those of two inputs, which their cosine decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.theory.response import Cosine, Local

Real = NDArray[np.float64]

HELD = (1e-140, 1e140)
"""Levels q whose fourth moments float64 holds."""


@dataclass
class Signal:
    """A layer's log moment: E of it for a given input, its variances, and what inputs of random length add to E."""

    mean: float
    spread: Real
    extra: float = 0.0

    def through(self, value: float, slope: float, bend: float, added: Real, correction: float = 0.0) -> Signal:
        """After log f, known by its value and two derivatives here, which adds variance of its own."""
        return Signal(
            mean=float(value + bend / 2 * self.spread[0] + correction - added[0] / 2),
            spread=slope**2 * self.spread + added,
            extra=float(slope * self.extra + bend / 2 * (self.spread[1] - self.spread[0])),
        )

    def weighted(self, gain: float, bias: float, by_units: Real) -> Signal:
        """After gain·m + bias, where the units add variance of their own: exact in mean and variance."""
        total, drawn = gain * np.exp(self.log_expectation) + bias, gain * np.exp(self._drawn) + bias
        spread = np.log1p((1 - bias / total) ** 2 * np.expm1(self.spread)) + by_units
        mean = np.log(total) - spread[0] / 2
        return Signal(float(mean), spread, float(np.log(drawn) - spread[1] / 2 - mean))

    @property
    def log_expectation(self) -> float:
        """log E of the moment, for a given input."""
        return float(self.mean + self.spread[0] / 2)

    @property
    def _drawn(self) -> float:
        """The same for an input of a batch."""
        return float(self.mean + self.extra + self.spread[1] / 2)


@dataclass
class Layer:
    """What is known of one layer on the way forward, and kept for the way back."""

    promise: Promise
    z: Signal
    cosine: Cosine
    share: float
    """Of the weights in E[z²]; the rest is the bias's."""
    by_units: Real
    """Log variance of E[z²] that its own number of units adds, `fixed same pair`."""
    kurtosis: float
    """Excess kurtosis of z."""
    local: Local
    a: Signal = field(init=False)

    def __post_init__(self) -> None:
        level, added = self.local.passed, self.passing(self.local)
        value, slope, bend = float(np.log(level.value)), float(level.slope), float(level.bend)
        self.a = self.z.through(value, slope, bend, added, float(level.curvature) * self.noise())

    @property
    def units(self) -> int:
        """How many there are."""
        return self.promise.layer.fan_out

    def noise(self, inputs: InputMoments | None = None) -> float:
        """What finite units and the weights' fourth moment change in a given input's average, per its curvature.

        With `inputs`: over a batch, whose inputs' levels also differ from the batch's mean.
        """
        if inputs is None:
            return float(self.kurtosis / 6 - self.by_units[0] / 2)
        kernel = self.z.spread - self.by_units
        apart = inputs.others * (kernel[1] - kernel[2]) - inputs.over_batch(self.by_units)
        return float(apart / 2 + self.kurtosis / 6)

    def passing(self, local: Local) -> Real:
        """Log variance that the layer's units add to E[a²], given E[z²]; `fixed same pair ...`."""
        square, level = local.phi**2, local.passed
        pair = local.covariance(square, square, self.cosine)
        whole = np.stack([local.covariance(square, square)] * 2 + [pair]) / level.value**2 / self.units
        return np.maximum(np.log1p(whole) - self.already(level.slope), 0.0)

    def already(self, slope: Real) -> Real:
        """Of the log variance of an average over Gaussian units, what E[z²] itself says: `fixed same pair ...`."""
        own = np.log1p(2 * np.array([1.0, 1.0, self.cosine.square]) / self.units)
        return np.multiply.outer(own, slope**2)

    def covariances(self, local: Local, f: Real, g: Real) -> Real:
        """Cov(f(u), g(v)) of a unit, given the mean of z² over the units; `fixed same pair ...`."""
        first = local.response(f).first * local.response(g).first
        same = local.covariance(f, g) - 2 * first
        return np.stack([same, same, local.covariance(f, g, self.cosine) - 2 * first * self.cosine.square])

    def average(self, f: Real) -> float:
        """E[f(z)] over the units of a network, f given at the nodes of `local`."""
        response = self.local.response(f)
        spread = self.z.spread[0]
        return float(response.value + (response.second + response.first) / 2 * spread + response.second * self.noise())


def drawn_input(first: Promise, inputs: InputMoments) -> tuple[Signal, Cosine]:
    """The input's mean square, given or drawn anew for each network, and the cosine between two."""
    squares = np.array(inputs.second_moment)
    level, features = squares.mean(), first.layer.fan_in
    if inputs.gaussian:
        same = 2 / features
        cosine = Cosine(inputs.cosine, (1 - inputs.cosine**2) ** 2 / features)
        return Signal(float(np.log(level)), np.array([0.0, same, same * inputs.cosine**2]), -same / 2), cosine
    spread = np.array([0.0, squares.var() / level**2, 0.0])
    return Signal(float(np.log(level)), spread), Cosine(inputs.cosine, inputs.cosine_variance)


def forward(activation: Activation, promises: Sequence[Promise], given: Signal, cosine: Cosine) -> list[Layer]:
    """First layer to last; `cosine` is that between two inputs of the layer."""
    fourth = 3.0  # E[x⁴] / E[x²]² of what comes in
    layers: list[Layer] = []
    for promise in promises:
        fan_in, fan_out = promise.layer.fan_in, promise.layer.fan_out
        gain = fan_in * promise.variance
        share = float(1 / (1 + promise.bias_variance / (gain * np.exp(given.log_expectation))))
        between = Cosine(share * cosine.mean + 1 - share, share**2 * cosine.variance)
        kurtosis = promise.excess_kurtosis * fourth / fan_in * share**2
        # Cov(z², z'²) of a unit: a Gaussian's, and the weights' fourth moment with that of what comes in
        squares = 2 * np.array([1.0, 1.0, between.square])
        by_units = (squares + kurtosis * np.array([1.0, 1.0, (1 + 2 * cosine.square) / 3])) / fan_out
        if promise.coupling == "orthogonal":  # z lies on a sphere of as many dimensions as the wider side has
            whole = max(fan_in, fan_out)
            by_units -= 2 / whole * share**2 * np.array([1.0, 1.0, cosine.square])
            kurtosis = -6 / (whole + 2) * share**2
        by_units = np.log1p(np.maximum(by_units, 0.0))
        z = given.weighted(gain, promise.bias_variance, by_units)
        if not HELD[0] < np.exp(z.mean) < HELD[1]:
            break
        local = Local(activation, np.exp(z.mean))
        layer = Layer(promise, z, between, share, by_units, kurtosis, local)
        layers.append(layer)
        given, fourth = layer.a, float(local.mean(local.phi**4) / local.passed.value**2)
        cosine = _cosine_passed(layer)
    return layers


def _cosine_passed(layer: Layer) -> Cosine:
    """The cosine between the activations of two inputs."""
    passed, slope, variance = layer.local.cosine_passed(layer.cosine)
    promise = layer.promise
    if promise.coupling == "orthogonal":  # keeps angles: what a linear layer would add is not there
        kept = slope**2 * (1 - layer.cosine.mean**2) ** 2 * layer.units / max(promise.layer.fan_in, layer.units)
        variance = np.maximum(variance - kept, 0.0)
    return Cosine(float(np.clip(passed, -1, 1)), float(slope**2 * layer.cosine.variance + variance / layer.units))
