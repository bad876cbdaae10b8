"""What is exported: the tables of each part of a results folder, or the rows of them that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from initbench.analysis.comparison.scores import Canonical, Scores
from initbench.analysis.observations import MAIN
from initbench.analysis.page.answers import opened
from initbench.analysis.results import Results
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError

CELL = "cell_id"


@dataclass(frozen=True)
class Part:
    """A part of a study, or the rows of it in which each factor of `where` has one of its levels."""

    name: str
    """Of its folder; empty where the study has no parts."""
    study: str
    """What trackers group its runs by."""
    question: str
    results: Results
    where: Mapping[str, Sequence[object]]

    @property
    def main(self) -> pd.DataFrame:
        """The rows that are asked for of the table that a study of its kind has for its networks."""
        return self.table(MAIN[self.results.study["kind"]])

    @property
    def tables(self) -> list[str]:
        """The names of those that it has."""
        return list(self.results.manifest["tables"])

    def table(self, name: str) -> pd.DataFrame:
        """The rows of a table that are asked for; a factor that a table does not have keeps all of its rows."""
        rows = self.results.table(name, whole=False)
        for factor, levels in self.where.items():
            if factor in rows:
                rows = rows[rows[factor].isin(levels)]
            elif CELL in rows:
                rows = rows[rows[CELL].isin(self._cells)]
        return rows.reset_index(drop=True)

    @cached_property
    def _cells(self) -> set[str]:
        return set(self.table("runs")[CELL])


@dataclass(frozen=True)
class Export:
    """What is exported, and where it goes."""

    name: str
    """Of the study."""
    into: Path
    parts: list[Part]


def chosen_parts(
    out: Path, where: Mapping[str, Sequence[str]], canonical: Canonical
) -> tuple[str, list[Part], list[str]]:
    """The name of the study in the folder `out`, its parts, and a line for each that has nothing of what `where` says.

    Raises `UsageError` where there are no finished results, or nothing in any of the parts has what `where` says.
    """
    answer, found = opened(out)
    parts, without = [], []
    for part, results in found.items():
        if not results.finished:
            raise UsageError(f"{results.folder} is not finished; the command that began it goes on there")
        study = f"{answer.name}/{part}" if part else str(results.study.get("name", answer.name))
        question = answer.question or str(results.study.get("question", ""))
        try:
            levels = _levels(results, where, canonical)
        except UsageError as error:
            without.append(str(error))
            continue
        one = Part(part, study, question, results, levels)
        if where and one.main.empty:
            without.append(f"nothing in {results.folder} has all of what --where says")
        else:
            parts.append(one)
    if not parts:
        raise UsageError(without[0])
    return out.resolve().name, parts, without


def _levels(results: Results, where: Mapping[str, Sequence[str]], canonical: Canonical) -> dict[str, list[object]]:
    """The levels of factors as the tables have them."""
    if not where:
        return {}
    main = results.table(MAIN[results.study["kind"]], whole=False)
    for factor in where:
        if factor not in main:
            raise UsageError(f"{results.folder} has no factor '{factor}'{did_you_mean(factor, main.columns)}")
    try:
        return {
            factor: [Scores(main, factor, "").level(given, canonical) for given in several]
            for factor, several in where.items()
        }
    except UsageError as error:
        raise UsageError(f"{results.folder}: {error}") from None
