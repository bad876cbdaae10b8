"""The cells of a grid by their places: none is made before it is asked for, as there may be a million."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from initbench.core.cell import Cell
from initbench.grid.factors import cell_of, level_of

Places = NDArray[np.int64]


class Grid(Sequence[Cell]):
    """All combinations of the levels of `factors`, the last factor's innermost, but those that a rule excludes.

    A rule excludes the cells that have one of its levels of each factor that it names.
    """

    def __init__(self, factors: Mapping[str, Sequence[Any]], rules: Sequence[Mapping[str, Sequence[Any]]] = ()) -> None:
        self._factors = dict(factors)
        self._places: range | Places = range(math.prod(map(len, self._factors.values())))
        """Of the cells that there are, among all combinations."""
        if rules:
            self._places = np.flatnonzero(~np.any([self._matching(rule) for rule in rules], axis=0))

    def _matching(self, rule: Mapping[str, Sequence[Any]]) -> NDArray[np.bool_]:
        """Which of all combinations have the levels that the rule names."""
        matching = np.ones([len(levels) for levels in self._factors.values()], bool)
        for name, accepted in rule.items():
            levels = self._factors.get(name, [level_of(Cell(), name)])
            along = [-1 if other == name else 1 for other in self._factors]
            matches = np.array([level in accepted for level in levels])
            matching &= matches.reshape(along) if name in self._factors else matches
        return matching.ravel()

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> Cell: ...

    @overload
    def __getitem__(self, at: slice) -> Grid: ...

    def __getitem__(self, at: int | slice) -> Cell | Grid:
        return self._of(self._places[at]) if isinstance(at, slice) else self._cell(int(self._places[at]))

    def __iter__(self) -> Iterator[Cell]:
        return map(self._cell, map(int, self._places))

    def at(self, places: Sequence[int] | NDArray[np.integer[Any]]) -> Grid:
        """The cells at these places, in the order of `places`."""
        return self._of(np.asarray(self._places)[np.asarray(places, np.int64)])

    def _of(self, places: range | Places) -> Grid:
        some = copy(self)
        some._places = places
        return some

    def _cell(self, place: int) -> Cell:
        chosen = {}
        for name, levels in reversed(self._factors.items()):
            place, at = divmod(place, len(levels))
            chosen[name] = levels[at]
        return cell_of(chosen)

    def levels(self, name: str) -> list[Any]:
        """The levels of the factor `name` that cells have, those of the first cells first."""
        if name not in self._factors:
            return [level_of(Cell(), name)]
        names = list(self._factors)
        inner = math.prod(len(self._factors[other]) for other in names[names.index(name) + 1 :])
        at = np.asarray(self._places) // inner % len(self._factors[name])
        _, first = np.unique(at, return_index=True)
        return [self._factors[name][at[place]] for place in np.sort(first)]
