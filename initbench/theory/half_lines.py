"""Gaussian averages of functions that bend at 0 at most: the same nodes for every variance, and their own error.

On each half-line the double exponential rule (Takahasi & Mori 1974), x = ±exp(t - exp(-t)) at equal steps of t. Its
nodes are dense in log |x|, so that what f does on the scale of 1 is seen whatever the variance of z = sqrt(q) x, and
so is a kink at 0. The error falls exponentially with the number of steps: with half of them, which are among the nodes,
it is about the square root. So a rule that halving changes by 1e-7 is right to 1e-13.

Functions that bend elsewhere are averaged over panels (`expectation`), which are cut there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

from initbench.theory.expectation import Rule, alike, gaussian_nodes

Real = NDArray[np.float64]
Rows = NDArray[np.intp]

START, END = -3.5, 2.6
"""Of t: |x| from 1e-16 to 12.5."""
LOUDEST = 1e9
"""The largest variance that they are for: beyond, too few of them are on the scale of z = 1."""
REACH = float(np.exp(END - np.exp(-END)))
"""The largest |x|."""
TOGETHER = 2**15
"""Nodes at which functions are held at once, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Lattice:
    """The rule of so many steps, an even number, on each half-line."""

    steps: int

    def nodes(self, q: Real) -> Nodes:
        """For variances q."""
        return Nodes(self.x, np.sqrt(q)[..., None] * self.x, self.weight, self)

    @cached_property
    def _rule(self) -> tuple[Real, Real]:
        t, step = np.linspace(START, END, self.steps + 1, retstep=True)
        x = np.exp(t - np.exp(-t))
        weight = step * x * (1 + np.exp(-t)) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        return np.concatenate([-x[::-1], x]), np.concatenate([weight[::-1], weight])

    @property
    def x(self) -> Real:
        """The nodes, in standard deviations."""
        return self._rule[0]

    @property
    def weight(self) -> Real:
        """Those with sum(weight f(x)) = E[f(x)]."""
        return self._rule[1]

    @cached_property
    def root(self) -> Real:
        """sqrt(weight)."""
        return np.sqrt(self.weight)

    @cached_property
    def half(self) -> Real:
        """The weights of every other node alone, with 0 between."""
        side = np.arange(self.steps + 1) % 2 == 0
        return 2 * self.weight * np.concatenate([side, side])

    @cache  # noqa: B019 - the lattices are those of the module
    def hermite(self, orders: int) -> Real:
        """sqrt(weight) times he_0 to he_`orders`, `orders nodes`."""
        return _hermite(self.x, self.root, orders)


LATTICES = {steps: Lattice(steps) for steps in (70, 140, 280, 560)}
"""The first, and those of what is not settled on the one before."""


@dataclass(frozen=True)
class Nodes:
    """Where functions of z ~ N(0, q) are averaged."""

    x: Real
    """z / sqrt(q), `nodes`, or `... nodes` where each variance has its own."""
    z: Real
    """`... nodes`."""
    weight: Real
    """Those with sum(weight f(z)) = E[f(z)], in the shape of `x`."""
    lattice: Lattice | None = None
    """Whose they are, if they are no panels'."""

    def at(self, rows: Rows) -> Nodes:
        """Those of some rows."""
        if self.lattice is None:
            return Nodes(self.x[rows], self.z[rows], self.weight[rows])
        return replace(self, z=self.z[rows])

    @cached_property
    def root(self) -> Real:
        """sqrt(weight): sums of products of functions times that are their averages."""
        return np.sqrt(self.weight) if self.lattice is None else self.lattice.root

    def change(self, squares: Real, functions: Real) -> Real:
        """By how much averages `squares` of positive functions, `... nodes`, differ from those of half the nodes.

        Relative; 0 of panels.
        """
        if self.lattice is None:
            return np.zeros_like(squares)
        half = np.vecdot(functions, self.lattice.half)
        return np.abs(1 - np.divide(half, squares, out=np.ones_like(half), where=squares > 0))

    def projections(self, rooted: Real, orders: int) -> Real:
        """E[f he_k] for k from 0 to `orders`, `... functions k`, of functions times `root`, `... functions nodes`."""
        if self.lattice is None:
            return rooted @ np.moveaxis(_hermite(self.x, self.root, orders), 0, -1)
        found = rooted.reshape(-1, len(self.x)) @ self.lattice.hermite(orders).T  # one product for all rows
        return found.reshape(*rooted.shape[:-1], orders + 1)


