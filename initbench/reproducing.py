"""`ib.reproduce`: a results folder made again as its manifest says, every table held against the one that is there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from initbench.analysis.circumstances import differences
from initbench.analysis.equality import CELL, DIFFERS, cells_beyond, compared, magnified
from initbench.analysis.page.answers import opened
from initbench.analysis.results import Results
from initbench.core.errors import require
from initbench.grid.reproduce import Sample, device_of, otherwise, plugins_changed, resting_on, training_again
from initbench.grid.training import run_training
from initbench.kinds import Where, work_of

Progress = Callable[[int, int], None]
Pairs = dict[str, tuple[pd.DataFrame, pd.DataFrame]]
"""Each table as it was, and as it was made again."""
Rounding = Callable[[list[str]], dict[str, float]]
"""By id of some cells, how large float32's own error in them is."""
FAILED = "failed"


@dataclass(frozen=True)
class _Made:
    """Results made again."""

    pairs: Pairs
    rounding: Rounding | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Reproduction:
    """What became of results that were made again."""

    table: pd.DataFrame
    """A row per part, table and column that differs, or per table where none does (`analysis.equality.compared`)."""
    notes: tuple[str, ...]
    """What is not as it was: versions, machine, plug-ins; and runs that were not compared."""

    @property
    def holds(self) -> bool:
        """Whether all is bit-equal, within the tolerance, or, in trainings that magnify rounding, within that."""
        return not (self.table["word"] == DIFFERS).any()


def reproduce(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    runs: int | None = None,
    seed: int = 0,
    device: str | None = None,
    data_root: str | Path | None = None,
    download: bool = False,
    progress: Progress = lambda done, of: None,
) -> Reproduction:
    """Make the results in `folder` again, into `out` or a folder that is removed, and compare all tables.

    Of a study of training `runs` cells alone, if that is said, as `seed` draws them. By the engine and the tuning that
    the manifest tells, and on its kind of `device`, unless another is given. Raises `UsageError` for what cannot be.
    """
    parts = opened(Path(folder))[1]
    for results in parts.values():
        require(results.finished, f"{results.folder} is not finished; the command that began it goes on there")
    own = out is not None and Path(out).resolve() == Path(folder).resolve()
    require(not own, f"{folder}: make it again in another folder than its own")
    root = None if data_root is None else Path(data_root)
    wheres = {name: Where(root, download, device or device_of(results.manifest)) for name, results in parts.items()}
    changed = {name: plugins_changed(results.manifest) for name, results in parts.items()}
    tables, notes = [], [f"the code of the plug-in {each} is another" for names in changed.values() for each in names]
    with _folder(out) as there:
        for name, results in parts.items():
            make = _MADE.get(results.study["kind"], _by_its_kind)
            made = make(results, there / name, wheres[name], Sample(runs, seed), progress)
            tables.append(_held(made).assign(part=name))
            notes += [*made.notes, *differences(results.manifest, Results(there / name).manifest)]
    table = pd.concat(tables, ignore_index=True)
    told = ["part", *table.columns.drop("part")] if list(parts) != [""] else [*table.columns.drop("part")]
    return Reproduction(table[told], tuple(dict.fromkeys(notes)))


@contextmanager
def _folder(given: str | Path | None) -> Iterator[Path]:
    if given is not None:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="initbench-") as made:
        yield Path(made) / "again"


def _by_its_kind(results: Results, out: Path, where: Where, sample: Sample, progress: Progress) -> _Made:
    kind = results.study["kind"]
    require(sample.runs is None, f"a sample is of a training's runs; {results.folder} is of kind {kind}")
    work_of(results.study, results.folder.name, where)(out, progress)
    again = Results(out)
    return _Made({name: (results.table(name), again.table(name)) for name in results.manifest["tables"]})


def _trained(results: Results, out: Path, where: Where, sample: Sample, progress: Progress) -> _Made:
    job = training_again(results.study, results.manifest, where.alone, sample)
    run_training(job, out, progress=progress)
    again = Results(out)
    both = again.runs if sample.runs else pd.concat([results.runs, again.runs])
    failed = {*_failed(results.runs), *_failed(again.runs)} & set(both[CELL])
    cells = set(both[CELL]) - failed
    pairs = {name: (_of(results.table(name), cells), _of(again.table(name), cells)) for name in job.tables}

    of_other_code = resting_on(plugins_changed(results.manifest), again.runs)

    def rounding(beyond: list[str]) -> dict[str, float]:
        beyond = [cell for cell in beyond if cell not in of_other_code]  # that is no rounding
        found: dict[str, float] = {}
        for tables in otherwise(job, beyond) if beyond else ():
            far = magnified({name: _shared(_of(pairs[name][1], beyond), table) for name, table in tables.items()})
            found |= {cell: max(far[cell], found.get(cell, 0.0)) for cell in far}
        return found

    notes = [f"{len(failed)} runs failed, then or now, and are not compared"] if failed else []
    return _Made(pairs, rounding, notes)


_MADE: dict[str, Callable[[Results, Path, Where, Sample, Progress], _Made]] = {"train": _trained}
"""Kinds of which a sample can be taken, and rounding be told apart; all others are made as a study file's part is."""


def _failed(runs: pd.DataFrame) -> list[str]:
    return runs.loc[runs["status"] == FAILED, CELL].tolist()


def _of(table: pd.DataFrame, cells: Iterable[str]) -> pd.DataFrame:
    return table[table[CELL].isin(cells)].reset_index(drop=True)


def _shared(table: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with the columns that both have."""
    both = [name for name in table if name in other]
    return table[both], other[both]


def _held(made: _Made) -> pd.DataFrame:
    """All tables compared; what is beyond the tolerance is held to its own rounding."""
    beyond = cells_beyond(made.pairs) if made.rounding else []
    allowed = made.rounding(beyond) if made.rounding and beyond else {}
    return pd.concat([compared(name, *pair, allowed) for name, pair in made.pairs.items()], ignore_index=True)
