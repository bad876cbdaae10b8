"""A results folder: tables in Parquet, the study as resolved, and a manifest of how they came about.

    OUT/study.toml  OUT/manifest.json  OUT/parts/*.parquet  and, when all parts are there, OUT/runs.parquet ...

Parts are immutable and carry the study's key in their names: the same command finds them and goes on; another study
never does. Every file is whole or absent. One process at a time works in a folder. What was damaged since is kept under
another name, told, and made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import tomli_w

from initbench.core.errors import WorkError
from initbench.core.files import make_folder, require_writable, write_frames, write_table, write_text
from initbench.core.folder import (
    LAYOUT,
    MANIFEST,
    PART,
    PARTS,
    STUDY,
    TABLES,
    changed,
    digest,
    manifest_text,
    read_manifest,
    set_aside,
)
from initbench.core.seal import is_sealed, read_sealed, write_sealed
from initbench.grid.admission import Wanted, put_aside, require_ours, require_same_study
from initbench.grid.lock import Lock

ROWS = 2**15
"""Rows of a large table that are held at once, about."""
Table = pd.DataFrame | Iterable[pd.DataFrame]


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
        """Names of files of parts that were found whole: they never change."""
        self.replaced = False
        """Whether another study's results stood here."""
        decisive = {name: value for name, value in study.items() if name != "question"}  # prose changes no number
        told = tomli_w.dumps(decisive) + json.dumps(rests_on, sort_keys=True)
        self._key = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
        self._wanted = Wanted(self._key, study["kind"], tomli_w.dumps(study), replace)
        self._parts = folder / PARTS
        require_writable(folder)
        require_ours(folder, self._wanted)
        require_same_study(folder, self._wanted)
        make_folder(folder)
        self._lock = Lock(folder)

    def __enter__(self) -> Store:
        with ExitStack() as undone:
            undone.enter_context(self._lock)
            require_same_study(self.folder, self._wanted)  # again: another may have been at work until now
            put_aside(self.folder, self._wanted)
            for path in sorted(self._parts.glob(f"*-{self._key}.*.parquet")):
                self._is_whole(path)
            undone.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    @property
    def manifest(self) -> dict[str, Any]:
        """What is told of the run that began these results; nothing where none did."""
        told = read_manifest(self.folder)
        return told if told.get("key") == self._key else {}

    @property
    def finished(self) -> bool:
        """Whether this very study's results are all here, as they were written."""
        return bool(self.manifest.get("tables")) and not any(changed(self.folder, self.manifest))

    def has(self, part: str) -> bool:
        """Whether all tables of `part` are here; a damaged one is set aside."""
        return all(self._is_whole(self._path(part, table)) for table in self.tables)

    def begin(self, manifest: dict[str, Any]) -> None:
        """Say whose results these are going to be, before there are any."""
        write_text(self.folder / STUDY, self._wanted.text)
        self._write_manifest(manifest)

    def write_part(self, part: str, tables: Mapping[str, pd.DataFrame | bytes]) -> None:
        """Keep the tables of one part of the work, or their files.

        Raises `WorkError` where the disk refuses, or the folder is gone.
        """
        self._lock.require()
        self._parts.mkdir(exist_ok=True)
        for name, frame in tables.items():
            write_sealed(self._path(part, name), frame)

    def read_parts(self, table: str) -> pd.DataFrame:
        """`table` of all parts that are complete, in the order of their names; a damaged one is set aside first."""
        return _joined(list(self.batches(table)))

    def batches(self, table: str) -> Iterator[pd.DataFrame]:
        """As `read_parts`, but some `ROWS` rows at once."""
        names = sorted(path.name.partition("-")[0] for path in self._parts.glob(f"*-{self._key}.{table}.parquet"))
        held: list[pd.DataFrame] = []
        for frame in (read_sealed(self._path(name, table)) for name in names if self.has(name)):
            held += [frame] if len(frame) else []
            if sum(map(len, held)) >= ROWS:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)

    def require(self, parts: Sequence[str]) -> None:
        """Raises `WorkError` if one of `parts` is not here or cannot be read."""
        for part in parts:
            if not self.has(part):
                raise WorkError(
                    f"{self.folder / PARTS}: the part {part} is missing or damaged; run the same command again"
                )

    def finish(self, tables: Mapping[str, Table], manifest: dict[str, Any]) -> None:
        """Write the joined `tables` and the study, and last that all is there; until then it is unfinished.

        A table is a frame, or frames of equal columns that follow each other.
        """
        self._lock.require()
        before = read_manifest(self.folder)
        self.replaced = before.get("key", self._key) != self._key
        self.begin(manifest)
        for old in TABLES:
            if old in before.get("tables", TABLES):
                (self.folder / f"{old}.parquet").unlink(missing_ok=True)
        for name, table in tables.items():
            path = self.folder / f"{name}.parquet"
            write_table(path, table) if isinstance(table, pd.DataFrame) else write_frames(path, table)
        self._write_manifest({**manifest, "tables": list(tables)})
        for path in self._parts.glob("*.parquet"):  # those of studies that stood here before
            if (found := PART.fullmatch(path.name)) and found["key"] != self._key:
                path.unlink()

    def _write_manifest(self, manifest: dict[str, Any]) -> None:
        files = (STUDY, *(f"{name}.parquet" for name in manifest.get("tables", ())))
        sums = {name: digest(self.folder / name) for name in files}
        told = {"layout": LAYOUT, "key": self._key, "kind": self._wanted.kind, **manifest, "sums": sums}
        write_text(self.folder / MANIFEST, manifest_text(told))

    def _path(self, part: str, table: str) -> Path:
        return self._parts / f"{part}-{self._key}.{table}.parquet"

    def _is_whole(self, path: Path) -> bool:
        """Whether a file of a part is here as it was written; a damaged one is set aside, to be made anew."""
        if path.name not in self._whole and path.is_file():
            if is_sealed(path):
                self._whole.add(path.name)
            else:
                set_aside(path)
        return path.name in self._whole


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
