"""Stored runs held to the plain loop: which are further from it than rounding explains."""

from __future__ import annotations

import pandas as pd

from initbench.analysis.equality import MAGNIFIED
from initbench.analysis.tolerance import tolerance


def beyond_rounding(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `initbench verify` whose stored test loss is not that of the plain loop, or whose status is not.

    Allowed is the tolerance of the column (`analysis.tolerance`), and `MAGNIFIED` times what float32 alone does to this
    training: the plain loop's difference from float64.
    """
    share = tolerance("test_loss").share * table["test_loss"].abs()
    allowed = pd.concat([share, MAGNIFIED * table["rounding"]], axis=1).max(axis=1)
    return table[~table["agrees"] | (table["loss_32"] > allowed)]
