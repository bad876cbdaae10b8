"""Integrals over what one coordinate of the input becomes, panel by panel; networks of one activation go together.

A search for the right panels of one network is a generator: it yields those that it wants next, and is sent what they
have. Many searches go on side by side (`together`): a call of phi costs more than what it computes on one network.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from initbench.theory.scalar_maps import ScalarMap, Trajectory, followed

T = TypeVar("T")
Real = NDArray[np.float64]

TOGETHER = 2**18
"""Nodes of layers at which phi is taken at once, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Panels:
    """Where a network's integrals are taken."""

    one: ScalarMap
    x: Real
    """Nodes, `panels nodes`, in standard deviations of the input."""
    density: Real
    """What the weights of `rules` are to be multiplied by there."""
    rules: Real
    """Weights of all nodes, and of half of them, `nodes rules`."""

    @property
    def size(self) -> int:
        """Nodes of all layers."""
        return self.x.size * len(self.one.factors)

    def split(self) -> list[Panels]:
        """In parts of at most `TOGETHER`, or of one panel."""
        count = min(max(-(-self.size // TOGETHER), 1), len(self.x))
        parts = (np.array_split(of, count) for of in (self.x, self.density))
        return [replace(self, x=x, density=density) for x, density in zip(*parts, strict=True)]

    def summed(self, path: Trajectory, slope_squares: Real) -> Real:
        """What each has of E[1], of phi - first, its square, (dL/dz)², both squared, and phi at its first node.

        `quantities rules layers panels`, from where the nodes have gone and phi'² there.
        """

        def over(of: Real) -> Real:
            return np.moveaxis((of * self.density) @ self.rules, -1, 0)

        grad = slope_squares[path.which]
        grad *= np.array(self.one.returned)[:, None]
        for after, before in pairwise(grad[::-1]):
            before *= after
        value, grad = path.value.reshape(-1, *self.x.shape), grad.reshape(-1, *self.x.shape)
        first, fourth = value[..., 0].copy(), over((value**2) ** 2)
        value -= first[..., None]
        by_value = over(value), over(value**2), fourth, first[None]
        off, square, fourth, first = (each[:, path.which] for each in by_value)
        mass = over(np.ones_like(self.x))[:, None]
        return np.stack(np.broadcast_arrays(mass, off, square, over(grad), fourth, over(grad**2), first))


Search = Generator[Panels, Real, T]
"""A search for panels on which a network's integrals are settled, and what it comes to."""


def together(searches: Sequence[Search[T]]) -> list[T]:
    """What each search comes to."""
    found: dict[int, T] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(searches)))
    while answers:
        asked = dict[int, Panels]()
        for number, answer in answers.items():
            try:
                asked[number] = searches[number].send(answer)
            except StopIteration as end:
                found[number] = end.value
        answers = dict(zip(asked, _answered([*asked.values()]), strict=True))
    return [found[number] for number in range(len(searches))]


def _answered(asked: Sequence[Panels]) -> list[Real]:
    """`Panels.summed` of each."""
    found: list[list[Real]] = [[] for _ in asked]
    for batch in _batches([(number, part) for number, panels in enumerate(asked) for part in panels.split()]):
        whose, parts = zip(*batch, strict=True)
        paths = followed([part.one for part in parts], [part.x.ravel() for part in parts])
        squares = parts[0].one.activation.slope(np.concatenate([path.z.ravel() for path in paths]))
        squares *= squares
        ends = np.cumsum([path.z.size for path in paths])
        for number, part, path, own in zip(whose, parts, paths, np.split(squares, ends[:-1]), strict=True):
            found[number].append(part.summed(path, own.reshape(path.z.shape)))
    return [np.concatenate(each, axis=-1) for each in found]


def _batches(parts: Sequence[tuple[int, Panels]]) -> Iterator[list[tuple[int, Panels]]]:
    """Neighbours of one activation, as many as make `TOGETHER`."""
    batch: list[tuple[int, Panels]] = []
    size = 0
    for number, part in parts:
        if batch and (part.one.activation != batch[0][1].one.activation or size + part.size > TOGETHER):
            yield batch
            batch, size = [], 0
        batch.append((number, part))
        size += part.size
    if batch:
        yield batch
