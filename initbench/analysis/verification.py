"""Stored runs held to the plain loop: what of them is further from it than rounding explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from initbench.analysis.equality import CELL, DIFFERS, compared, magnified

ONE = "one"


def beyond_rounding(found: Mapping[str, Any], twin: Mapping[str, Any], alike: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns in which two results of one training differ, as `initbench reproduce` judges them.

    Allowed is each column's tolerance (`analysis.tolerance`), and `MAGNIFIED` times the most that equally right results
    of the training differ from `twin`: those of `alike`, of which no more are asked for than it takes.
    """
    before, after = _frame(found), _frame(twin)
    allowed, others = 0.0, iter(alike)
    while True:
        table = compared("runs", before, after, {ONE: allowed})
        beyond = table.loc[table["word"] == DIFFERS, "column"].tolist()
        other = next(others, None) if beyond else None
        if other is None:
            return beyond
        allowed = max(allowed, magnified({"runs": (after, _frame(other))})[ONE])


def _frame(result: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([{CELL: ONE, **result}])
