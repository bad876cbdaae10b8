"""`ib.merge`: results of several folders, as from several machines, written as one results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from initbench.analysis import merging
from initbench.analysis.results import Results
from initbench.core.errors import WorkError
from initbench.grid.store import Store


def merge(folders: Sequence[str | Path], out: str | Path, keep: str | None = None) -> Results:
    """The results in `folders` as one, in the folder `out`; torch is not needed.

    What several hold must agree within the tolerance (`analysis.tolerance`), or `keep` says whose is taken: ``first``
    or ``last``. Raises `WorkError` where it does not, and `UsageError` for what cannot be merged; then nothing is
    written.
    """
    found = merging.merged(folders, keep or merging.FIRST)
    if keep is None and len(found.conflicts):
        raise WorkError(conflict(found.conflicts))
    return write(found, Path(out))


def conflict(conflicts: pd.DataFrame) -> str:
    """What keeps folders from being merged, in one line."""
    first = conflicts.iloc[0]
    told = f"{first['folder']} differs from those before it: {first['table']} {first['column']}, {first['first']}"
    return f"{told}; nothing was written; --keep first or --keep last says whose is taken"


def write(found: merging.Merged, out: Path) -> Results:
    """A results folder of what was merged; raises `UsageError` where `out` holds anything else."""
    rests_on = {"merged": [each["key"] for each in found.manifest["merged"]], "keep": found.keep}
    with Store(out, found.study, rests_on, ()) as store:
        if not store.finished:
            store.finish(found.tables, {**found.manifest, "keep": found.keep, "conflicts": len(found.conflicts)})
    return Results(out)
