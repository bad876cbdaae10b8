"""Finite width forward: how the log moments of one network walk from layer to layer (`theory.finite_width`).

All networks go together: a number is an array, an entry a network, and broadcasts over what is measured of it. Three
variances stand together in an array, `fixed same pair`, before that axis: of the moment of one given input; of one of a
batch, whose length may vary; the covariance between those of two inputs, which their cosine decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from initbench.core.records import InputMoments
from initbench.core.records import Layer as Place
from initbench.theory.networks import Networks, Promises
from initbench.theory.response import SQUARE, Averages, Cosine, Local

Real = NDArray[np.float64]

HELD = (1e-140, 1e140)
"""Levels q whose fourth moments float64 holds."""


@dataclass
class Signal:
    """A layer's log moment: E of it for a given input, its variances, and what inputs of random length add to E."""

    mean: Real
    spread: Real
    extra: Real

    def through(self, value: Real, slope: Real, bend: Real, added: Real, correction: Real) -> Signal:
        """After log f, known by its value and two derivatives here, which adds variance of its own."""
        return Signal(
            mean=value + bend / 2 * self.spread[0] + correction - added[0] / 2,
            spread=slope**2 * self.spread + added,
            extra=slope * self.extra + bend / 2 * (self.spread[1] - self.spread[0]),
        )

    def weighted(self, gain: Real, bias: Real, by_units: Real) -> Signal:
        """After gain·m + bias, where the units add variance of their own: exact in mean and variance."""
        total, drawn = gain * np.exp(self.log_expectation) + bias, gain * np.exp(self.log_mean(drawn=True)) + bias
        spread = np.log1p((1 - bias / total) ** 2 * np.expm1(self.spread)) + by_units
        mean = np.log(total) - spread[0] / 2
        return Signal(mean, spread, np.log(drawn) - spread[1] / 2 - mean)

    @property
    def log_expectation(self) -> Real:
        """log E of the moment, for a given input."""
        return self.mean + self.spread[0] / 2

    def log_mean(self, drawn: bool) -> Real:
        """The same, or that for an input of a batch, `drawn` anew."""
        return self.mean + self.extra + self.spread[1] / 2 if drawn else self.log_expectation


@dataclass
class Layer:
    """What is known of one layer on the way forward, and kept for the way back."""

    promises: Promises
    z: Signal
    cosine: Cosine
    share: Real
    """Of the weights in E[z²]; the rest is the bias's."""
    by_units: Real
    """Log variance of E[z²] that its own number of units adds, `fixed same pair`."""
    kurtosis: Real
    """Excess kurtosis of z."""
    local: Local
    a: Signal = field(init=False)

    def __post_init__(self) -> None:
        level, added = self.local.passed, self.passing(self.local)
        self.a = self.z.through(np.log(level.value), level.slope, level.bend, added, level.curvature * self.noise())

    @property
    def units(self) -> int:
        """How many there are."""
        return self.promises.layer.fan_out

    def noise(self, inputs: InputMoments | None = None) -> Real:
        """What finite units and the weights' fourth moment change in a given input's average, per its curvature.

        With `inputs`: over a batch, whose inputs' levels also differ from the batch's mean.
        """
        if inputs is None:
            return self.kurtosis / 6 - self.by_units[0] / 2
        kernel = self.z.spread - self.by_units
        apart = inputs.others * (kernel[1] - kernel[2]) - inputs.over_batch(self.by_units)
        return apart / 2 + self.kurtosis / 6

    def passing(self, local: Local) -> Real:
        """Log variance that the layer's units add to E[a²], given E[z²]; `fixed same pair`."""
        own, pair = local.covariance(SQUARE, SQUARE), local.covariance(SQUARE, SQUARE, self.cosine)
        whole = fixed_same_pair(own, pair) / local.passed.value**2 / self.units
        return np.maximum(np.log1p(whole) - self.already(local.passed.slope), 0.0)

    def already(self, slope: Real) -> Real:
        """Of the log variance of an average over Gaussian units, what E[z²] itself says: `fixed same pair`."""
        return np.log1p(2 * fixed_same_pair(1.0, self.cosine.square) / self.units) * slope**2

    def covariances(self, local: Local, f: int, g: int) -> Real:
        """Cov(f(u), g(v)) of a unit, given the mean of z² over the units; `fixed same pair`."""
        first = local.response(f).first * local.response(g).first
        own = local.covariance(f, g) - 2 * first
        return fixed_same_pair(own, local.covariance(f, g, self.cosine) - 2 * first * self.cosine.square)

    def average(self, f: int, drawn: bool) -> Real:
        """E[f(z)] over the units of a network, for a given input or one of a batch that is `drawn` anew."""
        response, spread = self.local.response(f), self.z.spread[int(drawn)]
        moved = response.first * self.z.extra if drawn else 0.0
        bent = (response.second + response.first) / 2 * spread
        return response.value + moved + bent + response.second * self.noise()


