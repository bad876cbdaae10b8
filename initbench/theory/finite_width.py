"""The law `finite_width`: mean and spread of one network's second moments, to first order in 1/n.

At finite width the second moment of a layer is a random walk with the depth. Of ξ_l = log of the mean of z_l² over the
units of one network,

    E ξ_(l+1)   = H(E ξ_l) + H''/2 Var ξ_l + correction          H(ξ) = log(sigma_w² E[phi²] + sigma_b²)
    Var ξ_(l+1) = H'² Var ξ_l + log(1 + v)                       v = relative variance that the layer adds, O(1/n)

which is the recursion of the layer kernel's correction and of its four-point vertex (Hanin & Nica 2020; Roberts, Yaida
& Hanin 2022, chapter 4), written so that it is exact beyond first order where H is linear: for a rectifier with
Gaussian weights E[R²] = product of (1 + 5/n_l) (Hanin & Rolnick 2018). The spread is log-normal, as that of a product
of many factors: mean exp(E ξ + Var ξ/2), relative variance exp(Var ξ) - 1. A gradient is 0 besides with the chance that
a layer of rectifiers before is all off.

`fluctuation` walks forward, `gradient` goes back and follows the log of the squared gradient as a function of ξ_l.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments
from initbench.theory import infinite_width
from initbench.theory.fluctuation import HELD, Layer, Signal, drawn_input, forward
from initbench.theory.gradient import Gradient, backward
from initbench.theory.moments import GaussianMoments
from initbench.theory.networks import Networks
from initbench.theory.response import CENTRED, VALUE
from initbench.theory.rows import DEFINED, Columns, Notes

Real = NDArray[np.float64]

DOUBTFUL = 0.5
"""A correction to the logarithm of a mean from which on first order is not the whole of it."""
HEAVY = 2.0
"""An excess kurtosis of z from which on first order in it says nothing of the spread: few of the weights are not 0."""
DEEP = "depth/width is too large for first order in 1/n"
TAILED = "a few large weights decide: first order in 1/n does not tell the spread"
FAR = f"E[z²] is beyond what first order follows, {HELD[0]:g} to {HELD[1]:g}"
"""Reasons that notes tell."""


@dataclass(frozen=True)
class Walk:
    """All layers of some networks; NaN from where float64 loses a level, and the gradients of such a network."""

    given: Signal
    """The input."""
    layers: list[Layer]
    gradients: list[Gradient]


def walked(networks: Networks, inputs: InputMoments) -> Walk:
    """Expectation and spread of all layers' log moments."""
    given, cosine = drawn_input(networks.layers[0].layer, inputs)
    with np.errstate(all="ignore"):
        layers = forward(networks, given, cosine)
        return Walk(given, layers, backward(layers))


def columns(networks: Networks, inputs: InputMoments) -> tuple[Columns, Notes]:
    """The columns of `predictions`, of which the spreads are those of one network and one given input.

    Means are over networks and inputs. Of Gaussian features the inputs' lengths vary by a relative 2/n: that is of
    first order, too. Of other inputs what finite width changes at their mean length is put upon the average over their
    lengths. A note says where first order is not the whole.
    """
    infinite, level = (
        infinite_width.moments(GaussianMoments, networks, InputMoments(squares, inputs.cosine, cosines=inputs.cosines))
        for squares in (inputs.second_moment, (float(np.mean(inputs.second_moment)),))
    )
    walk = walked(networks, inputs)
    with np.errstate(all="ignore"):
        expected, spread = _expected(walk, level["a_mean"], inputs)
        change = {name: value / level[name] for name, value in expected.items() if name != "a_mean"}
        values = {name: infinite[name] * factor for name, factor in change.items()}
        arrived = _arrived(networks)
        values["grad_z_second_moment"] *= arrived
        values["grad_a_second_moment"][:-1] *= arrived[1:]
        spread["grad_z_second_moment"] -= np.log(arrived)  # 0 with the other chance
        gradient = values["grad_z_second_moment"]
        values["chi"] = np.full_like(gradient, np.nan)
        values["chi"][:-1] = gradient[:-1] / np.where(gradient[1:] == 0, np.nan, gradient[1:])
        values |= {f"{name}_sd": values[name] * np.sqrt(np.expm1(of)) for name, of in spread.items()}
        values["a_mean"] = infinite["a_mean"] + expected["a_mean"] - level["a_mean"]
        values["z_cosine"] = infinite["z_cosine"]
        doubtful = {name: ~(np.abs(np.log(factor)) < DOUBTFUL) for name, factor in change.items()}
    held = np.isfinite([layer.z.mean for layer in walk.layers])
    for name in values:  # a 0 of infinite width is one of finite width, too, whatever float64 holds
        zero = infinite[name] == 0 if name in infinite else False
        values[name] = np.where(held, values[name], np.where(zero, 0.0, np.nan))
    tailed = dict.fromkeys(spread, np.stack([layer.kurtosis > HEAVY for layer in walk.layers]) & held)
    for name in doubtful:
        doubtful[name] &= held[-1] if name.startswith("grad") else held
    lost = {name: np.isnan(values[name]) for name in DEFINED}
    here = np.any([lost[name] & np.isfinite(infinite[name]) for name in DEFINED], axis=0)  # and not in float64
    return values, _notes({DEEP: doubtful, TAILED: tailed, FAR: {name: of & here for name, of in lost.items()}})


