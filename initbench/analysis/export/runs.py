"""A study as trackers of experiments see it: runs with a configuration, final numbers and curves."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from initbench.analysis.export.parts import CELL, Export, Part
from initbench.analysis.observations import MAIN, OF_PAIRINGS, are_numbers
from initbench.analysis.training import NOT_FACTORS, varied
from initbench.core.errors import UsageError

Plain = bool | int | float | str
Row = dict[str, Any]
FINISHED = "finished"


@dataclass(frozen=True)
class Series:
    """Rows of a table that belong to a run, one a step; several a step are told apart by the columns `within`."""

    table: str
    step: str = ""
    """The column that counts; empty: the rows are of the run's end."""
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Which columns tell a kind's runs apart, and where their curves are."""

    keys: tuple[str, ...]
    series: tuple[Series, ...]


_NETWORK = (*OF_PAIRINGS, "seed")
LAYOUTS = {
    "train": Layout((CELL,), (Series("curves", "step"), Series("layer_curves", "step", ("layer",)))),
    "variance": Layout(_NETWORK, (Series("layers", "layer"), Series("predictions", "layer", ("law",)),
                                  Series("verdicts", within=("direction",)))),
    "jacobian": Layout(_NETWORK, (Series("jacobians", "layer", ("scope",)),)),
    "curve": Layout((*OF_PAIRINGS, "depth", "lr", "seed"), (Series("curves", "step"),)),
}  # fmt: skip
"""Kind of study -> how its runs lie in its tables; other kinds are no runs."""


