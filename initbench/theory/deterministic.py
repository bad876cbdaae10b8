"""Weights without randomness: the network is a known scalar map, followed exactly.

Where all weights equal w, every unit of a layer is the same, z_l = w·fan_in·phi(z_(l-1)); with w_ij = g·delta_ij, each
coordinate goes its own way, z_l = g·phi(z_(l-1)). Either way one number z_1 ~ N(0, q_1) decides all, for Gaussian
input, and each column is an integral over it. Between independent terms (the features of the input, the random
projection's gradients) a sum over n grows by sqrt(n); between equal ones by n.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.theory.expectation import gauss_legendre
from initbench.theory.rows import Columns, Table, table

Real = NDArray[np.float64]

_OCTAVES = np.arange(-60.0, 5.0)  # panels halve towards 0: a steep map has structure there at every scale
_POINTS = 16
_SECTIONS, _ROUNDS = 64, 10
"""A kink is sought between two nodes, to a share of 64^-10 of their distance."""
_HALVINGS = 4
_TOGETHER = 2**18
"""Nodes of layers at which phi is taken at once, so that they stay in the processor's cache."""
_GRADIENTS = "grad_a_second_moment", "grad_z_second_moment"
_RESOLVED = 1e-6
"""How far a rule may be from the one with half the panels: what oscillates faster is NaN, not a sample of it."""


def predict(exact: bool, activation: Activation, promises: Sequence[Promise], inputs: InputMoments) -> Table:
    """The columns of `predictions` for weights that are all equal or diagonal; NaN with a note where none is known."""
    why = _why_not(exact, promises, inputs)
    if why:
        return table(promises, {}, [why] * len(promises))
    with np.errstate(all="ignore"):
        return table(promises, *_settled(activation, promises, float(np.sqrt(np.mean(inputs.second_moment)))))


def _settled(activation: Activation, promises: Sequence[Promise], deviation: float) -> tuple[Columns, list[str]]:
    """The columns and a note for each layer, from panels halved until two rules agree."""
    cuts = _cuts(activation, promises, deviation)
    coarse = _columns(activation, promises, deviation, *_nodes(cuts))
    for _ in range(_HALVINGS):
        cuts = np.sort(np.concatenate([cuts, (cuts[1:] + cuts[:-1]) / 2]))
        fine = _columns(activation, promises, deviation, *_nodes(cuts))
        agreed, notes = _agreed(coarse, fine)
        if not any(notes):
            break
        coarse = fine
    return agreed, notes


