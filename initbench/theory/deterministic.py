"""Weights without randomness: the network is a known scalar map, followed exactly.

Where all weights equal w, every unit of a layer is the same, z_l = w·fan_in·phi(z_(l-1)); with w_ij = g·delta_ij, each
coordinate goes its own way, z_l = g·phi(z_(l-1)). Either way one number z_1 ~ N(0, q_1) decides all, for Gaussian
input, and each column is an integral over it. Between independent terms (the features of the input, the random
projection's gradients) a sum over n grows by sqrt(n); between equal ones by n.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import InputMoments, Promise
from initbench.theory.expectation import gauss_legendre
from initbench.theory.half_lines import LATTICES
from initbench.theory.panels import Panels, Search, together
from initbench.theory.rows import Columns, Table, blank, told
from initbench.theory.scalar_maps import ScalarMap, passed

Real = NDArray[np.float64]
Pairing = tuple[Activation, Sequence[Promise]]
Said = tuple[Columns, list[str]]
"""The columns of a network, and a note for each layer."""

_OCTAVES = np.concatenate([np.arange(-60.0, -12.0, 4.0), np.arange(-12.0, 5.0)])
"""Panels end at powers of 2 around 0: a steep map has structure there at every scale. Near 0 at every fourth: few have
any there, and their panels are cut."""
_POINTS = 15
"""Of a panel; every other one makes a rule, too."""
_ROUNDS, _FEW, _MANY = 9, 8, 256
"""How often panels are cut: few of them into quarters, others into halves, and so many not at all."""
_GRADED = np.array([0.0, *4.0 ** np.arange(-32, 0), *(1 - 4.0 ** np.arange(-1, -33, -1)), 1.0])
"""Where a single one is cut: it is most likely steep at an end, on ever smaller scales."""
_FIRST, _SOME, _NEARLY_ALL = 3, 64, 0.88
"""After these rounds, of more panels than so many, the share that is given up: a map that is folded on every scale."""
_MEAN, _SQUARE, _GRADIENT, _FOURTHS = range(4)
"""Of the integrals: E[phi - centre], E[(phi - centre)²] and E[(dL/dz)²]; from the last on E[phi⁴] and E[(dL/dz)⁴]."""
_RARE = 1e6
"""E[s²]/E[s]² of a square s from which on no batch has the inputs that hold nearly all of it."""
_UNRESOLVED, _SELDOM = "too steep or too often folded to integrate", "decided by inputs rarer than one in a million"
_HOPELESS = 0.1
"""What half the first lattice may change is a tenth of that: no map that changes more is on the next ones either."""
_WHOLE, _HALF = 0, 1
"""The rules: all nodes, and half of them."""
_SETTLED = 1e-8
"""Of an integral, what half the nodes of a rule may change: its error is about the square of that."""
_RESOLVED = 1e-6
"""The same where no more nodes are taken: what oscillates faster is NaN, not a sample of it."""


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
        known = dict(zip(distinct, together([_on_lattice(one) for one in distinct]), strict=True))
        left = [one for one, said in known.items() if said is None]
        settled = together([_settled(one, cuts) for one, cuts in zip(left, _cuts(left), strict=True)])
        agreed = {one: said for one, said in known.items() if said is not None}
        for one, (columns, notes) in (agreed | dict(zip(left, settled, strict=True))).items():
            for name, values in told(columns, np.array(notes, object)).items():
                found[name][maps[one]] = values
    return found


def unknown(several: Sequence[Pairing], _: InputMoments) -> Table:
    """The same of a law that does not know phi itself: nothing."""
    found = blank(len(several), len(several[0][1]))
    found["note"][:] = "this law assumes independent weights of mean 0"
    return found


def _on_lattice(one: ScalarMap) -> Search[Said | None]:
    """What there is to say, if the map bends at 0 at most and is not too steep for a lattice."""
    if not {*one.activation.kinks} <= {0.0}:
        return None
    off = _HOPELESS
    for lattice in LATTICES.values():
        rules = np.stack([lattice.weight, lattice.half], axis=-1)
        parts = yield Panels(one, lattice.x[None], np.ones_like(lattice.x[None]), rules)
        about = _about(centre := _centre(parts), parts)
        before, off = off, _off(about, about[:, _WHOLE, :, 0]).max()
        if off < _SETTLED:
            return _agreed(one, centre, about[..., 0])
        if not off < before / 10:  # it should be about the square
            break
    return None


def _settled(one: ScalarMap, cuts: Real) -> Search[Said]:
    """What there is to say, from panels cut until half of their nodes say the same.

    Only those on which they don't are cut: a steep piece of the map is on few of them. A map that is folded on
    every scale has more and more, nearly all of what is cut, and is given up.
    """
    panels = np.stack([cuts[:-1], cuts[1:]])
    parts = yield Panels(one, *_nodes(*panels), _rules()[1])
    centre, known = _centre(parts), 0.0
    for number in range(1, _ROUNDS + 1):
        about = _about(centre, parts)
        total = known + about.sum(axis=-1)
        off = (_off(about, total[:, _WHOLE]) > _SETTLED).any(axis=(0, 1))
        count = np.count_nonzero(off)
        folded = number > _FIRST and count > _SOME and count > _NEARLY_ALL * panels.shape[1]
        if not count or count > _MANY or folded or number == _ROUNDS:
            break
        known = known + about[..., ~off].sum(axis=-1)
        low, high = panels[:, off]
        pieces = _GRADED if count == 1 else np.linspace(0, 1, 5 if count <= _FEW else 3)
        cuts = low + (high - low) * pieces[:, None]
        panels = np.stack([cuts[:-1].ravel(), cuts[1:].ravel()])
        parts = yield Panels(one, *_nodes(*panels), _rules()[1])
    return _agreed(one, centre, total)


def _off(about: Real, total: Real) -> Real:
    """How far half of the nodes are from all, relative to integrals of `quantities layers`; `... panels`."""
    scale, apart = np.abs(total[:_FOURTHS]), np.abs(about[:_FOURTHS, _WHOLE] - about[:_FOURTHS, _HALF])
    scale[_MEAN] = np.sqrt(scale[_SQUARE])  # the mean of an odd function is 0
    return np.where(apart == 0, 0.0, apart / scale[..., None])


def _columns(one: ScalarMap, centre: Real, total: Real) -> Columns:
    """From the integrals over all panels."""
    off, square, at_z, *_ = total
    mean, variance = centre + off, np.maximum(square - off**2, 0.0)
    second = variance + mean**2
    z_second = np.array(one.factors) ** 2 * np.append(one.deviation**2, second[:-1])
    # a 0 that only a flat piece of phi can make is a lost value elsewhere (tanh' of 30 is not 0)
    at_a = np.append(at_z[1:], 1.0) * one.returned
    at_z, at_a = (np.where((of > 0) | one.activation.flat, of, np.nan) for of in (at_z, at_a))
    above = np.append(np.where(at_z[1:] == 0, np.nan, at_z[1:]), np.nan)
    return {"z_second_moment": z_second, "a_mean": mean, "a_second_moment": second, "a_variance": variance,
            "chi": at_z / above, "grad_a_second_moment": at_a, "grad_z_second_moment": at_z}  # fmt: skip


def _centre(parts: Real) -> Real:
    """About E[phi(z)] of each layer, taken from the first node on, so that of a constant the variance is 0."""
    mass, off, *_, first = parts[:, _WHOLE]
    return first[:, 0] + (off + mass * (first - first[:, :1])).sum(axis=-1)


def _about(centre: Real, parts: Real) -> Real:
    """What each panel has of the integrals over phi - centre and dL/dz, `quantities rules layers panels`."""
    mass, off, square, *others, first = parts
    gap = first - centre[:, None]
    return np.stack([off + mass * gap, square + 2 * gap * off + mass * gap**2, *others])


def _agreed(one: ScalarMap, centre: Real, total: Real) -> Said:
    """The columns on which both rules agree, from `quantities rules layers`; a note on the others for each layer."""
    fine, coarse = (_columns(one, centre, total[:, rule]) for rule in (_WHOLE, _HALF))
    scale = {**fine, "a_mean": np.sqrt(fine["a_second_moment"])}  # the mean of an odd function is 0
    unresolved = {name: np.abs(fine[name] - coarse[name]) > _RESOLVED * np.abs(scale[name]) for name in fine}
    seldom = {name: of & ~unresolved[name] for name, of in _seldom(fine, *total[_FOURTHS:, _WHOLE]).items()}
    notes = [
        "; ".join(
            f"{why}: {', '.join(names)}"
            for why, lost in ((_UNRESOLVED, unresolved), (_SELDOM, seldom))
            if (names := [name for name, of in lost.items() if of[layer]])
        )
        for layer in range(len(centre))
    ]
    for lost in (unresolved, seldom):
        for name, of in lost.items():
            fine[name] = np.where(of, np.nan, fine[name])
    return fine, notes


def _seldom(columns: Columns, of_phi: Real, of_gradient: Real) -> dict[str, NDArray[np.bool_]]:
    """Whether rare inputs decide, from fourth moments; by column."""
    forward = of_phi > _RARE * columns["a_second_moment"] ** 2
    backward = of_gradient > _RARE * columns["grad_z_second_moment"] ** 2
    above = np.append(backward[1:], False)
    return {"z_second_moment": np.append(False, forward[:-1]), "a_mean": forward, "a_second_moment": forward,
            "a_variance": forward, "chi": backward | above, "grad_a_second_moment": above,
            "grad_z_second_moment": backward}  # fmt: skip


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
    network, kinks = passed(maps, _nodes(cuts[:-1], cuts[1:])[0].ravel())
    return [np.unique(np.concatenate([cuts, kinks[network == number]])) for number in range(len(maps))]


def _nodes(low: Real, high: Real) -> tuple[Real, Real]:
    """Nodes and what the weights of `_rules` are to be multiplied by for x ~ N(0, 1), `panels nodes`."""
    half = (high - low)[:, None] / 2
    x = (low[:, None] + half) + half * _rules()[0]
    return x, half * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


@cache
def _rules() -> tuple[Real, Real]:
    """Gauss-Legendre nodes on [-1, 1]; their weights, and those of every other one alone with 0 between, `nodes 2`."""
    abscissa, weight = gauss_legendre(_POINTS)
    half, chosen = np.zeros(_POINTS), abscissa[::2]
    half[::2] = np.linalg.solve(legvander(chosen, len(chosen) - 1).T, 2 * np.eye(len(chosen))[0])  # E of polynomials
    return abscissa, np.stack([weight, half], axis=-1)