@dataclass(frozen=True)
class Run:
    """One network, as a tracker shows it."""

    part: Part
    id: str
    """The same whenever the same results are exported."""
    name: str
    status: str
    """As in the table `runs`: finished, diverged, impossible, failed."""
    config: Row
    """Factors, those that vary and those that do not."""
    numbers: dict[str, float]
    """What it ended with; what is missing is left out."""
    words: dict[str, str]
    """What is told of it."""
    curves: Callable[[], pd.DataFrame]
    """A row per step, the index; a column per curve, ``table/column`` or ``table/within/column``; NaN: no value."""

    def steps(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Each step of the curves with the values that there are."""
        curves = self.curves()
        yield from zip(map(int, curves.index), _rows(curves), strict=True)

    @property
    def done(self) -> bool:
        """Whether it came to its end."""
        return self.status == FINISHED

    @property
    def times(self) -> tuple[float, float]:
        """When its study was started, and that and how long it took itself: seconds since 1970."""
        start = datetime.fromisoformat(self.part.results.manifest["started"]).timestamp()
        return start, start + self.numbers.get("seconds", 0.0)


def runs_of(export: Export) -> list[Run]:
    """The runs of all parts; raises `UsageError` for a part whose kind is none of runs."""
    for part in export.parts:
        if (kind := part.results.study["kind"]) not in LAYOUTS:
            raise UsageError(
                f"{part.results.folder} is a study of kind {kind}, which is no set of runs (those are:"
                f" {', '.join(LAYOUTS)}); its tables go to csv and parquet"
            )
    return [run for part in export.parts for run in _runs(part)]


def _runs(part: Part) -> Iterator[Run]:
    layout = LAYOUTS[part.results.study["kind"]]
    series = [_Rows(part.table(of.table), of, layout.keys) for of in layout.series if of.table in part.tables]
    table = _of_cells(part) if layout.keys == (CELL,) else _of_networks(part, layout.keys)
    for row, name, config in table:
        ends = {label: value for rows in series for label, value in rows.ends(row).items()}
        told = {label: value for label, value in row.items() if label not in config} | ends
        yield Run(
            part=part,
            id=_id(part, [row[key] for key in layout.keys]),
            name=name,
            status=row.get("status", FINISHED),
            config=config,
            numbers={label: float(value) for label, value in told.items() if not isinstance(value, str)},
            words={label: value for label, value in told.items() if isinstance(value, str) and value},
            curves=partial(_curves, series, row),
        )


def _of_cells(part: Part) -> Iterator[tuple[Row, str, Row]]:
    """A row per cell with its name and its factors."""
    names = _names(part.results.runs)  # of all, so that a run has its name whatever is exported beside it
    for row in _rows(part.table("runs")):
        asked = list(row)[: list(row).index("status")]
        yield row, names[row[CELL]], {name: row[name] for name in asked if name not in NOT_FACTORS}


def _of_networks(part: Part, keys: tuple[str, ...]) -> Iterator[tuple[Row, str, Row]]:
    """A row per network with its name and its factors: the keys, and what the study fixes."""
    study = part.results.study
    fixed = {name: _plain(value) for name, value in study.items() if name not in (*keys, "kind", "question")}
    for row in _rows(part.table(MAIN[study["kind"]])[[*keys]].drop_duplicates()):
        yield row, "-".join(_label(key, row[key]) for key in keys), {**row, **fixed}


def _names(runs: pd.DataFrame) -> dict[str, str]:
    """Cell -> the lecture's name and the seed, or where those do not tell the runs apart, all that varies."""
    names = list(runs["name"] + "-seed" + runs["seed"].astype(str))
    if len(set(names)) < len(names):
        names = ["-".join(map(_label, row, row.values())) for row in _rows(runs[varied(runs)])]
    return dict(zip(runs[CELL], names, strict=True))


class _Rows:
    """The rows of a series, found by run."""

    def __init__(self, frame: pd.DataFrame, series: Series, keys: tuple[str, ...]) -> None:
        self._frame, self._series = frame, series
        self._keys = [key for key in keys if key in frame]
        self._values = [name for name in frame if name not in (*self._keys, *series.within, series.step)]
        self._places: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for place, key in enumerate(frame[self._keys].itertuples(index=False, name=None)):
            self._places[key].append(place)

    def ends(self, run: Row) -> Row:
        """What the rows say of the run's end; nothing, if they are a way there."""
        if self._series.step:
            return {}
        return {
            self._name(name, [row[key] for key in self._series.within]): row[name]
            for row in _rows(self._of(run))
            for name in self._values
            if name in row
        }

    def curves(self, run: Row) -> pd.DataFrame:
        """A row per step and a column per curve; nothing, if the rows are of the run's end."""
        if not self._series.step:
            return pd.DataFrame()
        numbers = [name for name in self._values if are_numbers(self._frame[name])]
        rows, step, within = self._of(run), self._series.step, [*self._series.within]
        if not within:
            return rows.set_index(step)[numbers].rename(columns=lambda name: self._name(name, []))
        wide = rows.pivot(index=step, columns=within, values=numbers)
        return wide.set_axis([self._name(column[0], [*column[1:]]) for column in wide.columns.to_list()], axis=1)

    def _of(self, run: Row) -> pd.DataFrame:
        return self._frame.iloc[self._places[tuple(run[key] for key in self._keys)]]

    def _name(self, column: object, levels: list[Any]) -> str:
        within = map(_label, self._series.within, levels)
        return "/".join([self._series.table, *within, str(column)])


def _curves(series: list[_Rows], run: Row) -> pd.DataFrame:
    return pd.concat([rows.curves(run) for rows in series] or [pd.DataFrame()], axis=1).sort_index()


def _rows(frame: pd.DataFrame) -> Iterator[Row]:
    """Each row without what is missing in it."""
    for row in frame.to_dict("records"):
        yield {str(name): value for name, value in row.items() if not pd.isna(value)}


def _label(name: str, value: Plain) -> str:
    """A text speaks for itself; a number says what it is of."""
    return value if isinstance(value, str) else f"{name}{value}"


def _plain(value: Any) -> Plain:
    return value if isinstance(value, Plain) else ", ".join(map(str, value))


def _id(part: Part, key: list[Plain]) -> str:
    """A hash of what decides the results and of which run of them it is."""
    told = json.dumps([part.results.manifest["key"], *key])
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