def averages(
    of: Callable[[Rows, Nodes], tuple[Sequence[Real], Real]], q: Real, kinks: Real, settled: float, rule: Rule
) -> list[Real]:
    """What `of` says of rows at their nodes, each `rows ...`; it also says by how much halving the rule changes that.

    Rows are on the first lattice on which halving changes less than `settled`, or on the last; on panels by `rule`
    where they have a kink elsewhere. `q` is `rows ...`, `kinks` `rows kinks`.
    """
    parts: list[tuple[Rows, Sequence[Real]]] = []
    left, last = np.arange(len(q)), [*LATTICES.values()][-1]
    for lattice in LATTICES.values():
        unsettled = [left[:0]]
        for some, nodes in laid(q[left], kinks[left], lattice, rule):
            found, change = of(left[some], nodes)
            done = (change < settled) | (lattice is last)
            if not done.all():
                unsettled.append(left[some[~done]])
                some, found = some[done], [each[done] for each in found]
            parts.append((left[some], found))
        left = np.concatenate(unsettled)
        if not len(left):
            break
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return [np.concatenate(each)[order] for each in zip(*(found for _, found in parts), strict=True)]


def laid(q: Real, kinks: Real, lattice: Lattice, rule: Rule | None = None) -> Iterator[tuple[Rows, Nodes]]:
    """Some rows at once, and their nodes: the lattice's; where kinks are elsewhere, of panels by `rule`, or none."""
    fit = fits(q, kinks)
    held = TOGETHER // (len(lattice.x) * max(q[:1].size, 1)) or 1
    for rows in _split(np.flatnonzero(fit), held):
        yield rows, lattice.nodes(q[rows])
    others = np.flatnonzero(~fit)
    if rule is None or not len(others):
        return
    for part in alike(q[others]):
        rows = others[part]
        z, weight = gaussian_nodes(q[rows], kinks[rows], rule=rule)
        yield rows, Nodes(z / np.sqrt(q[rows])[..., None], z, weight)


def fits(q: Real, kinks: Real) -> NDArray[np.bool_]:
    """Whether a row, of `rows ...` variances and `rows kinks`, has no kink but 0 where the nodes reach."""
    largest = q.reshape(len(q), -1).max(axis=-1)
    elsewhere = (kinks != 0) & (np.abs(kinks) <= REACH * np.sqrt(largest)[:, None])
    return ~elsewhere.any(axis=-1) & ~(largest > LOUDEST)


def _split(rows: Rows, most: int) -> list[Rows]:
    return np.array_split(rows, -(-len(rows) // most)) if len(rows) else []


def _hermite(x: Real, first: Real, orders: int) -> Real:
    """`first` times he_0 to he_`orders` at x, `orders ...`."""
    found = np.empty((orders + 1, *x.shape))
    for place, polynomial in zip(found, hermite(x, first), strict=False):
        place[...] = polynomial
    return found


def hermite(x: Real, first: Real | float = 1.0) -> Iterator[Real]:
    """`first` times the normalized probabilists' Hermite polynomials he_0, he_1, ... at x, one after another.

    Each is overwritten when the next but one is asked for.
    """
    before, now = np.zeros_like(x), np.full_like(x, first)
    for k in count():
        yield now
        before *= -math.sqrt(k)
        before += x * now
        before /= math.sqrt(k + 1)
        before, now = now, before
