"""Cells into stacks: pairings of one activation are computed together, and equal ones once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from initbench.activations import ACTIVATIONS
from initbench.core.errors import UsageError
from initbench.engine.stack import Member, Stack, member
from initbench.grid.variance_study import VarianceStudy
from initbench.initializers import INITIALIZERS, Basis

Pairing = tuple[str, str]
T = TypeVar("T")

MEMORY = 2**30
"""Bytes that the draws held at one time, and that the networks of one stack, may take; one of each always fits."""


@dataclass(frozen=True)
class Planned:
    """A stack, and which pairings each member answers: Xavier and LeCun are one network where fans are equal."""

    stack: Stack
    answers: tuple[tuple[Pairing, ...], ...]


@dataclass(frozen=True)
class Plan:
    """What a variance study has to run for each seed."""

    rounds: tuple[tuple[tuple[Basis, ...], tuple[Planned, ...]], ...]
    """Bases whose draws are held together, and the stacks that use them."""
    impossible: dict[Pairing, str] = field(default_factory=dict)
    """Pairings that cannot be, each with its reason."""

    @property
    def networks(self) -> int:
        """Distinct networks for each seed."""
        return sum(len(planned.answers) for _, stacks in self.rounds for planned in stacks)


def plan(study: VarianceStudy) -> Plan:
    """The stacks of `study`. Raises `UsageError` if no pairing is possible."""
    impossible: dict[Pairing, str] = {}
    cells: dict[str, dict[Member, list[Pairing]]] = {activation: {} for activation in study.activation}
    for init, activation in study.pairings:
        initializer = INITIALIZERS.make(init)
        try:
            promises = initializer.promises(ACTIVATIONS.make(activation), study.network)
        except UsageError as reason:
            impossible[init, activation] = str(reason)
        else:
            cells[activation].setdefault(member(initializer, promises), []).append((init, activation))
    bases = {m.basis.name: m.basis for members in cells.values() for m in members}
    if not bases:
        raise UsageError(next(iter(impossible.values())))
    draws = 4 * sum(layer.fan_in * layer.fan_out for layer in study.network.layers)
    held = _batched(list(bases.values()), max(1, MEMORY // draws))
    return Plan(tuple((together, tuple(_stacks(together, cells, study))) for together in held), impossible)


def _stacks(
    together: tuple[Basis, ...], cells: dict[str, dict[Member, list[Pairing]]], study: VarianceStudy
) -> Iterator[Planned]:
    """Stacks of the members on these bases, each of one activation and within `MEMORY`."""
    for activation, members in cells.items():
        kept = [m for basis in together for m in members if m.basis.name == basis.name]
        for part in _batched(kept, _most_members(study)):
            stack = Stack(ACTIVATIONS.make(activation), study.network, part)
            yield Planned(stack, tuple(tuple(members[m]) for m in part))


def _most_members(study: VarianceStudy) -> int:
    """Networks that leave their slopes and Gram matrices within `MEMORY`."""
    left = 4 * study.batch * (sum(study.widths) + study.batch * len(study.widths))
    return max(1, MEMORY // left)


def _batched(items: Sequence[T], size: int) -> Iterator[tuple[T, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))
