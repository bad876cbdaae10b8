"""The law `finite_width`: mean and spread of one network's second moments, to first order in 1/n.

At finite width the second moment of a layer is a random walk with the depth. Of ξ_l = log of the mean of z_l² over the
units of one network,

    E ξ_(l+1)   = H(E ξ_l) + H''/2 Var ξ_l + correction          H(ξ) = log(sigma_w² E[phi²] + sigma_b²)
    Var ξ_(l+1) = H'² Var ξ_l + log(1 + v)                       v = relative variance that the layer adds, O(1/n)

which is the recursion of the layer kernel's correction and of its four-point vertex (Hanin & Nica 2020; Roberts, Yaida
& Hanin 2022, chapter 4), written so that it is exact beyond first order where H is linear: for a rectifier with
Gaussian weights E[R²] = product of (1 + 5/n_l) (Hanin & Rolnick 2018). The spread is log-normal, as that of a product
of many factors: mean exp(E ξ + Var ξ/2), relative variance exp(Var ξ) - 1.

`fluctuation` walks forward, `gradient` goes back and follows the log of the squared gradient as a function of ξ_l.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.theory import infinite_width
from initbench.theory.fluctuation import Layer, Signal, drawn_input, forward
from initbench.theory.gradient import Gradient, backward
from initbench.theory.moments import GaussianMoments
from initbench.theory.rows import Row, record

DOUBTFUL = 0.5
"""A correction to the logarithm of a mean from which on first order is not the whole of it."""


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
    given, cosine = drawn_input(promises[0], inputs)
    with np.errstate(all="ignore"):
        layers = forward(activation, promises, given, cosine)
        return Walk(infinite, given, layers, backward(layers) if len(layers) == len(promises) else [])


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
