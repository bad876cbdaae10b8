"""A results folder: tables in Parquet, the study as resolved, and a manifest of how they came about.

    OUT/study.toml  OUT/manifest.json  OUT/layers.parquet ...   and, while the work goes on, OUT/parts/*.parquet

Every file is written under a temporary name, flushed to the disk and renamed, so that it is whole or absent. Parts
carry the study's key in their names: the same command finds them and goes on; another study never does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from initbench.core.errors import UsageError, WorkError

MANIFEST, STUDY, PARTS = "manifest.json", "study.toml", "parts"


class Store:
    """One results folder, open for one study."""

    def __init__(self, folder: Path, study: dict[str, Any], versions: dict[str, str]) -> None:
        """Make the folder if it is not there. Raises `UsageError` where it cannot be written or is something else."""
        self.folder = folder
        self._study = tomli_w.dumps(study)
        self._key = hashlib.blake2b((self._study + json.dumps(versions)).encode(), digest_size=8).hexdigest()
        self._parts = folder / PARTS
        self.replaced = False
        """Whether another study's results stood here."""
        self._open()

    def _open(self) -> None:
        if self.folder.is_dir() and any(self.folder.iterdir()) and not self._is_ours():
            raise UsageError(f"{self.folder} holds something else than results; give another folder with --out")
        if not self.finished:
            require_writable(self._parts)

    def _is_ours(self) -> bool:
        return any((self.folder / name).exists() for name in (MANIFEST, STUDY, PARTS))

    @property
    def finished(self) -> bool:
        """Whether this very study's results are all here."""
        try:
            return json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))["key"] == self._key
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def has(self, part: str) -> bool:
        """Whether `part` was finished before."""
        return (self._parts / f"{part}-{self._key}.done").exists()

    def write_part(self, part: str, tables: dict[str, pd.DataFrame]) -> None:
        """Keep the tables of one part of the work."""
        for name, frame in tables.items():
            self._write(self._parts / f"{part}-{self._key}.{name}.parquet", frame)
        write_whole(self._parts / f"{part}-{self._key}.done", lambda path: path.touch())

    def finish(self, tables: dict[str, pd.DataFrame], manifest: dict[str, Any]) -> None:
        """Join the parts, write all tables, the study, and last the manifest, which says that all is there."""
        whole = {**self._joined(), **tables}
        self.replaced = (self.folder / MANIFEST).exists()
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for old in self.folder.glob("*.parquet"):
            old.unlink()
        for name, frame in whole.items():
            self._write(self.folder / f"{name}.parquet", frame)
        write_whole(self.folder / STUDY, lambda path: path.write_text(self._study, encoding="utf-8"))
        told = json.dumps({"key": self._key, **manifest}, indent=2) + "\n"
        write_whole(self.folder / MANIFEST, lambda path: path.write_text(told, encoding="utf-8"))
        shutil.rmtree(self._parts)

    def add(self, name: str, frame: pd.DataFrame) -> None:
        """Write one more table beside the finished ones."""
        self._write(self.folder / f"{name}.parquet", frame)

    def _joined(self) -> dict[str, pd.DataFrame]:
        parts: dict[str, list[pd.DataFrame]] = {}
        for path in sorted(self._parts.glob(f"*-{self._key}.*.parquet")):
            parts.setdefault(path.name.split(".")[1], []).append(self._read_part(path))
        return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}

    @staticmethod
    def _read_part(path: Path) -> pd.DataFrame:
        """A part's table; a damaged one is set aside, so that the same command makes it anew."""
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's own errors are among these
            path.replace(path.with_name(f"{path.name}.damaged"))
            path.with_name(f"{path.name.split('.')[0]}.done").unlink(missing_ok=True)
            why = str(error).splitlines()[0]
            raise WorkError(f"{path} was damaged and is set aside ({why}); run the same command again") from None

    @staticmethod
    def _write(path: Path, frame: pd.DataFrame) -> None:
        try:
            write_whole(path, lambda temporary: frame.to_parquet(temporary, index=False))
        except OSError as error:
            raise WorkError(f"cannot write {path}: {error.strerror or error}") from None


def require_writable(folder: Path) -> None:
    """Make `folder` if it is not there; raises `UsageError` if nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; give another folder") from None


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write with `write` under a temporary name, flush to the disk, rename to `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
