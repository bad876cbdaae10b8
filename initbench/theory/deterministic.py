"""Weights without randomness: the network is a known scalar map, followed exactly.

Where all weights equal w, every unit of a layer is the same, z_l = w·fan_in·phi(z_(l-1)); with w_ij = g·delta_ij, each
coordinate goes its own way, z_l = g·phi(z_(l-1)). Either way one number z_1 ~ N(0, q_1) decides all, for Gaussian
input, and each column is an integral over it. Between independent terms (the features of the input, the random
projection's gradients) a sum over n grows by sqrt(n); between equal ones by n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
_TOGETHER = 2**16
"""Nodes of layers at which phi is taken at once, so that they stay in the processor's cache."""
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
    layers = list(_forward(activation, promises, x * deviation))
    new = [number for number, layer in enumerate(layers) if not number or layer is not layers[number - 1]]
    which = np.searchsorted(new, np.arange(len(layers)), side="right") - 1  # of the new ones, that of each layer
    forward: list[Columns] = []
    slope_squares: list[Real] = []
    for part in np.array_split(new, -(-len(new) * len(x) // _TOGETHER)):
        z, value = (np.stack(of) for of in zip(*(layers[number] for number in part), strict=True))
        forward.append(_integrated(z, value, weight))
        slope_squares.extend(activation.slope(z) ** 2)
    columns = {name: np.concatenate([part[name] for part in forward])[which] for name in forward[0]}
    return columns | _backward(promises, [slope_squares[number] for number in which], weight, activation.flat)


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
    x, kinks = _nodes(cuts)[0], np.array(activation.kinks)

    z = np.stack([z for z, _ in _forward(activation, promises, x * deviation)])
    above = z[..., None] > kinks  # layers nodes kinks
    layer, left, kink = np.nonzero(above[:, 1:] != above[:, :-1])
    low, high, side = x[left], x[left + 1], above[layer, left, kink]
    each, parts = np.arange(len(layer)), np.linspace(0, 1, _SECTIONS + 1)
    for _ in range(_ROUNDS if len(layer) else 0):
        at = low[:, None] + (high - low)[:, None] * parts
        z = np.empty_like(at)
        for number, (values, _) in enumerate(_forward(activation, promises, at * deviation)):
            z[layer == number] = values[layer == number]
        same = (z > kinks[kink, None]) == side[:, None]
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


def _forward(activation: Activation, promises: Sequence[Promise], x: Real) -> Iterator[tuple[Real, Real]]:
    """z and phi(z) of each layer as functions of the input's one coordinate; while z stays, the same pair again."""
    layer = x, x
    for number, promise in enumerate(promises):
        if promise.coupling == "diagonal":
            terms = 1.0
        else:
            terms = promise.layer.fan_in if number else promise.layer.fan_in**0.5
        z = _entry(promise) * terms * layer[1]
        if not (number and np.array_equal(z, layer[0])):
            layer = z, activation.value(z)
        yield layer


def _backward(promises: Sequence[Promise], slope_squares: Sequence[Real], weight: Real, flat: bool) -> Columns:
    """The gradient columns."""
    at_a, at_z = np.empty(len(promises)), np.empty(len(promises))
    grad_a = np.ones_like(weight)
    for number in reversed(range(len(promises))):
        promise = promises[number]
        grad_z = slope_squares[number] * grad_a
        at_a[number], at_z[number] = _integral(grad_a, weight, flat), _integral(grad_z, weight, flat)
        last = number == len(promises) - 1  # the projection's gradients are independent from unit to unit
        fan_out = promise.layer.fan_out
        terms = 1.0 if promise.coupling == "diagonal" else float(fan_out if last else fan_out**2)
        grad_a = _entry(promise) ** 2 * terms * grad_z
    above = np.append(np.where(at_z[1:] == 0, np.nan, at_z[1:]), np.nan)
    return {"chi": at_z / above, "grad_a_second_moment": at_a, "grad_z_second_moment": at_z}


def _integral(gradient: Real, weight: Real, flat: bool) -> float:
    """The mean; a 0 that only a flat piece of phi can make is a lost value elsewhere (tanh' of 30 is not 0)."""
    total = float(gradient @ weight)
    return total if total > 0 or flat else np.nan


def _integrated(z: Real, value: Real, weight: Real) -> Columns:
    mean = (value * weight).sum(axis=-1)
    variance = (value - mean[:, None]) ** 2 @ weight
    return {"z_second_moment": z**2 @ weight, "z_cosine": np.full_like(mean, np.nan), "a_mean": mean,
            "a_second_moment": variance + mean**2, "a_variance": variance}  # fmt: skip
