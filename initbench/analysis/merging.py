"""Results of several folders as one: what each holds, and what several hold held against each other."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.analysis.circumstances import differences
from initbench.analysis.equality import CELL, COLUMNS, DIFFERS, compared, paired
from initbench.analysis.results import Results, changes_of
from initbench.analysis.union import KINDS, Kind, Tables, united
from initbench.core.errors import require
from initbench.core.folder import results_in

FIRST, LAST = "first", "last"
UNDONE = ("failed", "impossible")
"""Statuses of a run that give way to a run of the same cell that was trained."""
_ALIKE = ("commit", "processor", "threads", "tuning")
"""Entries of a manifest that are told of the whole where they are alike."""
_OF_EACH = ("key", "versions", "commit", "device", "processor", "threads", "engine", "tuning", "started", "seconds",
            "cells", "trainings")  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """One study's results, of several folders."""

    study: dict[str, Any]
    tables: Tables
    manifest: dict[str, Any]
    differences: pd.DataFrame
    """What several folders hold: a row per folder, table and column that differs from those before it."""
    keep: str
    notes: tuple[str, ...]
    """What of the folders is not as it was written, and in what they came about otherwise."""

    @property
    def conflicts(self) -> pd.DataFrame:
        """The rows of `differences` that are beyond the tolerance."""
        return self.differences[self.differences["word"] == DIFFERS]


def merged(folders: Sequence[str | Path], keep: str = FIRST) -> Merged:
    """The results in `folders` as one; of what several hold, the `keep` (first or last) folder's.

    A run that failed gives way to one that did not, whichever comes first. Raises `UsageError` for folders that cannot
    be merged: not finished, of other kinds or studies, or resting on other data or plug-ins of the same name.
    """
    require(keep in (FIRST, LAST), f"keep is {FIRST} or {LAST}, not {keep}")
    several = [_opened(Path(folder)) for folder in folders]
    require(len({results.folder.resolve() for results in several}) > 1, "give two folders or more to be merged")
    for entry in ("data", "plugins"):
        _require_same(entry, several)
    study = united([results.study for results in several])
    kind = KINDS.get(study["kind"], Kind(united))
    tables: Tables = {}
    found = []
    for results in several:
        own = {name: results.table(name) for name in results.manifest["tables"] if name not in kind.judged}
        tables, told = _together(tables, own, keep)
        found.append(told.assign(folder=str(results.folder)))
    kind.require_whole(study, tables)
    tables |= {name: judge(tables) for name, judge in kind.judged.items()}
    if "runs" in tables:
        tables["runs"] = tables["runs"].assign(study=study["name"])
    manifests = [results.manifest for results in several]
    changes = [f"{fault.path} is {fault.why}" for results in several for fault in changes_of(results.folder)]
    notes = dict.fromkeys(itertools.chain(changes, *(differences(manifests[0], each) for each in manifests[1:])))
    compared_all = pd.concat(found, ignore_index=True)[["folder", *COLUMNS]]
    return Merged(study, tables, _manifest(several, tables), compared_all, keep, tuple(notes))


def _opened(folder: Path) -> Results:
    there = results_in(folder) or [""]
    require(there == [""], f"{folder} holds several results; merge them one by one, as {folder / there[0]}")
    results = Results(folder)
    require(results.finished, f"{folder} is not finished; the command that began it goes on there")
    return results


def _require_same(entry: str, several: Sequence[Results]) -> None:
    """Raises `UsageError` where one name stands for two contents."""
    known: dict[str, tuple[str, Path]] = {}
    for results in several:
        for name, content in results.manifest.get(entry, {}).items():
            before, folder = known.setdefault(name, (content, results.folder))
            told = f"{'the data set ' if entry == 'data' else ''}{name} is another in {results.folder} than in {folder}"
            require(content == before, told)


def _together(before: Tables, after: Tables, keep: str) -> tuple[Tables, pd.DataFrame]:
    """The rows of both, and how those that both have agree."""
    done, undone = _runs(after), _runs(before)
    before = {name: _without(table, undone["undone"] & done["done"]) for name, table in before.items()}
    after = {
        name: _without(table, done["undone"] & (undone["undone"] | undone["done"])) for name, table in after.items()
    }
    whole: Tables = {}
    told = [pd.DataFrame(columns=COLUMNS)]
    for name in dict.fromkeys([*before, *after]):
        if name not in before or name not in after:
            whole[name] = before[name] if name in before else after[name]
            continue
        pair = paired(before[name], after[name])
        if len(pair.before):
            told.append(compared(name, pair.before, pair.after))
        whole[name] = _joined([before[name], pair.new] if keep == FIRST else [pair.lost, after[name]])
    return whole, pd.concat(told, ignore_index=True)


def _runs(tables: Mapping[str, pd.DataFrame]) -> dict[str, set[str]]:
    """The ids of cells that were trained, and of those that were not."""
    runs = tables.get("runs", pd.DataFrame({CELL: [], "status": []}))
    undone = runs["status"].isin(UNDONE)
    return {"undone": set(runs[CELL][undone]), "done": set(runs[CELL][~undone])}


def _without(table: pd.DataFrame, cells: Collection[str]) -> pd.DataFrame:
    return table[~table[CELL].isin(cells)] if cells and CELL in table else table


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    whole = pd.concat([table for table in tables if len(table)] or list(tables[:1]), ignore_index=True)
    both = [name for name in whole if {table[name].dtype.kind for table in tables if name in table} == {"b", "i"}]
    return whole.astype(dict.fromkeys(both, int))  # residual is true, false, and 2 where it occurs


def _manifest(several: Sequence[Results], tables: Tables) -> dict[str, Any]:
    """How the merged results came about: what all have in common, and each folder's own."""
    manifests = [results.manifest for results in several]
    first = manifests[0]
    alike = {
        name: first[name] for name in _ALIKE if name in first and all(m.get(name) == first[name] for m in manifests)
    }
    versions = Counter(item for manifest in manifests for item in manifest.get("versions", {}).items())
    told = {
        "versions": {name: version for (name, version), times in versions.items() if times == len(several)},
        "seconds": round(sum(manifest.get("seconds", 0.0) for manifest in manifests), 3),
        **{name: "; ".join(dict.fromkeys(m[name] for m in manifests if name in m)) for name in ("device", "engine")},
    }
    started = [manifest["started"] for manifest in manifests if "started" in manifest]
    sizes = {**_contents(manifests), **_sizes(tables), **({"started": min(started)} if started else {})}
    return {**told, **alike, **sizes, "merged": [_told(results) for results in several]}


def _told(results: Results) -> dict[str, Any]:
    own = {name: results.manifest[name] for name in _OF_EACH if name in results.manifest}
    return {"folder": results.folder.resolve().name, **own}


def _contents(manifests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    found = {entry: {name: content for manifest in manifests for name, content in manifest.get(entry, {}).items()}
             for entry in ("data", "plugins")}  # fmt: skip
    return {entry: contents for entry, contents in found.items() if contents}


def _sizes(tables: Tables) -> dict[str, int]:
    """How many cells and trainings there are, of a study of training."""
    if "runs" not in tables:
        return {}
    trained = tables["runs"]["training_id"]
    return {"cells": len(trained), "trainings": trained[trained != ""].nunique()}
