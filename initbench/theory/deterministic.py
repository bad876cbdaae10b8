"""Weights without randomness: the network is a known scalar map, followed exactly.

Where all weights equal w, every unit of a layer is the same, z_l = w·fan_in·phi(z_(l-1)); with w_ij = g·delta_ij, each
coordinate goes its own way, z_l = g·phi(z_(l-1)). Either way one number z_1 ~ N(0, q_1) decides all, for Gaussian
input, and each column is an integral over it. Between independent terms (the features of the input, the random
projection's gradients) a sum over n grows by sqrt(n); between equal ones by n.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.theory.expectation import gauss_legendre
from initbench.theory.rows import Columns, Table, blank, told
from initbench.theory.scalar_maps import ScalarMap, passed

Real = NDArray[np.float64]
Pairing = tuple[Activation, Sequence[Promise]]

_OCTAVES = np.arange(-60.0, 5.0)  # panels halve towards 0: a steep map has structure there at every scale
_POINTS = 16
"""Of a panel; those of a first rule are half as many."""
_HALVINGS, _MANY = 8, 256
"""How often panels are halved, and how many are not."""
_TOGETHER = 2**18
"""Nodes of layers at which phi is taken at once, so that they stay in the processor's cache."""
_MEAN, _SQUARE = 0, 1
"""Of the integrals over phi - centre."""
_SETTLED = 1e-13
"""Of an integral, what halving a panel may change where it is not halved again."""
_RESOLVED = 1e-6
"""How far a rule may be from the one with half the panels: what oscillates faster is NaN, not a sample of it."""


def predicted(several: Sequence[Pairing], inputs: InputMoments) -> Table:
    """What is predicted of weights that are all equal or diagonal, `pairings layers`; a note where nothing is known.

    What is equal is followed once.
    """
    deviation = float(np.sqrt(np.mean(inputs.second_moment)))
    maps: dict[ScalarMap, list[int]] = {}
    found = blank(len(several), len(several[0][1]))
    for number, (activation, promises) in enumerate(several):
        if why := _why_not(promises, inputs):
            found["note"][number] = why
        else:
            maps.setdefault(ScalarMap.of(activation, promises, deviation), []).append(number)
    kinds = list(dict.fromkeys(one.activation for one in maps))
    distinct = sorted(maps, key=lambda one: kinds.index(one.activation))  # those of one are followed by one call
    with np.errstate(all="ignore"):
        for one, cuts in zip(distinct, _cuts(distinct), strict=True):
            columns, notes = _settled(one, cuts)
            for name, values in told(columns, np.array(notes, object)).items():
                found[name][maps[one]] = values
    return found


def unknown(several: Sequence[Pairing], _: InputMoments) -> Table:
    """The same of a law that does not know phi itself: nothing."""
    found = blank(len(several), len(several[0][1]))
    found["note"][:] = "this law assumes independent weights of mean 0"
    return found


