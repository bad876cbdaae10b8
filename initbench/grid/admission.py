"""Which folder a study may work in, and what is put aside there before it does."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initbench.core.errors import UsageError, WorkError
from initbench.core.folder import (
    ASIDE,
    LAYOUT,
    MANIFEST,
    OLDER,
    PART,
    PARTS,
    STUDY,
    TABLES,
    TEMPORARY,
    changed,
    is_misplaced,
    part_keys,
    read_manifest,
    set_aside,
)
from initbench.grid.lock import LOCK, OWNER

ANSWER = "answer.json"
"""Put there by `initbench run`."""
TOLD = frozenset({MANIFEST, *(f"{name}.parquet" for name in TABLES)})


@dataclass(frozen=True)
class Wanted:
    """A study that asks for a folder."""

    key: str
    kind: str
    text: str
    """As study.toml says it."""
    replace: bool
    """Whether results of another study of its kind may be replaced."""

    def stands_in(self, folder: Path) -> bool:
        """Whether the study that is told there is this one."""
        path = folder / STUDY
        return path.is_file() and path.read_bytes() == self.text.encode()


def require_ours(folder: Path, wanted: Wanted) -> None:
    """Raises `UsageError` if `folder` holds anything that a store did not put there; names alone are no proof."""
    if not folder.is_dir() or read_manifest(folder):
        return
    ours = {STUDY, LOCK, OWNER, ANSWER}
    parts = folder / PARTS
    if parts.is_dir() and all(_is_parts(path.name) for path in parts.iterdir()):
        ours.add(PARTS)
    if wanted.stands_in(folder) or (PARTS in ours and part_keys(parts)):  # a manifest that was lost or damaged
        ours |= TOLD
    for path in folder.iterdir():
        aside = ASIDE.fullmatch(path.name)
        kept = aside and aside["name"] in TOLD | {STUDY}
        if path.name not in ours and not (kept or TEMPORARY.fullmatch(path.name) or OLDER.fullmatch(path.name)):
            raise UsageError(f"{folder} holds something else than results; give another folder with --out")


def require_same_study(folder: Path, wanted: Wanted) -> None:
    """Raises `UsageError` where another study's results are, which may not be replaced; `WorkError` if newer ones."""
    manifest = read_manifest(folder)
    layout = manifest.get("layout", LAYOUT)
    if layout > LAYOUT:
        raise WorkError(f"{folder} was made by a newer version of initbench; use that, or give another --out")
    if wanted.replace and manifest.get("kind", wanted.kind) == wanted.kind:
        return
    same = wanted.stands_in(folder)
    if (layout < LAYOUT and same) or _is_misplaced(folder, manifest, wanted):
        return
    keys = {manifest["key"]} if manifest else part_keys(folder / PARTS)
    if keys and wanted.key not in keys:
        what = (
            "this study's results with another engine, other data, plug-ins or package versions"
            if same
            else "another study's results"
        )
        raise UsageError(f"{folder} holds {what}; give another folder with --out")


def put_aside(folder: Path, wanted: Wanted) -> None:
    """Keep what is damaged or of an older layout under another name, and tell it; parts are not looked into.

    What a killed process left half written is removed: none is at work here now.
    """
    for left in (*folder.glob(".*.new"), *(folder / PARTS).glob(".*.new")):
        if TEMPORARY.fullmatch(left.name):
            left.unlink()
    manifest = read_manifest(folder)
    if manifest and manifest["layout"] < LAYOUT:
        _put_layout_aside(folder, manifest["layout"])
        return
    if (folder / MANIFEST).exists() and (not manifest or _is_misplaced(folder, manifest, wanted)):
        set_aside(folder / MANIFEST, "is not this study's, or damaged")
    elif manifest.get("key") == wanted.key:
        for fault in changed(folder, manifest):
            if fault.path.exists() and not (fault.path.name == STUDY and wanted.stands_in(folder)):
                set_aside(fault.path)


def _is_parts(name: str) -> bool:
    aside = ASIDE.fullmatch(name)
    return bool(PART.fullmatch(aside["name"] if aside else name) or TEMPORARY.fullmatch(name))


def _is_misplaced(folder: Path, manifest: dict[str, Any], wanted: Wanted) -> bool:
    """Whether the manifest is of a study that has no part here, among parts of the one that is wanted."""
    return is_misplaced(folder, manifest) and wanted.key in part_keys(folder / PARTS)


def _put_layout_aside(folder: Path, layout: int) -> None:
    taken = [path.name for path in folder.iterdir() if OLDER.fullmatch(path.name)]
    to = folder / (f"layout{layout}" if not taken else f"layout{layout}.{len(taken) + 1}")
    to.mkdir()
    for name in (STUDY, ANSWER, PARTS, *sorted(TOLD - {MANIFEST}), MANIFEST):  # it last: a kill before loses nothing
        if (folder / name).exists():
            (folder / name).rename(to / name)
    told = "%s was written by an older version of initbench; its results are kept as %s, and made anew"
    logging.getLogger(__name__).warning(told, folder, to.name)