def _columns(activation: Activation, promises: Sequence[Promise], deviation: float, x: Real, weight: Real) -> Columns:
    """Of all nodes, some at once: what parts have of a moment adds up, and so do variances within and between them."""
    count = -(-len(x) * len(promises) // _TOGETHER)
    weights = np.array_split(weight, count)
    parts = [_integrated(activation, promises, *of)
             for of in zip(np.array_split(x * deviation, count), weights, strict=True)]  # fmt: skip
    total = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
    mass, centres = np.array([of.sum() for of in weights]), np.stack([part["centre"] for part in parts])
    centre = centres[0] + mass @ (centres - centres[0]) / mass.sum()
    mean, variance = total["a_mean"], total["a_variance"] + mass @ (centres - centre) ** 2
    # a 0 that only a flat piece of phi can make is a lost value elsewhere (tanh' of 30 is not 0)
    gradients = {name: np.where((total[name] > 0) | activation.flat, total[name], np.nan) for name in _GRADIENTS}
    at_z = gradients["grad_z_second_moment"]
    above = np.append(np.where(at_z[1:] == 0, np.nan, at_z[1:]), np.nan)
    return {"z_second_moment": total["z_second_moment"], "a_mean": mean, "a_second_moment": variance + mean**2,
            "a_variance": variance, "chi": at_z / above, **gradients}  # fmt: skip


def _integrated(activation: Activation, promises: Sequence[Promise], x: Real, weight: Real) -> Columns:
    """What these nodes have of each layer's moments, and of the variance around their own `centre`.

    That mean is taken from the first node on, so that of a constant the variance is 0.
    """
    z, value, which = _forward(activation, promises, x)
    mean, first = (value * weight).sum(axis=-1), value[:, :1].copy()
    slope_squares = activation.slope(z) ** 2
    value -= first
    off = value @ weight / weight.sum()
    forward = {"z_second_moment": z**2 @ weight, "a_mean": mean, "centre": first[:, 0] + off,
               "a_variance": (value - off[:, None]) ** 2 @ weight}  # fmt: skip
    at_a, at_z = np.empty(len(promises)), np.empty(len(promises))
    grad = np.ones_like(weight)
    for number in reversed(range(len(promises))):
        promise = promises[number]
        at_a[number] = grad @ weight
        grad *= slope_squares[which[number]]
        at_z[number] = grad @ weight
        last = number == len(promises) - 1  # the projection's gradients are independent from unit to unit
        fan_out = promise.layer.fan_out
        terms = 1.0 if promise.coupling == "diagonal" else float(fan_out if last else fan_out**2)
        grad *= _entry(promise) ** 2 * terms
    gradients = dict(zip(_GRADIENTS, (at_a, at_z), strict=True))
    return {name: column[which] for name, column in forward.items()} | gradients


def _agreed(coarse: Columns, fine: Columns) -> tuple[Columns, list[str]]:
    """The columns on which both rules agree, and for each layer a note on those that neither resolves."""
    scale = {**fine, "a_mean": np.sqrt(fine["a_second_moment"])}  # the mean of an odd function is 0
    lost = {name: np.abs(fine[name] - coarse[name]) > _RESOLVED * np.abs(scale[name]) for name in fine}
    names = [[name for name in fine if lost[name][layer]] for layer in range(len(fine["a_mean"]))]
    notes = [f"too steep or too often folded to integrate: {', '.join(of)}" if of else "" for of in names]
    return {name: np.where(lost[name], np.nan, fine[name]) for name in fine}, notes


def _why_not(exact: bool, promises: Sequence[Promise], inputs: InputMoments) -> str:
    if not exact:
        return "this law assumes independent weights of mean 0"
    if not inputs.gaussian:
        return "weights without randomness: depends on each input, not on its moments alone"
    if promises[0].bias_variance > 0:
        return "weights without randomness: not followed with random biases"
    diagonal = promises[0].coupling == "diagonal"
    if diagonal and any(promise.layer.fan_in != promise.layer.fan_out for promise in promises):
        return "an identity between layers of different width is not followed"
    return ""


def _cuts(activation: Activation, promises: Sequence[Promise], deviation: float) -> Real:
    """Panels on every scale around 0, cut also wherever a layer's z passes a kink."""
    edges = np.minimum(2.0**_OCTAVES, 12.0)
    cuts = np.concatenate([-edges[::-1], [0.0], edges])
    kinks = np.array(activation.kinks)
    if not len(kinks):
        return cuts
    x = _nodes(cuts)[0]
    z, _, which = _forward(activation, promises, x * deviation)
    above = (z[..., None] > kinks)[which]  # layers nodes kinks
    layer, left, kink = np.nonzero(above[:, 1:] != above[:, :-1])
    low, high, side = x[left], x[left + 1], above[layer, left, kink]
    each, parts = np.arange(len(layer)), np.linspace(0, 1, _SECTIONS + 1)
    for _ in range(_ROUNDS if len(layer) else 0):
        at = low[:, None] + (high - low)[:, None] * parts
        same = (_reached(activation, promises, at * deviation, layer) > kinks[kink, None]) == side[:, None]
        last = np.clip(np.argmin(same, axis=1) - 1, 0, _SECTIONS - 1)
        low, high = at[each, last], at[each, last + 1]
    return np.unique(np.concatenate([cuts, high]))


def _nodes(cuts: Real) -> tuple[Real, Real]:
    """Nodes and weights for E[f(x)], x ~ N(0, 1), from the panels between `cuts`."""
    abscissa, weight = gauss_legendre(_POINTS)
    half = np.diff(cuts)[:, None] / 2
    x = ((cuts[:-1, None] + half) + half * abscissa).ravel()
    return x, (half * weight).ravel() * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def _entry(promise: Promise) -> float:
    """The value of the weights that are not 0."""
    return promise.mean * (promise.layer.fan_in if promise.coupling == "diagonal" else 1)


def _factors(promises: Sequence[Promise]) -> list[float]:
    """z of each layer, over phi(z) of the one before; the first: over the input's one coordinate."""
    return [
        _entry(promise) * (1.0 if promise.coupling == "diagonal" else promise.layer.fan_in ** (1.0 if number else 0.5))
        for number, promise in enumerate(promises)
    ]


def _forward(activation: Activation, promises: Sequence[Promise], x: Real) -> tuple[Real, Real, NDArray[np.intp]]:
    """z and phi(z) as functions of the input's one coordinate, `layers nodes`, without layers where z stays what it is.

    Which of them each layer is.
    """
    z, value, which = *np.empty((2, len(promises), len(x))), np.zeros(len(promises), np.intp)
    level, last = x, -1
    for number, factor in enumerate(_factors(promises)):
        np.multiply(level, factor, out=z[last + 1])
        if not number or (z[last + 1] != z[last]).any():
            last += 1
            level = value[last] = activation.value(z[last])
        which[number] = last
    return z[: last + 1], value[: last + 1], which


def _reached(activation: Activation, promises: Sequence[Promise], x: Real, layer: NDArray[np.intp]) -> Real:
    """z of each row of x at its own layer; the rows are by rising layer."""
    z, level = np.empty_like(x), x
    for number, factor in enumerate(_factors(promises)[: layer[-1] + 1]):
        here, after = np.searchsorted(layer, [number, number + 1])
        level = factor * level
        z[here:after] = level[: after - here]
        level = activation.value(level[after - here :])
    return z