def _settled(one: ScalarMap, cuts: Real) -> tuple[Columns, list[str]]:
    """The columns and a note for each layer, from panels halved until two rules agree.

    Only panels that halving still changes are halved again: a steep piece of the map is on few of them. A map that is
    folded on every scale has more and more, and is given up.
    """
    panels = np.stack([cuts[:-1], cuts[1:]])
    first = _parts(one, panels, _POINTS // 2)
    centre = _centre(first)
    about = partial(_about, centre)
    rough, coarse = about(first), about(_parts(one, panels, _POINTS))
    moving = _moving(rough, coarse, coarse.sum(axis=-1))
    known, panels, coarse = coarse[..., ~moving].sum(axis=-1), panels[:, moving], coarse[..., moving]
    for _ in range(_HALVINGS):
        middle = panels.mean(axis=0)
        halves = np.stack([[panels[0], middle], [middle, panels[1]]])
        fine = about(_parts(one, halves.reshape(2, -1), _POINTS)).reshape(*known.shape, *halves.shape[1:])
        before, after = known + coarse.sum(axis=-1), known + fine.sum(axis=(-2, -1))
        agreed, notes = _agreed(*(_columns(one, centre, of) for of in (before, after)))
        if not any(notes):
            break
        moving = _moving(coarse, fine.sum(axis=-2), after)
        known += fine[..., ~moving].sum(axis=(-2, -1))
        panels, coarse = (of[..., moving].reshape(*of.shape[:-2], -1) for of in (halves, fine))
        if panels.shape[1] > _MANY:
            break
    return agreed, notes


def _moving(coarse: Real, fine: Real, total: Real) -> NDArray[np.bool_]:
    """The panels on which a finer rule changes any of the integrals."""
    scale = np.abs(total)
    scale[_MEAN] = np.sqrt(scale[_SQUARE])
    moving: NDArray[np.bool_] = np.any(np.abs(fine - coarse) > _SETTLED * scale[..., None], axis=(0, 1))
    return moving


def _columns(one: ScalarMap, centre: Real, total: Real) -> Columns:
    """From the integrals over all panels."""
    off, square, at_z = total
    mean, variance = centre + off, np.maximum(square - off**2, 0.0)
    second = variance + mean**2
    z_second = np.array(one.factors) ** 2 * np.append(one.deviation**2, second[:-1])
    # a 0 that only a flat piece of phi can make is a lost value elsewhere (tanh' of 30 is not 0)
    at_a = np.append(at_z[1:], 1.0) * one.returned
    at_z, at_a = (np.where((of > 0) | one.activation.flat, of, np.nan) for of in (at_z, at_a))
    above = np.append(np.where(at_z[1:] == 0, np.nan, at_z[1:]), np.nan)
    return {"z_second_moment": z_second, "a_mean": mean, "a_second_moment": second, "a_variance": variance,
            "chi": at_z / above, "grad_a_second_moment": at_a, "grad_z_second_moment": at_z}  # fmt: skip


def _parts(one: ScalarMap, panels: Real, points: int) -> Real:
    """What each panel has of E[1], E[phi - first], E[(phi - first)²] and E[(dL/dz)²], and phi at its first node.

    `quantities layers panels`.
    """
    count = max(-(-panels.shape[1] * points * len(one.factors) // _TOGETHER), 1)
    parts = np.array_split(panels, count, axis=1)
    return np.concatenate([_integrated(one, *_nodes(low, high, points)) for low, high in parts], axis=-1)


def _integrated(one: ScalarMap, x: Real, weight: Real) -> Real:
    """`_parts` of some panels, from their nodes, `panels points`."""
    z, value, which = one.followed(x.ravel())
    slope_squares = one.activation.slope(z)
    slope_squares *= slope_squares
    grad = slope_squares[which]
    grad *= np.array(one.returned)[:, None]
    for after, before in pairwise(grad[::-1]):
        before *= after
    value = value.reshape(-1, *x.shape)
    first = value[..., 0].copy()
    value -= first[..., None]
    mass, off, square = weight.sum(axis=-1), np.vecdot(value, weight), np.vecdot(value * weight, value)
    at_z = np.vecdot(grad.reshape(-1, *x.shape), weight)
    return np.stack([np.broadcast_to(mass, at_z.shape), off[which], square[which], at_z, first[which]])


def _centre(parts: Real) -> Real:
    """About E[phi(z)] of each layer, taken from the first node on, so that of a constant the variance is 0."""
    mass, off, _, _, first = parts
    return first[:, 0] + (off + mass * (first - first[:, :1])).sum(axis=-1)


def _about(centre: Real, parts: Real) -> Real:
    """What each panel has of E[phi - centre], E[(phi - centre)²] and E[(dL/dz)²]."""
    mass, off, square, at_z, first = parts
    gap = first - centre[:, None]
    return np.stack([off + mass * gap, square + 2 * gap * off + mass * gap**2, at_z])


def _agreed(coarse: Columns, fine: Columns) -> tuple[Columns, list[str]]:
    """The columns on which both rules agree, and for each layer a note on those that neither resolves."""
    scale = {**fine, "a_mean": np.sqrt(fine["a_second_moment"])}  # the mean of an odd function is 0
    lost = {name: np.abs(fine[name] - coarse[name]) > _RESOLVED * np.abs(scale[name]) for name in fine}
    names = [[name for name in fine if lost[name][layer]] for layer in range(len(fine["a_mean"]))]
    notes = [f"too steep or too often folded to integrate: {', '.join(of)}" if of else "" for of in names]
    return {name: np.where(lost[name], np.nan, fine[name]) for name in fine}, notes


def _why_not(promises: Sequence[Promise], inputs: InputMoments) -> str:
    if any(promise.coupling == "structured" for promise in promises):
        return "weights that hang together in a way that no law is about"
    if not inputs.gaussian:
        return "weights without randomness: depends on each input, not on its moments alone"
    if promises[0].bias_variance > 0:
        return "weights without randomness: not followed with random biases"
    diagonal = promises[0].coupling == "diagonal"
    if diagonal and any(promise.layer.fan_in != promise.layer.fan_out for promise in promises):
        return "an identity between layers of different width is not followed"
    return ""


def _cuts(maps: Sequence[ScalarMap]) -> list[Real]:
    """For each network, panels on every scale around 0, cut also wherever a layer's z passes a kink."""
    edges = np.minimum(2.0**_OCTAVES, 12.0)
    cuts = np.concatenate([-edges[::-1], [0.0], edges])
    network, kinks = passed(maps, _nodes(cuts[:-1], cuts[1:], _POINTS)[0].ravel())
    return [np.unique(np.concatenate([cuts, kinks[network == number]])) for number in range(len(maps))]


def _nodes(low: Real, high: Real, points: int) -> tuple[Real, Real]:
    """Nodes and weights for E[f(x)], x ~ N(0, 1), from the panels between `low` and `high`, `panels points`."""
    abscissa, weight = gauss_legendre(points)
    half = (high - low)[:, None] / 2
    x = (low[:, None] + half) + half * abscissa
    return x, half * weight * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
