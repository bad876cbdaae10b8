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
from initbench.theory.rows import PREDICTED, Row, record

Real = NDArray[np.float64]

_OCTAVES = np.arange(-60.0, 5.0)  # panels halve towards 0: a steep map has structure there at every scale
_POINTS = 16
_HALVINGS = 4
_RESOLVED = 1e-6
"""How far a rule may be from the one with half the panels: what oscillates faster is NaN, not a sample of it."""


def predict(exact: bool, activation: Activation, promises: Sequence[Promise], inputs: InputMoments) -> list[Row]:
    """The columns of `predictions` for weights that are all equal or diagonal; NaN with a note where none is known."""
    why = _why_not(exact, promises, inputs)
    if why:
        return [record(promise, dict.fromkeys(PREDICTED, np.nan), why) for promise in promises]
    with np.errstate(all="ignore"):
        known = _settled(activation, promises, float(np.sqrt(np.mean(inputs.second_moment))))
    return [record(promise, *columns) for promise, columns in zip(promises, known, strict=True)]


def _settled(
    activation: Activation, promises: Sequence[Promise], deviation: float
) -> list[tuple[dict[str, float], str]]:
    """The columns and a note, from panels halved until two rules agree."""
    cuts = _cuts(activation, promises, deviation)
    coarse = _columns(activation, promises, deviation, *_nodes(cuts))
    for _ in range(_HALVINGS):
        cuts = np.sort(np.concatenate([cuts, (cuts[1:] + cuts[:-1]) / 2]))
        fine = _columns(activation, promises, deviation, *_nodes(cuts))
        agreed = [_agreed(*pair) for pair in zip(coarse, fine, strict=True)]
        if not any(note for _, note in agreed):
            break
        coarse = fine
    return agreed


def _columns(
    activation: Activation, promises: Sequence[Promise], deviation: float, x: Real, weight: Real
) -> list[dict[str, float]]:
    forward = _forward(activation, promises, x * deviation)
    gradients = _backward(activation, promises, forward, weight)
    return [{**_integrated(z, weight, activation), **row} for z, row in zip(forward, gradients, strict=True)]


def _agreed(coarse: dict[str, float], fine: dict[str, float]) -> tuple[dict[str, float], str]:
    """The columns on which both rules agree, and a note on those that neither resolves."""
    scale = {**fine, "a_mean": np.sqrt(fine["a_second_moment"])}  # the mean of an odd function is 0
    lost = [name for name in fine if abs(fine[name] - coarse[name]) > _RESOLVED * abs(scale[name])]
    note = f"too steep or too often folded to integrate: {', '.join(lost)}" if lost else ""
    return {**fine, **dict.fromkeys(lost, np.nan)}, note


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

    def layers(at: Real) -> Real:
        return np.stack(_forward(activation, promises, at * deviation))

    above = layers(x)[..., None] > kinks  # layers nodes kinks
    layer, left, kink = np.nonzero(above[:, 1:] != above[:, :-1])
    low, high, side = x[left], x[left + 1], above[layer, left, kink]
    for _ in range(60):
        middle = (low + high) / 2
        same = (layers(middle)[layer, np.arange(len(layer))] > kinks[kink]) == side
        low, high = np.where(same, middle, low), np.where(same, high, middle)
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


def _forward(activation: Activation, promises: Sequence[Promise], x: Real) -> list[Real]:
    """z of each layer as a function of the input's one coordinate."""
    z, rows = x, []
    for number, promise in enumerate(promises):
        if promise.coupling == "diagonal":
            terms = 1.0
        else:
            terms = promise.layer.fan_in if number else promise.layer.fan_in**0.5
        z = _entry(promise) * terms * (activation.value(z) if number else z)
        rows.append(z)
    return rows


def _backward(
    activation: Activation, promises: Sequence[Promise], forward: Sequence[Real], weight: Real
) -> list[dict[str, float]]:
    """The gradient columns, first layer first."""
    grad_a = np.ones_like(forward[-1])
    columns: list[dict[str, float]] = []
    for number in reversed(range(len(promises))):
        promise = promises[number]
        grad_z = activation.slope(forward[number]) ** 2 * grad_a
        here = {"grad_a_second_moment": _integral(grad_a, weight, activation.flat),
                "grad_z_second_moment": _integral(grad_z, weight, activation.flat)}  # fmt: skip
        above = columns[-1]["grad_z_second_moment"] if columns else np.nan
        columns.append({"chi": here["grad_z_second_moment"] / above if above else np.nan, **here})
        last = number == len(promises) - 1  # the projection's gradients are independent from unit to unit
        fan_out = promise.layer.fan_out
        terms = 1.0 if promise.coupling == "diagonal" else float(fan_out if last else fan_out**2)
        grad_a = _entry(promise) ** 2 * terms * grad_z
    return columns[::-1]


def _integral(gradient: Real, weight: Real, flat: bool) -> float:
    """The mean; a 0 that only a flat piece of phi can make is a lost value elsewhere (tanh' of 30 is not 0)."""
    total = float((gradient * weight).sum())
    return total if total > 0 or flat else np.nan


def _integrated(z: Real, weight: Real, activation: Activation) -> dict[str, float]:
    value = activation.value(z)
    mean = float((value * weight).sum())
    variance = float(((value - mean) ** 2 * weight).sum())
    return {"z_second_moment": float((z**2 * weight).sum()), "z_cosine": np.nan, "a_mean": mean,
            "a_second_moment": variance + mean**2, "a_variance": variance}  # fmt: skip