def fixed_same_pair(own: Real | float, pair: Real) -> Real:
    """Three variances of which the first two are the same."""
    found = np.empty((3, *pair.shape))
    found[:2], found[2] = own, pair
    return found


def drawn_input(first: Place, inputs: InputMoments) -> tuple[Signal, Cosine]:
    """The input's mean square, given or drawn anew for each network, and the cosine between two."""
    squares = np.array(inputs.second_moment)
    level, cosine = squares.mean(), np.array([inputs.cosine])
    if inputs.gaussian:
        same = 2 / first.fan_in
        spread, extra = np.array([[0.0], [same], [same * inputs.cosine**2]]), -same / 2
        variance = (1 - cosine**2) ** 2 / first.fan_in
    else:
        spread, extra = np.array([[0.0], [squares.var() / level**2], [0.0]]), 0.0
        variance = np.array([inputs.cosine_variance])
    return Signal(np.log([level]), spread, np.array([extra])), Cosine(cosine, variance)


def forward(networks: Networks, given: Signal, cosine: Cosine, at: Real | None = None) -> list[Layer]:
    """First layer to last; `cosine` is that between two inputs of the layer. NaN from where float64 loses the level.

    Averages are at `at`, log E[z²] of each layer, where it is known, else at what the law expects.
    """
    fourth: Real = np.array([3.0])  # E[x⁴] / E[x²]² of what comes in
    averages, layers = Averages(networks.activations), list[Layer]()
    for number, promises in enumerate(networks.layers):
        layer = _passed(averages, promises, given, cosine, fourth, None if at is None else at[number])
        layers.append(layer)
        given, fourth = layer.a, layer.local.product(SQUARE, SQUARE) / layer.local.passed.value**2
        cosine = _cosine_passed(layer)
    return layers


def _passed(
    averages: Averages, promises: Promises, given: Signal, cosine: Cosine, fourth: Real, at: Real | None
) -> Layer:
    """The layer behind what comes in."""
    fan_in, fan_out, bias = promises.layer.fan_in, promises.layer.fan_out, promises.bias_variance
    gain = fan_in * promises.variance
    share = 1 / (1 + bias / (gain * np.exp(given.log_expectation)))
    between = Cosine(share * cosine.mean + 1 - share, share**2 * cosine.variance)
    # of n numbers E[x⁴] is at most n E[x²]²: what comes through one unit has no tails of its own
    kurtosis = promises.excess_kurtosis * np.minimum(fourth, fan_in) / fan_in * share**2
    # Cov(z², z'²) of a unit: a Gaussian's, and the weights' fourth moment with that of what comes in
    by_units = 2 * fixed_same_pair(1.0, between.square) + kurtosis * fixed_same_pair(1.0, (1 + 2 * cosine.square) / 3)
    # orthogonal weights put z on a sphere of as many dimensions as the wider side has
    sphere = max(fan_in, fan_out)
    confined = promises.orthogonal * share**2
    by_units = by_units / fan_out - 2 / sphere * confined * fixed_same_pair(1.0, cosine.square)
    by_units = np.log1p(np.maximum(by_units, 0.0))
    kurtosis = np.where(promises.orthogonal, -6 / (sphere + 2) * confined, kurtosis)
    z = given.weighted(gain, bias, by_units)
    level = np.exp(z.mean)
    lost = np.where((level > HELD[0]) & (level < HELD[1]), 0.0, np.nan)
    z, by_units = Signal(z.mean + lost, z.spread + lost, z.extra + lost), by_units + lost
    local = Local(averages, np.exp(z.mean if at is None else at))
    return Layer(promises, z, between, share, by_units, kurtosis, local)


def _cosine_passed(layer: Layer) -> Cosine:
    """The cosine between the activations of two inputs."""
    passed, slope, variance = layer.local.cosine_passed(layer.cosine)
    promises = layer.promises
    # orthogonal weights keep angles: what a linear layer would add is not there
    kept = slope**2 * (1 - layer.cosine.mean**2) ** 2 * layer.units / max(promises.layer.fan_in, layer.units)
    variance = np.where(promises.orthogonal, np.maximum(variance - kept, 0.0), variance)
    passed, variance = np.clip(passed, -1, 1), slope**2 * layer.cosine.variance + variance / layer.units
    return Cosine(passed, np.minimum(variance, 1 - passed**2))  # in deep narrow networks first order passes any bound
