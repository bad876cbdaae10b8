"""Networks that one coordinate of the input decides, z_l = factor_l·phi(z_(l-1)), and where they pass kinks of phi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import Promise
from initbench.theory.several import Several

Real = NDArray[np.float64]
Rows = NDArray[np.intp]

_SECTIONS, _ROUNDS = 64, 10
"""A kink is sought between two nodes, to a share of 64^-10 of their distance."""


@dataclass(frozen=True)
class ScalarMap:
    """One such network."""

    activation: Activation
    deviation: float
    """Of the input's coordinate."""
    factors: tuple[float, ...]
    """z of each layer, over phi(z) of the one before; the first: over the input's coordinate."""
    returned: tuple[float, ...]
    """E[(dL/da)²] of each layer, over E[(dL/dz)²] of the next; 1 of the last.

    The projection's gradients are independent from unit to unit, those of other layers are equal.
    """

    @classmethod
    def of(cls, activation: Activation, promises: Sequence[Promise], deviation: float) -> ScalarMap:
        """From what is promised of equal or diagonal weights, first layer to last."""
        layers, means = [promise.layer for promise in promises], [promise.mean for promise in promises]
        if promises[0].coupling == "diagonal":  # the mean is over all entries, of which one in fan_in is not 0
            factors = [mean * layer.fan_in for mean, layer in zip(means, layers, strict=True)]
            return cls(activation, deviation, tuple(factors), (*(factor**2 for factor in factors[1:]), 1.0))
        powers = [0.5, *[1.0] * (len(promises) - 1)]
        factors = [mean * layer.fan_in**power for mean, layer, power in zip(means, layers, powers, strict=True)]
        powers = [*[2.0] * (len(promises) - 2), 1.0]
        returned = [mean**2 * layer.fan_out**power
                    for mean, layer, power in zip(means[1:], layers[1:], powers, strict=False)]  # fmt: skip
        return cls(activation, deviation, tuple(factors), (*returned, 1.0))


@dataclass(frozen=True)
class Trajectory:
    """What some coordinates become, without layers where z stays what it is."""

    z: Real
    """`layers nodes`."""
    value: Real
    """phi(z)."""
    which: Rows
    """Of those, that of each layer of the network."""


def followed(maps: Sequence[ScalarMap], each: Sequence[Real]) -> list[Trajectory]:
    """Networks of one activation, each from its own coordinates over their deviation: one call of phi for all."""
    ends, phi = np.cumsum([0, *map(len, each)]), maps[0].activation.value
    owner = np.repeat(np.arange(len(maps)), np.diff(ends))
    factors = np.array([one.factors for one in maps]).T
    level = np.concatenate(each) * np.array([one.deviation for one in maps])[owner]
    z, value = np.empty((2, len(factors), len(level)))
    moves = np.ones(factors.shape, bool)
    for number, factor in enumerate(factors):
        np.multiply(level, factor[owner], out=z[number])
        if number:
            moves[number] = np.logical_or.reduceat(z[number] != z[number - 1], ends[:-1])
        if moves[number].any():
            level = value[number] = phi(z[number])
    parts = zip(moves.T, starmap(slice, pairwise(ends)), strict=True)
    return [Trajectory(z[own, nodes], value[own, nodes], np.cumsum(own) - 1) for own, nodes in parts]


def passed(maps: Sequence[ScalarMap], x: Real) -> tuple[Rows, Real]:
    """Where z of some layer passes a kink, between two of the rising nodes `x`, and of which of the networks.

    What several layers pass between the same two nodes is followed once for all of them, and all networks together.
    """
    seen = [_seen(one, x) for one in maps]
    network = np.repeat(np.arange(len(maps)), [len(layer) for layer, *_ in seen])
    if not len(network):
        return network, np.empty(0)
    layer, left, side, kink = (np.concatenate(of) for of in zip(*seen, strict=True))
    chosen, bracket = np.unique(network * len(x) + left, return_inverse=True)
    network, left = np.divmod(chosen, len(x))
    low, high, shares = x[left], x[left + 1], np.linspace(0, 1, _SECTIONS + 1)
    activations = Several.of([one.activation for one in maps])
    deviation, factors = np.array([one.deviation for one in maps]), np.array([one.factors for one in maps]).T
    for _ in range(_ROUNDS):
        at = low[:, None] + (high - low)[:, None] * shares
        z = _reached(activations.at(network), factors[:, network], at * deviation[network, None])
        same = (z[layer, bracket] > kink[:, None]) == side[:, None]
        last = np.clip(np.argmin(same, axis=1) - 1, 0, _SECTIONS - 1)
        chosen, bracket = np.unique(bracket * _SECTIONS + last, return_inverse=True)
        parent, last = np.divmod(chosen, _SECTIONS)
        network, low, high = network[parent], at[parent, last], at[parent, last + 1]
    return network, high


def _seen(one: ScalarMap, x: Real) -> tuple[Rows, Rows, NDArray[np.bool_], Real]:
    """Where z passes a kink: the layer, the node before, whether z is above the kink there, and the kink."""
    kinks = np.array(one.activation.kinks)
    if not len(kinks):
        return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, bool), kinks
    (path,) = followed([one], [x])
    above = path.z[..., None] > kinks
    row, left, kink = np.nonzero(above[:, 1:] != above[:, :-1])
    return np.searchsorted(path.which, row), left, above[row, left, kink], kinks[kink]


def _reached(activations: Several, factors: Real, x: Real) -> Real:
    """z of every layer, `layers rows nodes`, of a network a row."""
    z, level = np.empty((len(factors), *x.shape)), x
    for row, factor in zip(z, factors, strict=True):
        level = activations.value(np.multiply(level, factor[:, None], out=row))
    return z
