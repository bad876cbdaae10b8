"""Measures: one number of one network, by which an expectation is tested and a figure drawn.

Each takes the rows of one network in a table (its layers, its run, its curve) and has a scale, which says how numbers
of several seeds are put together (`statistics.interval`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from initbench.analysis.growth import growth as growth_per_layer
from initbench.analysis.statistics import LINEAR, LOG, SHARE, SPREAD, Scale
from initbench.core.catalogue import Catalogue
from initbench.core.errors import UsageError

Rows = pd.DataFrame


@dataclass(frozen=True)
class Measure:
    """A number of a group of rows; NaN where there is none."""

    value: Callable[[Rows], float]
    scale: Scale = LINEAR
    table: str = ""
    """The one that it can be read from; empty: the study's main one, or any."""
    columns: tuple[str, ...] = ()
    """What it needs of the table."""
    label: str = ""
    """Of an axis."""
    each: bool = False
    """Whether every row stands for itself, and `layer` and `step` are factors."""
    by_row: Callable[[Rows], pd.Series] | None = None
    """The same of many networks at once, where each is one row: in a sweep seconds."""
    lower_is_better: bool | None = None
    """None where neither more nor less is."""
    spec: str = ""


def _of_rows(by_row: Callable[[Rows], pd.Series], scale: Scale = LINEAR, **told: Any) -> Measure:
    """A measure of networks that are one row each."""
    return Measure(lambda rows: float(by_row(rows).iloc[0]), scale, by_row=by_row, **told)


_NAMES = {
    "z_second_moment": "mean of z²",
    "a_second_moment": "mean of a²",
    "grad_z_second_moment": "mean of (∂loss/∂z)²",
    "grad_a_second_moment": "mean of (∂loss/∂a)²",
    "grad_w_second_moment": "mean of (∂loss/∂w)²",
    "weight_second_moment": "mean of w²",
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "update_to_weight": "update / weight",
}
"""Columns that need other words than their own."""
WORSE = ("loss", "condition", "_fraction")
"""How columns end of which less is better."""
RAN = ("finished", "diverged")
"""Statuses of runs that were made: of others nobody knows whether they would diverge."""
MEASURES: Catalogue[Measure] = Catalogue("measure")


@MEASURES.register("level", summary="A column's value at a layer (-1: the last), for what is positive.", formula="m_l")
def level(of: str, layer: int = -1) -> Measure:
    return Measure(lambda rows: _at(rows, of, layer), LOG, columns=(of,), label=f"{_plain(of)}{_place(layer)}",
                   lower_is_better=_lower_is_better(of))  # fmt: skip


@MEASURES.register("at", summary="A column's value at a layer (-1: the last).", formula="m_l")
def at(of: str, layer: int = -1) -> Measure:
    return Measure(lambda rows: _at(rows, of, layer), columns=(of,), label=f"{_plain(of)}{_place(layer)}",
                   lower_is_better=_lower_is_better(of))  # fmt: skip


@MEASURES.register("each", summary="A column's value at every layer and step: for figures against those.",
                   formula="m_l")  # fmt: skip
def each(of: str, log: bool = True) -> Measure:
    return _of_rows(lambda rows: rows[of], LOG if log else LINEAR, columns=(of,), each=True, label=_plain(of))


@MEASURES.register("ratio", summary="Between two layers, for what is positive.", formula="m_last / m_first")
def ratio(of: str, first: int = 1, last: int = -1) -> Measure:
    return Measure(
        lambda rows: _over(_at(rows, of, last), _at(rows, of, first)),
        LOG,
        columns=(of,),
        label=f"{_plain(of)}, layer {last} / layer {first}",
    )


@MEASURES.register("growth", summary="The factor by which a second moment changes from layer to layer, in its direction"
                   " of travel.", formula="(m_L / m_1)^(1/(L-1))")  # fmt: skip
def growth(of: str = "z_second_moment") -> Measure:
    direction = "backward" if of.startswith("grad") else "forward"

    def value(rows: Rows) -> float:
        ordered = rows.sort_values("layer")
        return 10 ** float(growth_per_layer(ordered[of].to_numpy(float), ordered["layer"].to_numpy(), direction))

    return Measure(value, LOG, columns=(of,), label=f"{_plain(of)}, factor per layer")


@MEASURES.register("largest", summary="The largest over the layers.", formula="max m_l")
def largest(of: str) -> Measure:
    return _over_layers(of, "largest", pd.Series.max)


@MEASURES.register("smallest", summary="The smallest over the layers.", formula="min m_l")
def smallest(of: str) -> Measure:
    return _over_layers(of, "smallest", pd.Series.min)


@MEASURES.register("average", summary="The mean over the layers.", formula="mean m_l")
def average(of: str) -> Measure:
    return _over_layers(of, "mean", pd.Series.mean)


@MEASURES.register("spread", summary="How far networks differ: the variance over seeds of the logarithm at a layer.",
                   formula="Var log m_l")  # fmt: skip
def spread(of: str, layer: int = -1) -> Measure:
    return Measure(
        lambda rows: _at(rows, of, layer), SPREAD, columns=(of,), label=f"variance of log {_plain(of)}{_place(layer)}"
    )


