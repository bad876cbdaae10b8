"""What is known of calls and tensors while a module's forward pass is followed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from initbench.engine.probe.elementwise import Elementwise, Z
from initbench.engine.probe.functions import Form
from initbench.engine.probe.nested import tensors


@dataclass
class Row:
    """One call of a layer, or one sum."""

    known: dict[str, Any]
    """Column -> value."""
    form: Form
    batch: int = 0
    """The axis of the batch in its output."""
    parameters: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """All names of its first weight: what is tied has several."""
    notes: list[str] = field(default_factory=list)
    squared_grads: list[float] = field(default_factory=list)
    """Of each of its weights, the sum of its squared gradient."""
    taken: bool = False
    """Whether a call that was seen took its output, or it went out."""
    leads: bool = False
    """Whether it leads to another layer."""
    activated: Root | None = None
    """Through which tensor its activation was found."""
    unclear: str = ""
    """Why no variance of its weights is known to keep the signal."""


@dataclass(eq=False)
class Root:
    """A tensor, for what is made of its values one by one."""

    row: Row | None = None
    """Whose output it is, but for its shape and dropout."""
    behind: tuple[Row, ...] = ()
    """Whose outputs were joined, cut, pooled or normalized to it."""
    activation: str = ""
    """The spec of what was found to be its activation."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """All of them."""
        return (*([self.row] if self.row else []), *self.behind)


@dataclass(frozen=True)
class Mark:
    """What is known of a tensor."""

    depth: int = 0
    """Layers on the longest way to it."""
    born: int = 0
    """The number of the call that made it."""
    layer: str = ""
    """The last layer with weights on its way."""
    root: Root = field(default_factory=Root)
    made: Elementwise = Z
    """What of the root's values it is."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Whose outputs it still is, but for a factor."""
        return self.root.rows if self.made.is_linear else ()


@dataclass(frozen=True)
class _Average:
    """Where all of the network's signal so far is averaged over places."""

    born: int
    places: float
    rows: int
    """How many rows came before."""


class Marks:
    """The marks of all tensors that live, by identity."""

    def __init__(self) -> None:
        self._of = WeakTensorKeyDictionary()
        self._born = 0
        self._averages: list[_Average] = []

    def __contains__(self, thing: Any) -> bool:
        return isinstance(thing, Tensor) and thing in self._of

    def of(self, thing: Any) -> Mark:
        """Its mark; one that says nothing, if it is no tensor or has none."""
        return self._of[thing] if thing in self else Mark()

    def among(self, things: Any) -> list[Mark]:
        """The marks of the tensors in it."""
        return [self._of[tensor] for tensor in tensors(things) if tensor in self._of]

    def put(self, things: Any, mark: Mark) -> None:
        """Mark all tensors in it."""
        for tensor in tensors(things):
            self._of[tensor] = mark

    def after(self, given: Iterable[Mark]) -> Mark:
        """The mark of what a call makes of tensors with these.

        What was made before an average over places and is used after it did not pass through that average.
        """
        given = [*given] or [Mark()]
        oldest = min(mark.born for mark in given)
        self._averages = [average for average in self._averages if average.born <= oldest]
        self._born += 1
        deepest = max(given, key=lambda mark: mark.depth)
        return replace(deepest, born=self._born, root=Root(), made=Z)

    def average(self, places: float, rows: int) -> None:
        """The call just made averages over `places`; `rows` came before."""
        self._averages.append(_Average(self._born, places, rows))

    def averaged(self, output: Any, rows: int) -> list[float]:
        """Of each of `rows`, how many places are averaged over between it and the `output`."""
        seen = self._of[output].born if output in self else -1
        passed = [average for average in self._averages if average.born <= seen]
        return [math.prod(each.places for each in passed if each.rows > number) for number in range(rows)]
