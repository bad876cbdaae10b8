"""Whether tables of one study, made twice, are the same: bit by bit, within a tolerance, or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from initbench.analysis.tolerance import tolerance

BIT_EQUAL, WITHIN, ROUNDING, DIFFERS = "bit-equal", "within tolerance", "within rounding", "differs"
"""Words for a column. `ROUNDING`: beyond the tolerance, in trainings that magnify what float32 rounds (`magnified`)."""
MAGNIFIED = 3.0
"""Two float32 results of one training may differ by so many times what one of them differs from its like elsewhere."""
COLUMNS = ["table", "column", "rows", "differ", "rounding", "beyond", "largest", "first", "word"]
CELL = "cell_id"
_PLACES = ("case", "repetition", "init", "activation", "law", "direction", "scope", "depth", "seed", "quantity", "step",
           "layer")  # fmt: skip
_OF_A_RUN = {"stack_size", "device", "engine", "study"}

Real = NDArray[np.float64]


class Pair(NamedTuple):
    """Rows of two tables that tell of the same, in one order, and those of either that the other lacks."""

    before: pd.DataFrame
    after: pd.DataFrame
    lost: pd.DataFrame
    new: pd.DataFrame


def compared(
    name: str, before: pd.DataFrame, after: pd.DataFrame, allowed: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The table `name` made twice: a row per column that differs, or one for the table where none does.

    `differ`: how many rows are not bit-equal; `rounding`: how many differ by more than the column's tolerance, and by
    no more than `MAGNIFIED` times what is `allowed` of their cell; `beyond`: by more than both; `largest`: the largest
    difference, as a share of the larger number (`analysis.tolerance`), infinite where words differ; `first`: the first
    row beyond. Times, and how a run went about its work, are left out.
    """
    pair = paired(before, after)
    of_cell = pair.before[CELL].map(allowed).fillna(0.0).to_numpy(float) if allowed else np.zeros(len(pair.before))
    found = [*_lacking(pair), *_columns(pair, np.multiply(MAGNIFIED, of_cell))]
    whole = {"column": "", "rows": len(before), **dict.fromkeys(("differ", "rounding", "beyond"), 0), "largest": 0.0,
             "first": "", "word": BIT_EQUAL}  # fmt: skip
    return pd.DataFrame(found or [whole]).assign(table=name)[COLUMNS]


def paired(before: pd.DataFrame, after: pd.DataFrame) -> Pair:
    """Rows of both that tell of the same: of one place, in the order in which it occurs."""
    places = places_of(before)
    if before[places].equals(after.reindex(columns=places)):
        return Pair(before, after, before.iloc[:0], after.iloc[:0])
    left, right = (
        table[places].assign(_number=table.groupby(places, dropna=False).cumcount(), **{at: range(len(table))})
        for table, at in ((before, "_before"), (after, "_after"))
    )
    joined = left.merge(right, on=[*places, "_number"], how="outer").sort_values(["_before", "_after"])
    lost, new = joined["_after"].isna(), joined["_before"].isna()
    both = joined[~(lost | new)].astype({"_before": int, "_after": int})
    return Pair(
        before.iloc[both["_before"]].reset_index(drop=True),
        after.iloc[both["_after"]].reset_index(drop=True),
        before.iloc[joined[lost]["_before"].astype(int)],
        after.iloc[joined[new]["_after"].astype(int)],
    )


def places_of(table: pd.DataFrame) -> list[str]:
    """The columns that say what a row is about."""
    known = (CELL, "step", "layer") if CELL in table else _PLACES
    found = [name for name in known if name in table]
    return [CELL] if "training_id" in table else found


def cells_beyond(pairs: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]) -> list[str]:
    """The ids of cells of which some number differs beyond its tolerance, in tables made twice."""
    found: dict[str, None] = {}
    for before, after in pairs.values():
        pair = paired(before, after)
        beyond = np.zeros(len(pair.before), bool)
        for name in _told(pair):
            beyond |= distances(pair, name) > _share(name)
        found |= dict.fromkeys(pair.before[CELL][beyond])
    return list(found)


def magnified(pairs: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]) -> dict[str, float]:
    """By cell, the largest difference of any of its numbers: between equally right results that is its rounding."""
    found: dict[str, float] = {}
    for before, after in pairs.values():
        pair = paired(before, after)
        for name in _told(pair):
            largest = pd.Series(distances(pair, name)).groupby(pair.before[CELL]).max()
            found |= {str(cell): max(far, found.get(str(cell), 0.0)) for cell, far in largest.items()}
    return found


def _lacking(pair: Pair) -> Iterator[dict[str, object]]:
    for rows, why in ((pair.lost, "not made again"), (pair.new, "not there before")):
        if number := len(rows):
            yield {"column": f"rows {why}", "rows": len(pair.before) + number, "differ": number, "rounding": 0,
                   "beyond": number, "largest": np.inf, "first": _place(rows, 0), "word": DIFFERS}  # fmt: skip


def _columns(pair: Pair, allowed: Real) -> Iterator[dict[str, object]]:
    for name in _told(pair):
        far, share = distances(pair, name), _share(name)
        if not (far > 0).any():
            continue
        beyond = far > np.maximum(share, allowed)
        rounding = (far > share) & ~beyond
        word = DIFFERS if beyond.any() else ROUNDING if rounding.any() else WITHIN
        first = int(np.argmax(beyond if beyond.any() else far))
        yield {"column": name, "rows": len(far), "differ": int((far > 0).sum()), "rounding": int(rounding.sum()),
               "beyond": int(beyond.sum()), "largest": float(far.max()), "first": _place(pair.before, first),
               "word": word}  # fmt: skip


def distances(pair: Pair, column: str) -> Real:
    """How far two numbers of `column` are apart, as a share of the larger; infinite for words that differ."""
    if column not in pair.after or column not in pair.before:
        return np.full(len(pair.before), np.inf)
    before, after = pair.before[column], pair.after[column]
    if not (_is_number(before) and _is_number(after)):
        same = (before == after) | (before.isna() & after.isna())
        return np.where(same.fillna(False).to_numpy(bool), 0.0, np.inf)
    x, y = (values.to_numpy(float, na_value=np.nan) for values in (before, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        larger = np.fmax(np.fmax(abs(x), abs(y)), tolerance(column).least(pair.before))
        far = abs(x - y) / larger
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    return np.where(same, 0.0, np.where(np.isnan(far), np.inf, far))


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _share(column: str) -> float:
    return tolerance(column).share


def _told(pair: Pair) -> list[str]:
    """The columns to be held against each other."""
    both = dict.fromkeys([*pair.before, *pair.after])
    return [name for name in both if name not in _OF_A_RUN and not name.endswith("seconds")]


def _place(rows: pd.DataFrame, at: int) -> str:
    """Which row it is, in words."""
    row = rows.iloc[at]
    shown = [name for name in ("name", "seed", *places_of(rows)) if name in rows]
    return ", ".join(f"{name} {row[name]}" for name in dict.fromkeys(shown))