@MEASURES.register("final", summary="What a run ends with; the accuracy of one that diverged is 0.", formula="m")
def final(of: str = "test_accuracy") -> Measure:
    return _of_rows(lambda rows: _final(rows, of), table="runs", columns=(of,), label=_plain(of),
                    lower_is_better=_lower_is_better(of))  # fmt: skip


@MEASURES.register("gap", summary="What is better on the training than on the test images.",
                   formula="train - test accuracy, or test - train loss")  # fmt: skip
def gap(of: str = "accuracy") -> Measure:
    if of not in ("accuracy", "loss"):
        raise UsageError(f"measure 'gap': of must be accuracy or loss, not {of}")
    sign = 1 if of == "accuracy" else -1
    return _of_rows(
        lambda rows: sign * (rows[f"train_{of}"] - rows[f"test_{of}"]),
        table="runs",
        label=f"generalization gap ({of})",
        lower_is_better=True,
    )


@MEASURES.register("diverged", summary="The share of runs that diverged.")
def diverged() -> Measure:
    return _of_rows(
        lambda rows: (rows["status"] == "diverged").where(rows["status"].isin(RAN)),
        SHARE,
        table="runs",
        label="share diverged",
        lower_is_better=True,
    )


@MEASURES.register("alarms", summary="The share of repetitions in which a verdict calls a network wrong.")
def alarms() -> Measure:
    return _of_rows(lambda rows: rows["alarm"], SHARE, label="share of alarms")


@MEASURES.register("reached", summary="The share of runs that end at a value or better (an accuracy above, a loss"
                   " below).")  # fmt: skip
def reached(value: float, of: str = "test_accuracy") -> Measure:
    return _of_rows(
        lambda rows: _better(_final(rows, of), value, of),
        SHARE,
        table="runs",
        columns=(of,),
        label=f"share that reaches {_plain(of)} {value:g}",
        lower_is_better=False,
    )


@MEASURES.register("steps_to", summary="Updates until a recorded value is first as good; missing where it never is.")
def steps_to(value: float, of: str = "train_loss") -> Measure:
    def first(rows: Rows) -> float:
        good = rows["step"][_better(rows[of], value, of)]
        return float(good.min()) if len(good) else np.nan

    return Measure(first, LOG, table="curves", columns=(of,), label=f"updates to {_plain(of)} {value:g}",
                   lower_is_better=True)  # fmt: skip


@MEASURES.register("recorded", summary="A recorded value at a step (-1: the last).")
def recorded(of: str = "train_loss", step: int = -1) -> Measure:
    def value(rows: Rows) -> float:
        found = rows.loc[rows["step"] == (rows["step"].max() if step < 0 else step), of]
        return float(found.iloc[0]) if len(found) else np.nan

    return Measure(value, table="curves", columns=(of,), label=f"{_plain(of)} at step {step}",
                   lower_is_better=_lower_is_better(of))  # fmt: skip


@MEASURES.register("rises", summary="The share of records at which a value is above that of the record before.",
                   formula="mean [m_t > m_(t-1)]")  # fmt: skip
def rises(of: str = "train_loss") -> Measure:
    def share(rows: Rows) -> float:
        steps = rows.sort_values("step")[of].diff().iloc[1:]
        return float((steps > 0).mean())

    return Measure(share, table="curves", columns=(of,), label=f"share of records at which {_plain(of)} rises",
                   lower_is_better=_lower_is_better(of))  # fmt: skip


def _place(layer: int) -> str:
    return " at the last layer" if layer == -1 else f" at layer {layer}"


def _plain(column: str) -> str:
    return _NAMES.get(column, column.replace("_", " "))


def _over_layers(of: str, name: str, put_together: Callable[..., Any]) -> Measure:
    """Of a column at all layers; missing where one is, as layers are lost for a reason.

    In training the output layer is not one of those whose activations are known.
    """

    def value(rows: Rows) -> float:
        behind = rows["layer"] == rows["layer"].max() if "step" in rows else False
        return float(put_together(rows[of][~(behind & rows[of].isna())], skipna=False))

    return Measure(value, columns=(of,), label=f"{name} {_plain(of)}", lower_is_better=_lower_is_better(of))


def _lower_is_better(column: str) -> bool | None:
    return False if column.endswith("accuracy") else column.endswith(WORSE) or None


def _at(rows: Rows, of: str, layer: int) -> float:
    """The value at a layer, counted from 1 or, negative, from the end; of curves at the last step."""
    if "step" in rows:
        rows = rows[rows["step"] == rows["step"].max()]
    place = layer if layer > 0 else int(rows["layer"].max()) + 1 + layer
    found = rows.loc[rows["layer"] == place, of]
    return float(found.iloc[0]) if len(found) else np.nan


def _over(value: float, by: float) -> float:
    return value / by if by else np.nan


def _final(rows: Rows, of: str) -> pd.Series:
    return rows[of].mask(rows["status"] == "diverged", 0.0) if of.endswith("accuracy") else rows[of]


def _better(value: pd.Series, bound: float, of: str) -> pd.Series:
    return value >= bound if of.endswith("accuracy") else value <= bound
