"""`ib.compare`: comparisons of results, with the names of the catalogues where those are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from initbench.analysis import comparison
from initbench.analysis.results import Results


def compare(results: Results | str | Path, by: str, baseline: object = None, **options: Any) -> pd.DataFrame:
    """Compare the levels of the factor `by` in a results folder with one of them, the first if none is said.

    `options` are `initbench.analysis.comparison.compare`'s: metric, tune, where, table, test, bound. Names may be
    aliases (`xavier`). Torch is needed for those alone.
    """
    return comparison.compare(results, by, baseline, canonical=canonical, **options)


def canonical(factor: str, level: str) -> object:
    """`xavier` is `xavier_normal` in tables; where no torch is installed, only they know."""
    try:
        from initbench.grid.factors import as_stored
    except ModuleNotFoundError:
        return level
    return as_stored(factor, level)
