"""What a results folder holds, and which of its files are not as they were written.

    study.toml  manifest.json  parts/PART-KEY.TABLE.parquet  and, when all parts are there, TABLE.parquet ...

The manifest tells the digests of the files beside it; parts are sealed, each for itself (`core.seal`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from initbench.core.seal import is_sealed

MANIFEST, STUDY, PARTS = "manifest.json", "study.toml", "parts"
TABLES = frozenset({"layers", "histograms", "predictions", "residuals", "verdicts", "runs", "curves", "layer_curves",
                    "alarms", "jacobians", "phases", "landscapes"})  # fmt: skip
LAYOUT = 2
"""Of a results folder; one of a higher was made by a newer version."""
PART = re.compile(r"(?P<part>\w+)-(?P<key>[0-9a-f]{16})\.(?P<table>\w+)\.parquet")
ASIDE = re.compile(r"(?P<name>.+)\.damaged(\.\d+)?")
TEMPORARY = re.compile(r"\.\d+\.new")
OLDER = re.compile(r"layout\d+(\.\d+)?")
"""Folders to which results of older layouts were put aside."""
FOREIGN = "not one of ours, or damaged"
_KEY = re.compile("[0-9a-f]{16}")


class Fault(NamedTuple):
    """A file of a results folder that is not as it was written."""

    path: Path
    why: str


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `folder`'s manifest tells; nothing where there is none or it is not one of ours."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    kinds = {"layout": int, "key": str, "kind": str, "tables": list, "sums": dict}
    if not (isinstance(told, dict) and all(isinstance(told.get(name, kind()), kind) for name, kind in kinds.items())):
        return {}
    is_whole = told.pop("seal", None) in (None, _seal(told))
    return told if is_whole and told.get("layout", 0) > 0 and _KEY.fullmatch(told.get("key", "")) else {}


def results_in(folder: Path) -> list[str]:
    """The results in `folder`: "" for its own, else the names of its folders that hold some.

    A study file of several parts leaves those, and a sweep of widths.
    """
    if (folder / MANIFEST).is_file():
        return [""]
    inside = (path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
    return sorted(name for name in inside if not OLDER.fullmatch(name))


def manifest_text(told: dict[str, Any]) -> str:
    """A manifest as it is written: with a digest of all else that it tells."""
    return json.dumps({**told, "seal": _seal(told)}, indent=2) + "\n"


def _seal(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def part_keys(parts: Path) -> set[str]:
    """The studies that have parts in this folder."""
    found = [PART.fullmatch(path.name) for path in parts.iterdir()] if parts.is_dir() else []
    return {match["key"] for match in found if match}


def digest(path: Path) -> str:
    """SHA-256 of a file's content, as `sha256sum` prints it; empty where there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def faults(folder: Path) -> Iterator[Fault]:
    """All files of a results folder that are damaged, missing, or not its own."""
    manifest, told = folder / MANIFEST, read_manifest(folder)
    misplaced = is_misplaced(folder, told)
    if not told:
        yield Fault(manifest, FOREIGN if manifest.exists() else "missing")
    elif told["layout"] != LAYOUT:
        yield Fault(manifest, f"of layout {told['layout']}; this version of initbench writes {LAYOUT}")
        return
    elif misplaced:
        yield Fault(manifest, "of another study than the parts beside it")
    else:
        yield from changed(folder, told)
    yield from _faults_of_parts(folder / PARTS, "" if misplaced else told.get("key", ""))


def changed(folder: Path, manifest: dict[str, Any]) -> Iterator[Fault]:
    """The files that are not as the manifest beside them says; where that is damaged, it, as it vouches for none."""
    if not manifest:
        yield Fault(folder / MANIFEST, FOREIGN)
    sums = manifest.get("sums", {})
    for name in (STUDY, *(f"{table}.parquet" for table in sorted(TABLES))):  # whatever else an untrusted one tells
        if name in sums and sums[name] != (now := digest(folder / name)):
            yield Fault(folder / name, "not as it was written" if now else "missing")


def is_misplaced(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether the manifest tells of a study that has no part here, where there are another's."""
    keys = part_keys(folder / PARTS)
    return bool(manifest and keys) and manifest["key"] not in keys


def _faults_of_parts(parts: Path, key: str) -> Iterator[Fault]:
    for path in sorted(parts.iterdir()) if parts.is_dir() else ():
        if ASIDE.fullmatch(path.name) or TEMPORARY.fullmatch(path.name):
            continue
        match = PART.fullmatch(path.name)
        if not match:
            yield Fault(path, "not one of ours")
        elif key and match["key"] != key:
            yield Fault(path, "of another study")
        elif not is_sealed(path):
            yield Fault(path, "not as it was written")


def set_aside(path: Path, why: str = "is not as it was written") -> None:
    """Rename to ``NAME.damaged``, or with a number where there is one: it is kept, and it is told."""
    to = path.with_name(f"{path.name}.damaged")
    for number in itertools.count(2):
        if not to.exists():
            break
        to = path.with_name(f"{path.name}.damaged.{number}")
    path.rename(to)
    logging.getLogger(__name__).warning("%s %s; it is kept as %s", path, why, to.name)
