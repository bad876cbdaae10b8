"""From tables to numbers: one a network, with the factors that tell networks apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from initbench.analysis import training
from initbench.analysis.measures import Measure
from initbench.analysis.results import Results
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError

MAIN = {"train": "runs", "variance": "layers", "jacobian": "jacobians", "phase": "phases",
        "calibration": "alarms", "curve": "curves", "landscape": "curves"}  # fmt: skip
"""Kind of study -> the table that its measures are read from."""
PLACES = ("layer", "step")
"""Where in a network and when a row was measured."""
OF_PAIRINGS = ("init", "activation")
"""The factors of a study of propagation."""
OF_OTHERS = {"jacobian": ("scope",), "phase": ("weight_variance", "bias_variance"), "curve": ("depth", "lr")}
"""Those of other kinds besides."""
OF_GRIDS = ("component_1", "component_2")
"""The place in a plane of a row of the table ``landscapes``."""


def observations(
    results: Results, measure: Measure, table: str = "", law: str = "", tune: Sequence[str] | None = None
) -> pd.DataFrame:
    """A row per network, or run: its factors, its seed and its `value` of `measure`.

    With `law`, what that predicts of a study of propagation. Of a training study the factors `tune` (those that it
    says itself, if None) are chosen first (`training.tuned`), and are none of its factors then. Raises `UsageError`
    where the table lacks what the measure needs.
    """
    if law:
        frame, factors = results.predictions[lambda rows: rows["law"] == law].assign(seed=0), list(OF_PAIRINGS)
    else:
        frame, factors = _with_factors(results, measure.table or table or MAIN[results.study["kind"]], tune)
    for column in measure.columns:
        if column not in frame:
            raise UsageError(f"measure '{measure.spec}': no column '{column}'{did_you_mean(column, frame.columns)}")
        if not (pd.api.types.is_numeric_dtype(frame[column]) or frame[column].isna().all()):
            raise UsageError(f"measure '{measure.spec}': the column '{column}' holds words")
    keys = [*factors, *(name for name in PLACES if measure.each and name in frame), "seed"]
    if measure.by_row and not frame.duplicated(keys).any():
        return frame[keys].assign(value=measure.by_row(frame).astype(float)).reset_index(drop=True)
    rows = [(*key, measure.value(group)) for key, group in frame.groupby(keys, sort=False, dropna=False)]
    return pd.DataFrame(rows, columns=[*keys, "value"])


def chosen(found: pd.DataFrame, where: Mapping[str, object]) -> pd.DataFrame:
    """The rows in which each factor of `where` has its level, or one of its levels."""
    for factor, level in where.items():
        if factor not in found:
            raise UsageError(f"no factor '{factor}' varies here{did_you_mean(factor, found.columns[:-1])}")
        there = found[factor].unique()
        found = found[found[factor].isin(level if isinstance(level, list) else [level])]
        if found.empty:
            raise UsageError(f"nothing has {factor} = {level}{did_you_mean(str(level), map(str, there))}")
    return found


def paired(found: pd.DataFrame, other: pd.DataFrame, log: bool, differ: Sequence[str]) -> pd.DataFrame:
    """`found` less, or if `log` over, what in `other` agrees with it in the seed and in all factors but `differ`."""
    keys = [name for name in factors_of(found, differ) if name in other]
    pairs = found.merge(other[[*keys, "seed", "value"]], on=[*keys, "seed"], suffixes=("", "_other"))
    value, baseline = pairs["value"], pairs.pop("value_other")
    return pairs.assign(value=value / baseline if log else value - baseline)


def per_seed(found: pd.DataFrame, log: bool) -> pd.Series:
    """The mean over all factors but the seed: geometric, if `log`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(found["value"]) if log else found["value"]
    means = pd.Series(values).groupby(found["seed"]).agg(lambda group: group.mean(skipna=False))
    return means.map(np.exp) if log else means


def are_numbers(levels: pd.Series) -> bool:
    """Whether the levels of a factor are numbers, of which true and false are none."""
    return pd.api.types.is_numeric_dtype(levels) and not pd.api.types.is_bool_dtype(levels)


def factors_of(found: pd.DataFrame, but: Sequence[str] = ()) -> list[str]:
    """The factors of observations; a parameter of one (``init.std``) is none of its own."""
    return [name for name in found.columns if name not in ("seed", "value", *but) and "." not in name]


def _with_factors(results: Results, table: str, tune: Sequence[str] | None) -> tuple[pd.DataFrame, list[str]]:
    if results.study["kind"] == "calibration":
        return results.table(table).rename(columns={"repetition": "seed"}), ["case", "width", "batch", "honest"]
    if results.study["kind"] == "landscape":
        frame, places = results.table(table), OF_GRIDS if table == "landscapes" else ()
        return frame, [*(name for name in results.study["compare"] if name in frame), *places]
    if results.study["kind"] != "train":
        return results.table(table), [*OF_PAIRINGS, *OF_OTHERS.get(results.study["kind"], ())]
    tune = list(results.study.get("tune", {}) if tune is None else tune)
    runs = training.tuned(results.runs, tune)
    factors = [name for name in training.varied(runs) if name not in ("seed", *tune)]
    if table == "runs":
        return runs, factors
    return runs[["cell_id", "seed", *factors]].merge(results.table(table), on="cell_id"), factors
