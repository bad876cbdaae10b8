"""A results folder: tables in Parquet, the study as resolved, and a manifest of how they came about.

    OUT/study.toml  OUT/manifest.json  OUT/parts/*.parquet  and, when all parts are there, OUT/runs.parquet ...

Parts are immutable and carry the study's key in their names: the same command finds them and goes on; another study
never does. Every file is whole or absent. One process at a time works in a folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import tomli_w
from filelock import FileLock, Timeout

from initbench.core.errors import DamagedError, UsageError, WorkError
from initbench.core.files import read_table, require_writable, write_table, write_text

MANIFEST, STUDY, PARTS, LOCK = "manifest.json", "study.toml", "parts", ".lock"
TABLES = frozenset({"layers", "histograms", "predictions", "residuals", "verdicts", "runs", "curves", "layer_curves",
                    "alarms", "jacobians", "phases", "landscapes"})  # fmt: skip
LAYOUT = 1
"""Of a results folder; a folder of a higher one was made by a newer version."""
_KEY = re.compile("[0-9a-f]{16}")
_PART = re.compile(r"(?P<part>\w+)-(?P<key>[0-9a-f]{16})\.(?P<table>\w+)\.parquet(\.damaged)?|\.\d+\.new")


class Store:
    """One results folder, open for one study; use it in a `with`, which keeps other processes out."""

    def __init__(
        self,
        folder: Path,
        study: dict[str, Any],
        rests_on: dict[str, Any],
        tables: Sequence[str],
        replace: bool = False,
    ) -> None:
        """Make the folder if it is not there.

        `rests_on` is what decides the numbers beside the study (versions, data); `tables` those that each part has.
        Raises `UsageError` where the folder cannot be written, is something else than results, or holds another study's
        (of the same kind they may be replaced, if `replace`); `WorkError` where a newer version made it or another
        process works in it.
        """
        self.folder = folder
        self.tables = tuple(tables)
        self._whole: set[str] = set()
        """Parts that were read and found whole: they never change."""
        self.replaced = False
        """Whether another study's results stood here."""
        self._kind = study["kind"]
        self._study = tomli_w.dumps(study)
        decisive = {name: value for name, value in study.items() if name != "question"}  # prose changes no number
        told = tomli_w.dumps(decisive) + json.dumps(rests_on, sort_keys=True)
        self._key = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
        self._parts = folder / PARTS
        require_writable(folder)
        _require_ours(folder)
        self._replace = replace
        self._require_same_study()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / LOCK, timeout=0)

    def __enter__(self) -> Store:
        try:
            self._lock.acquire()
        except Timeout:
            told = f"another process is at work in {self.folder}; wait for it, or give another --out"
            raise WorkError(told) from None
        self._require_same_study()  # again: another may have been at work until now
        for folder in (self.folder, self._parts):
            for left in folder.glob(".*.new"):  # by a process that was killed: none is at work here now
                left.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def _require_same_study(self) -> None:
        manifest = read_manifest(self.folder)
        if manifest.get("layout", LAYOUT) > LAYOUT:
            raise WorkError(f"{self.folder} was made by a newer version of initbench; use that, or give another --out")
        may_replace = self._replace and manifest.get("kind", self._kind) == self._kind
        keys = {manifest["key"]} if manifest else part_keys(self._parts)
        if keys and self._key not in keys and not may_replace:
            changed = (self.folder / STUDY).exists() and (self.folder / STUDY).read_text("utf-8") == self._study
            what = (
                "this study's results with another engine, other data, plug-ins or package versions"
                if changed
                else "another study's results"
            )
            raise UsageError(f"{self.folder} holds {what}; give another folder with --out")

    @property
    def manifest(self) -> dict[str, Any]:
        """What is told of the run that began these results; nothing where none did."""
        told = read_manifest(self.folder)
        return told if told.get("key") == self._key else {}

    @property
    def finished(self) -> bool:
        """Whether this very study's results are all here."""
        tables = self.manifest.get("tables", [])
        return bool(tables) and all(is_readable(self.folder / f"{name}.parquet") for name in tables)

    def has(self, part: str) -> bool:
        """Whether all tables of `part` are here."""
        return all(self._path(part, table).exists() for table in self.tables)

    def begin(self, manifest: dict[str, Any]) -> None:
        """Say whose results these are going to be, before there are any."""
        write_text(self.folder / STUDY, self._study)
        self._write_manifest(manifest)

    def write_part(self, part: str, tables: dict[str, pd.DataFrame]) -> None:
        """Keep the tables of one part of the work."""
        self._parts.mkdir(exist_ok=True)
        for name, frame in tables.items():
            write_table(self._path(part, name), frame)

    def read_parts(self, table: str) -> pd.DataFrame:
        """`table` of all parts that are complete, in the order of their names; a damaged one is set aside first."""
        names = sorted(path.name.partition("-")[0] for path in self._parts.glob(f"*-{self._key}.{table}.parquet"))
        frames = [read_table(self._path(name, table)) for name in names if self._is_whole(name)]
        frames = [frame for frame in frames if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def require(self, parts: Sequence[str]) -> None:
        """Raises `WorkError` if one of `parts` is not here or cannot be read."""
        for part in parts:
            if not self._is_whole(part):
                raise WorkError(
                    f"{self.folder / PARTS}: the part {part} is missing or damaged; run the same command again"
                )

    def finish(self, tables: dict[str, pd.DataFrame], manifest: dict[str, Any]) -> None:
        """Write the joined `tables`, the study, and last the manifest, which says that all is there."""
        before = read_manifest(self.folder)
        self.replaced = before.get("key", self._key) != self._key
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for old in TABLES.intersection(before.get("tables", TABLES)):
            (self.folder / f"{old}.parquet").unlink(missing_ok=True)
        for name, frame in tables.items():
            write_table(self.folder / f"{name}.parquet", frame)
        write_text(self.folder / STUDY, self._study)
        self._write_manifest({**manifest, "tables": list(tables)})
        for path in self._parts.glob("*.parquet"):  # those of studies that stood here before
            if (found := _PART.fullmatch(path.name)) and found["key"] != self._key:
                path.unlink()

    def _write_manifest(self, manifest: dict[str, Any]) -> None:
        told = {"layout": LAYOUT, "key": self._key, "kind": self._kind, **manifest}
        write_text(self.folder / MANIFEST, json.dumps(told, indent=2) + "\n")

    def _path(self, part: str, table: str) -> Path:
        return self._parts / f"{part}-{self._key}.{table}.parquet"

    def _is_whole(self, part: str) -> bool:
        """Whether all tables of `part` are here and can be read; a damaged one is set aside, to be made anew."""
        if part not in self._whole and self.has(part):
            damaged = [path for table in self.tables if not is_readable(path := self._path(part, table))]
            for path in damaged:
                path.replace(path.with_name(f"{path.name}.damaged"))
            self._whole |= set() if damaged else {part}
        return part in self._whole


def is_readable(path: Path) -> bool:
    """Whether a table is there and undamaged."""
    try:
        if path.is_file():
            read_table(path)
            return True
    except DamagedError:
        pass
    return False


def part_keys(parts: Path) -> set[str]:
    """The studies that have parts in this folder."""
    found = [_PART.fullmatch(path.name) for path in parts.iterdir()] if parts.is_dir() else []
    return {match["key"] for match in found if match and match["key"]}


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `folder`'s manifest tells; nothing where there is none or it is not one of ours."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(told, dict) and isinstance(told.get("layout"), int) and _KEY.fullmatch(str(told.get("key")))
    return told if ours else {}


def _require_ours(folder: Path) -> None:
    """Raises `UsageError` if `folder` holds anything that a store did not put there; names alone are no proof."""
    if not folder.is_dir() or read_manifest(folder):
        return
    ours = {STUDY, LOCK, "answer.json"}  # the last is put there by `initbench run`
    parts = folder / PARTS
    if parts.is_dir() and all(_PART.fullmatch(path.name) for path in parts.iterdir()):
        ours.add(PARTS)
        if part_keys(parts):  # a manifest that was lost or damaged: parts are proof enough
            ours |= {MANIFEST, *(f"{name}.parquet" for name in TABLES)}
    if any(path.name not in ours and not _PART.fullmatch(path.name) for path in folder.iterdir()):
        raise UsageError(f"{folder} holds something else than results; give another folder with --out")
