"""The law `finite_width`: mean and spread of one network's second moments, to first order in 1/n.

At finite width the second moment of a layer is a random walk with the depth. Of ξ_l = log of the mean of z_l² over the
units of one network,

    E ξ_(l+1)   = H(E ξ_l) + H''/2 Var ξ_l + correction          H(ξ) = log(sigma_w² E[phi²] + sigma_b²)
    Var ξ_(l+1) = H'² Var ξ_l + log(1 + v)                       v = relative variance that the layer adds, O(1/n)

which is the recursion of the layer kernel's correction and of its four-point vertex (Hanin & Nica 2020; Roberts, Yaida
& Hanin 2022, chapter 4), written so that it is exact beyond first order where H is linear: for a rectifier with
Gaussian weights E[R²] = product of (1 + 5/n_l) (Hanin & Rolnick 2018). The spread is log-normal, as that of a product
of many factors: mean exp(E ξ + Var ξ/2), relative variance exp(Var ξ) - 1.

Backward, log of the squared gradient is followed as a function of ξ_l. Two effects are beyond mean field: the level ξ
that the slope depends on fluctuates; and the gradient knows its weights, because given z = W a the part of W along a is
known, so that s = z·dL/dz passes from layer to layer (`Local.alignment`). For a rectifier both vanish.

Three variances stand together in an array, `fixed same pair`: of the moment of one given input; of one of a batch,
whose length may vary; the covariance between those of two inputs, which their cosine decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.theory import infinite_width
from initbench.theory.moments import GaussianMoments
from initbench.theory.response import SAME, Cosine, Local
from initbench.theory.rows import Row, record

Real = NDArray[np.float64]

HELD = (1e-140, 1e140)
"""Levels q whose fourth moments float64 holds."""
DOUBTFUL = 0.5
"""A correction to the logarithm of a mean from which on first order is not the whole of it."""


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
        self.a = self.z.through(value, slope, bend, added, float(level.curvature) * self.noise)

    @property
    def units(self) -> int:
        """How many there are."""
        return self.promise.layer.fan_out

    @property
    def noise(self) -> float:
        """What finite units and the weights' fourth moment change in an average, per its curvature."""
        return float(self.kurtosis / 6 - self.by_units[0] / 2)

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
        return float(response.value + (response.second + response.first) / 2 * spread + response.second * self.noise)


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


@dataclass(frozen=True)
class Walk:
    """All layers of one network."""

    infinite: list[dict[str, float]]
    """The columns at infinite width, for inputs of the mean length."""
    given: Signal
    """The input."""
    layers: list[Layer]
    """As far as float64 holds the level; gradients only where it does to the end."""
    gradients: list[Gradient]


def rows(activation: Activation, promises: Sequence[Promise], inputs: InputMoments) -> list[Row]:
    """The columns of `predictions`, of which the spreads are those of one network and one given input."""
    infinite = infinite_width.moments(GaussianMoments(activation), promises, inputs)
    walk = walked(activation, tuple(promises), inputs)
    with np.errstate(all="ignore"):
        columns = [_columns(walk, number, row) for number, row in enumerate(infinite)]
    for (values, _), (after, _) in pairwise(columns):
        if after.get("grad_z_second_moment"):
            values["chi"] = values["grad_z_second_moment"] / after["grad_z_second_moment"]
    return [record(promise, *found) for promise, found in zip(promises, columns, strict=True)]


@lru_cache(maxsize=4096)
def walked(activation: Activation, promises: tuple[Promise, ...], inputs: InputMoments) -> Walk:
    """Expectation and spread of all layers' log moments."""
    level = InputMoments((float(np.mean(inputs.second_moment)),), inputs.cosine)
    infinite = infinite_width.moments(GaussianMoments(activation), promises, level)
    given, cosine = _input(promises[0], inputs)
    with np.errstate(all="ignore"):
        layers = _forward(activation, promises, given, cosine)
        return Walk(infinite, given, layers, _backward(layers) if len(layers) == len(promises) else [])


def _input(first: Promise, inputs: InputMoments) -> tuple[Signal, Cosine]:
    """The input's mean square, given or drawn anew for each network, and the cosine between two."""
    squares = np.array(inputs.second_moment)
    level, features = squares.mean(), first.layer.fan_in
    if inputs.gaussian:
        same = 2 / features
        cosine = Cosine(inputs.cosine, (1 - inputs.cosine**2) ** 2 / features)
        return Signal(float(np.log(level)), np.array([0.0, same, same * inputs.cosine**2]), -same / 2), cosine
    spread = np.array([0.0, squares.var() / level**2, 0.0])
    return Signal(float(np.log(level)), spread), Cosine(inputs.cosine, inputs.cosine_variance)


def _forward(activation: Activation, promises: Sequence[Promise], given: Signal, cosine: Cosine) -> list[Layer]:
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


def _backward(layers: Sequence[Layer]) -> list[Gradient]:
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
    value = float(np.log(k.value) + k.curvature * layer.noise)
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
    value = (gain + np.log(k.value) + k.curvature * layer.noise + np.log1p(aligned) + gradient.value + together[0]
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


def _columns(walk: Walk, number: int, infinite: dict[str, float]) -> tuple[dict[str, float], str]:
    """One layer's columns, and a note where first order is not the whole.

    What finite width changes at the inputs' mean length is put upon the average over their lengths.
    """
    if number >= len(walk.layers):
        return {name: value for name, value in infinite.items() if value == 0}, ""
    layer, level = walk.layers[number], walk.infinite[number]
    z, a = layer.z, layer.a
    found = {"z_second_moment": (np.exp(z.log_expectation), z.spread[0]),
             "a_second_moment": (np.exp(a.log_expectation), a.spread[0]),
             "a_variance": (layer.average((layer.local.phi - level["a_mean"]) ** 2), np.nan)}  # fmt: skip
    if walk.gradients:
        gradient = walk.gradients[number]
        spread = gradient.slope**2 * z.spread[0] + gradient.spread[0]
        found["grad_z_second_moment"] = (np.exp(gradient.log_expectation(z)), spread)
        found["grad_a_second_moment"] = (np.exp(gradient.at_a), np.nan)
    change = {name: float(value / level[name]) for name, (value, _) in found.items()}
    values = {name: infinite[name] * factor for name, factor in change.items()}
    for name, (_, spread) in found.items():
        values[f"{name}_sd"] = values[name] * float(np.expm1(spread)) ** 0.5
    values["z_cosine"] = infinite["z_cosine"]
    values["a_mean"] = infinite["a_mean"] + layer.average(layer.local.phi) - level["a_mean"]
    doubtful = [name for name, factor in change.items() if not abs(np.log(factor)) < DOUBTFUL]
    return values, f"depth/width is too large for first order in 1/n: {', '.join(doubtful)}" if doubtful else ""
