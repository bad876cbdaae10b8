"""Weights without randomness: the network is a known scalar map, followed exactly.

Where all weights equal w, every unit of a layer is the same, z_l = w·fan_in·phi(z_(l-1)); with w_ij = g·delta_ij, each
coordinate goes its own way, z_l = g·phi(z_(l-1)). Either way one number z_1 ~ N(0, q_1) decides all, for Gaussian
input, and each column is an integral over it. Between independent terms (the features of the input, the random
projection's gradients) a sum over n grows by sqrt(n); between equal ones by n.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.theory.expectation import gauss_legendre
from initbench.theory.rows import Columns, Table, table

Real = NDArray[np.float64]

_OCTAVES = np.arange(-60.0, 5.0)  # panels halve towards 0: a steep map has structure there at every scale
_POINTS = 16
"""Of a panel; those of a first rule are half as many."""
_SECTIONS, _ROUNDS = 64, 10
"""A kink is sought between two nodes, to a share of 64^-10 of their distance."""
_HALVINGS = 4
_TOGETHER = 2**18
"""Nodes of layers at which phi is taken at once, so that they stay in the processor's cache."""
_MEAN, _SQUARE = 1, 2
"""Of the integrals over phi - centre."""
_SETTLED = 1e-13
"""Of an integral, what halving a panel may change where it is not halved again."""
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
    """The columns and a note for each layer, from panels halved until two rules agree.

    Only panels that halving still changes are halved again: a steep or folded piece of the map is on few of them.
    """
    cuts = _cuts(activation, promises, deviation)
    centre = _centre(activation, promises, deviation, cuts)
    parts = partial(_parts, activation, promises, deviation, centre)
    panels = np.stack([cuts[:-1], cuts[1:]])
    rough, coarse = (parts(panels, points) for points in (_POINTS // 2, _POINTS))
    moving = _moving(rough, coarse, coarse.sum(axis=-1))
    known, panels, coarse = coarse[..., ~moving].sum(axis=-1), panels[:, moving], coarse[..., moving]
    for _ in range(_HALVINGS):
        middle = panels.mean(axis=0)
        halves = np.stack([[panels[0], middle], [middle, panels[1]]])
        fine = parts(halves.reshape(2, -1), _POINTS).reshape(*known.shape, *halves.shape[1:])
        before, after = known + coarse.sum(axis=-1), known + fine.sum(axis=(-2, -1))
        agreed, notes = _agreed(*(_columns(activation, promises, centre, of) for of in (before, after)))
        if not any(notes):
            break
        moving = _moving(coarse, fine.sum(axis=-2), after)
        known += fine[..., ~moving].sum(axis=(-2, -1))
        panels, coarse = (of[..., moving].reshape(*of.shape[:-2], -1) for of in (halves, fine))
    return agreed, notes


def _moving(coarse: Real, fine: Real, total: Real) -> NDArray[np.bool_]:
    """The panels on which a finer rule changes any of the integrals."""
    scale = np.abs(total)
    scale[_MEAN] = np.sqrt(scale[_SQUARE])
    moving: NDArray[np.bool_] = np.any(np.abs(fine - coarse) > _SETTLED * scale[..., None], axis=(0, 1))
    return moving


def _centre(activation: Activation, promises: Sequence[Promise], deviation: float, cuts: Real) -> Real:
    """About E[phi(z)] of each layer, taken from the first node on, so that of a constant the variance is 0."""
    x, weight = _nodes(cuts[:-1], cuts[1:], _POINTS // 2)
    _, value, which = _forward(activation, promises, x.ravel() * deviation)
    first = value[:, 0]
    return (first + (value - first[:, None]) @ weight.ravel())[which]


def _columns(activation: Activation, promises: Sequence[Promise], centre: Real, total: Real) -> Columns:
    """From the integrals over all panels."""
    z_second, off, square, at_z = total
    mean, variance = centre + off, np.maximum(square - off**2, 0.0)
    # a 0 that only a flat piece of phi can make is a lost value elsewhere (tanh' of 30 is not 0)
    at_a = np.append(at_z[1:], 1.0) * _returned(promises)
    at_z, at_a = (np.where((of > 0) | activation.flat, of, np.nan) for of in (at_z, at_a))
    above = np.append(np.where(at_z[1:] == 0, np.nan, at_z[1:]), np.nan)
    return {"z_second_moment": z_second, "a_mean": mean, "a_second_moment": variance + mean**2, "a_variance": variance,
            "chi": at_z / above, "grad_a_second_moment": at_a, "grad_z_second_moment": at_z}  # fmt: skip


def _parts(
    activation: Activation, promises: Sequence[Promise], deviation: float, centre: Real, panels: Real, points: int
) -> Real:
    """What each panel has of E[z²], E[phi - centre], E[(phi - centre)²] and E[(dL/dz)²], `integrals layers panels`."""
    count = max(-(-panels.shape[1] * points * len(promises) // _TOGETHER), 1)
    found = []
    for low, high in np.array_split(panels, count, axis=1):
        x, weight = _nodes(low, high, points)
        found.append(_integrated(activation, promises, centre, x * deviation, weight))
    return np.concatenate(found, axis=-1)


def _integrated(activation: Activation, promises: Sequence[Promise], centre: Real, x: Real, weight: Real) -> Real:
    """`_parts` of some panels, from their nodes, `panels points`."""
    z, value, which = _forward(activation, promises, x.ravel())
    slope_squares = activation.slope(z)
    slope_squares *= slope_squares
    z, value = (of.reshape(len(of), *x.shape) for of in (z, value))
    mass, first = weight.sum(axis=-1), value[..., 0].copy()
    value -= first[..., None]
    off, square = np.vecdot(value, weight), np.vecdot(value * weight, value)
    gap = first[which] - centre[:, None]
    grads, grad = np.empty((len(promises), x.size)), np.ones(x.size)
    for number, factor in reversed(list(enumerate(_returned(promises)))):
        grad = np.multiply(grad * factor, slope_squares[which[number]], out=grads[number])
    return np.stack([
        np.vecdot(z * weight, z)[which],
        off[which] + mass * gap,
        square[which] + 2 * gap * off[which] + mass * gap**2,
        np.vecdot(grads.reshape(len(grads), *x.shape), weight),
    ])  # fmt: skip


def _returned(promises: Sequence[Promise]) -> Real:
    """E[(dL/da)²] of each layer, over E[(dL/dz)²] of the next; 1 of the last.

    The projection's gradients are independent from unit to unit, those of other layers are equal.
    """
    factors = [_entry(promise) ** 2 * (1.0 if promise.coupling == "diagonal" else float(promise.layer.fan_out**power))
               for promise, power in zip(promises[1:], [*[2] * (len(promises) - 2), 1], strict=False)]  # fmt: skip
    return np.array([*factors, 1.0])


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
    x = _nodes(cuts[:-1], cuts[1:], _POINTS)[0].ravel()
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


def _nodes(low: Real, high: Real, points: int) -> tuple[Real, Real]:
    """Nodes and weights for E[f(x)], x ~ N(0, 1), from the panels between `low` and `high`, `panels points`."""
    abscissa, weight = gauss_legendre(points)
    half = (high - low)[:, None] / 2
    x = (low[:, None] + half) + half * abscissa
    return x, half * weight * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


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
    z, level, start = np.empty_like(x), x, 0
    ends = np.searchsorted(layer, np.arange(layer[-1] + 1), side="right")
    for factor, end in zip(_factors(promises), ends, strict=False):
        level = factor * level
        z[start:end] = level[: end - start]
        level = activation.value(level[end - start :])
        start = end
    return z