def _arrived(networks: Networks) -> Real:
    """The chance that some signal reaches each layer, `layers networks`: without it z = 0, and phi'(0) = 0.

    A layer of n rectifiers is off with 2^-n, whatever its level, and without biases all behind it is. Forward that is
    in the average already, for what is off is 0 there, too; and so are the layers behind that a gradient comes through,
    for a unit that is on sends a signal to them. What is left are the layers before.
    """
    half = networks.activations.kinds.told(_is_off_on_one_side)[networks.activations.which]
    chance = [np.ones(len(half))]
    for layer, after in pairwise(networks.layers):
        on = np.where(half, 1 - 0.5**layer.layer.fan_out, 1.0)
        chance.append(np.where(after.bias_variance > 0, 1.0, chance[-1] * on))
    return np.stack(chance)


def _is_off_on_one_side(activation: Activation) -> bool:
    """Whether phi is 0 at all z below 0, or at all above, and phi'(0) = 0."""
    sides = (activation.value(side * np.geomspace(1e-6, 1e6, 25)) for side in (-1, 1))
    return activation.at_zero == activation.slope_at_zero == 0 and any(not side.any() for side in sides)


def _expected(walk: Walk, a_mean: Real, inputs: InputMoments) -> tuple[Columns, Columns]:
    """Columns for an input of the mean length, or for Gaussian ones, and relative log variances of some."""
    layers, gradients, drawn = walk.layers, walk.gradients, inputs.gaussian
    grad_z = [g.log_expectation(layer.z, drawn) for layer, g in zip(layers, gradients, strict=True)]
    above = [*grad_z[1:], np.zeros_like(grad_z[-1])]
    expected = {
        "z_second_moment": [np.exp(layer.z.log_mean(drawn)) for layer in layers],
        "a_second_moment": [np.exp(layer.a.log_mean(drawn)) for layer in layers],
        "a_variance": [_variance(*of, inputs) for of in zip(layers, a_mean, strict=True)],
        "grad_z_second_moment": [np.exp(log) for log in grad_z],
        "grad_a_second_moment": [np.exp(g.above + log) for g, log in zip(gradients, above, strict=True)],
        "a_mean": [layer.average(VALUE, drawn) for layer in layers],
    }
    spread = {
        "z_second_moment": [layer.z.spread[0] for layer in layers],
        "a_second_moment": [layer.a.spread[0] for layer in layers],
        "grad_z_second_moment": [g.slope**2 * layer.z.spread[0] + g.spread[0]
                                 for layer, g in zip(layers, gradients, strict=True)],
    }  # fmt: skip
    return _stacked(expected), _stacked(spread)


def _stacked(columns: dict[str, list[Real]]) -> Columns:
    return {name: np.stack(layers) for name, layers in columns.items()}


def _variance(layer: Layer, mean: Real, inputs: InputMoments) -> Real:
    """E[(phi - the batch's own mean)²] over the units of a network; `mean` is that of infinite width."""
    local, drawn = layer.local, inputs.gaussian
    centre = local.mean[..., VALUE]
    gap = centre - mean
    own = inputs.over_batch(layer.covariances(local, VALUE, VALUE) / layer.units)
    own = own + local.response(VALUE).first ** 2 * inputs.over_batch(layer.z.spread)
    about = layer.average(CENTRED, drawn) + 2 * gap * (layer.average(VALUE, drawn) - centre) + gap**2
    return np.maximum(about - own, 0.0)


def _notes(reasons: dict[str, dict[str, NDArray[np.bool_]]]) -> Notes:
    """The first reason that there is, and the columns that it is about, `layers networks`."""
    notes = np.full(next(iter(reasons[DEEP].values())).shape, "", dtype=object)
    for why, about in reasons.items():
        for place in zip(*np.nonzero(np.any(list(about.values()), axis=0) & (notes == "")), strict=True):
            notes[place] = f"{why}: {', '.join(name for name, where in about.items() if where[place])}"
    return notes
