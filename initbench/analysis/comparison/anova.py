"""What decides a result: the variance that each factor explains, and each pair of them beyond the two alone."""

from __future__ import annotations

import itertools
import math

import pandas as pd

from initbench.analysis.comparison.scores import Scores
from initbench.analysis.training import eta_squared
from initbench.core.errors import UsageError

COLUMNS = ("factor", "and", "explained", "levels", "n", "method", "assumes")


def explained(scores: Scores) -> pd.DataFrame:
    """A row per factor and per pair, largest first: the share of the variance over all networks that it explains.

    Main effect: eta² (`training.eta_squared`); of a pair: the same of the means of both together, less the two main
    effects (functional analysis of variance, Hoeffding 1948; Hutter et al. 2014). Networks without a number are left
    out and lessen ``n``. The shares of all factors, pairs and higher orders add up to 1 in a full grid; where cells are
    missing, as ``assumes`` then says, factors are mixed up: one without an effect has a share of another's, and that of
    a pair may be negative. Raises `UsageError` if no factor varies.
    """
    frame = scores.frame.dropna(subset="value")
    factors = [scores.by, *scores.settings, *scores.tune, "seed"]
    factors = [name for name in factors if len(frame[name].unique()) > 1]
    if not factors:
        raise UsageError(f"no factor varies among the networks that have a number of {scores.metric}")
    main = {name: _eta(frame, [name]) for name in factors}
    rows = [(name, "", share) for name, share in main.items()]
    rows += [(a, b, _eta(frame, [a, b]) - main[a] - main[b]) for a, b in itertools.combinations(factors, 2)]
    table = pd.DataFrame(rows, columns=["factor", "and", "explained"])
    table["levels"] = [int(frame[[a, b] if b else [a]].drop_duplicates().shape[0]) for a, b, _ in rows]
    cells = math.prod(len(frame[name].unique()) for name in factors)
    missing = cells - len(frame[factors].drop_duplicates())
    lacking = f"; {missing} of {cells} cells are missing: factors are mixed up" if missing else ""
    assumes = f"a full grid, every cell once{lacking}"
    table = table.assign(n=len(frame), method="eta² of means; pairs beyond their main effects", assumes=assumes)
    return table[list(COLUMNS)].sort_values("explained", ascending=False, kind="stable", ignore_index=True)


def _eta(frame: pd.DataFrame, factors: list[str]) -> float:
    return eta_squared(frame["value"], [frame[name] for name in factors])
