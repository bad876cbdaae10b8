"""Cells into stacks: pairings of one activation are computed together, and equal ones once."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from initbench.activations import ACTIVATIONS
from initbench.core.errors import UsageError
from initbench.datasets.fitness import require_memory as require_bytes
from initbench.engine.signals import SAFE
from initbench.engine.stack import Member, Stack, member
from initbench.grid.variance_study import VarianceStudy
from initbench.initializers import INITIALIZERS, Basis
from initbench.theory.laws import LAWS

Pairing = tuple[str, str]
T = TypeVar("T")

MEMORY = 2**30
"""Bytes that the draws held at one time, and that the networks of one stack, may take; one of each always fits."""
ROW = 1200
"""Bytes that a row of a table takes while tables are joined, judged and printed (measured: 1,260, printed as csv)."""
CACHED = 2**20
"""Bytes of one tensor of a stack: enough networks to share out the cost of a call, few enough for the caches."""


@dataclass(frozen=True)
class Planned:
    """A stack, and which pairings each member answers: Xavier and LeCun are one network where fans are equal."""

    stack: Stack
    answers: tuple[tuple[Pairing, ...], ...]


@dataclass(frozen=True)
class Plan:
    """What a variance study has to run: for every seed, the networks of each activation with their pairings."""

    study: VarianceStudy
    networks: dict[str, dict[Member, tuple[Pairing, ...]]]
    """Activation -> its distinct networks, at seed 0, and the pairings that each answers."""
    impossible: dict[Pairing, str] = field(default_factory=dict)
    """Pairings that cannot be, each with its reason."""

    @property
    def size(self) -> int:
        """Distinct networks, all seeds together."""
        return self.study.seeds * sum(len(members) for members in self.networks.values())

    @property
    def parts(self) -> list[range]:
        """Seeds that are run and kept together: enough of them to fill the stacks."""
        widest = max(len(members) for members in self.networks.values())
        together = max(1, self._full // widest)
        return [range(start, min(start + together, self.study.seeds)) for start in range(0, self.study.seeds, together)]

    def rounds(self, seeds: range) -> Iterator[tuple[list[tuple[Basis, int]], list[Planned]]]:
        """Draws that are held together, and the stacks that use them, for a part's seeds."""
        bases = {m.basis.name: m.basis for members in self.networks.values() for m in members}
        size = 4 * sum(layer.fan_in * layer.fan_out for layer in self.study.network.layers)
        draws = [(basis, seed) for basis in bases.values() for seed in seeds]
        for held in _batched(draws, max(1, MEMORY // size)):
            yield held, list(self._stacks(held))

    def _stacks(self, held: Sequence[tuple[Basis, int]]) -> Iterator[Planned]:
        """Stacks of the networks on these draws, each of one activation."""
        for activation, networks in self.networks.items():
            members = [(replace(m, seed=seed), pairings) for basis, seed in held
                       for m, pairings in networks.items() if m.basis.name == basis.name]  # fmt: skip
            members.sort(key=lambda item: self._is_wild(item[0]))  # a stack that leaves float32 costs all its members
            for part in _batched(members, self._full):
                stack = Stack(ACTIVATIONS.make(activation), self.study.network, tuple(m for m, _ in part))
                yield Planned(stack, tuple(pairings for _, pairings in part))

    def _is_wild(self, network: Member) -> bool:
        """Whether a linear network of these scales would leave float32's safe range."""
        scales = zip(network.weight_scales, self.study.network.layers, strict=True)
        growth = sum(math.log(scale * layer.fan_in**0.5) for scale, layer in scales if scale > 0)
        return not math.log(SAFE[0]) < growth < math.log(SAFE[1])

    @property
    def _full(self) -> int:
        """Networks of a full stack: by the caches, and by the slopes and Gram matrices that they leave in memory."""
        batch, widths = self.study.batch, self.study.widths
        left = 4 * batch * (sum(widths) + batch * len(widths))
        return max(1, min(CACHED // (4 * batch * max(widths)), MEMORY // left))


def plan(study: VarianceStudy) -> Plan:
    """The distinct networks of `study`. Raises `UsageError` if no pairing is possible, or none would fit in memory."""
    require_memory(study.widths, study.batch)
    require_rows(study, study.seeds + len(LAWS.defaults))
    impossible: dict[Pairing, str] = {}
    networks: dict[str, dict[Member, tuple[Pairing, ...]]] = {}
    for init, activation in study.pairings:
        initializer = INITIALIZERS.make(init)
        try:
            promises = initializer.promises(ACTIVATIONS.make(activation), study.network)
        except UsageError as reason:
            impossible[init, activation] = str(reason)
            continue
        members = networks.setdefault(activation, {})
        network = member(initializer, promises, seed=0)
        members[network] = (*members.get(network, ()), (init, activation))
    if not networks:
        raise UsageError(next(iter(impossible.values())))
    return Plan(study, networks, impossible)


def require_memory(widths: tuple[int, ...], batch: int) -> None:
    """Refuse what cannot fit before anything is allocated: the weights of one draw and what one network leaves."""
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    needed = 4 * (2 * weights + 6 * batch * sum(widths) + 2 * batch**2 * len(widths))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UsageError(
            f"a network of these widths needs about {needed / 2**30:.3g} GiB with this batch; this machine has"
            f" {there / 2**30:.3g}"
        )


def require_rows(study: VarianceStudy, times: int) -> None:
    """Refuse tables that would not fit in memory: a row each pairing, layer, and one of so many `times`."""
    rows = len(study.pairings) * study.network.depth * times
    require_bytes(f"tables of {rows:,} rows", ROW * rows)


def _batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))
