"""What a figure shows, in words: made of the numbers that it draws, for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from initbench.analysis.observations import are_numbers
from initbench.analysis.page import alternatives_comparisons as comparisons
from initbench.analysis.page import alternatives_networks as networks
from initbench.analysis.page import alternatives_training as training
from initbench.analysis.page.phrases import MOST, few, number

Tell = Callable[[pd.DataFrame], str]


def in_words(name: str, title: str, summary: pd.DataFrame) -> str:
    """Title and main numbers of a figure; of an unknown one, its columns and their ranges."""
    tell = next((tell for needed, tell in TOLD.items() if needed <= set(summary.columns)), _any)
    told = tell(summary) if len(summary) else "Nothing to draw."
    return f"{title.rstrip('.')}. {told}"


def _relation(summary: pd.DataFrame) -> str:
    """Lines, or points, of a study's figure: where each starts and ends."""
    if len(several := summary["measure"].unique()) > 1:
        return " ".join(_relation(summary[summary["measure"] == measure]) for measure in several)
    first = summary.iloc[0]
    measured = summary[summary["source"] == "measured"]
    if first["y_name"]:
        ends = measured.loc[[measured["estimate"].idxmin(), measured["estimate"].idxmax()]]
        told = [f"{number(row['estimate'])} at {first['x_name']} {number(row['x'])} and {first['y_name']}"
                f" {number(row['y'])}" for row in ends.to_dict("records")]  # fmt: skip
        return f"A map of {first['measure']}: lowest {told[0]}, highest {told[1]}."
    lines = []
    for (panel, hue), rows in measured.groupby(["panel", "hue"], sort=False):
        who = ", ".join(
            f"{first[f'{key}_name']} {value}" for key, value in (("panel", panel), ("hue", hue)) if value != ""
        )
        lines.append(f"{who}: {_course(rows, str(first['x_name']))}" if who else _course(rows, str(first["x_name"])))
    return f"{first['measure']} by {first['x_name']}. {few(lines)}"


def _course(rows: pd.DataFrame, x: str) -> str:
    if not pd.api.types.is_numeric_dtype(rows["x"]) and len(rows) <= MOST:
        return ", ".join(f"{row['x']} {_estimate(row)}" for row in rows.to_dict("records"))
    ordered = rows.sort_values(
        "x", key=lambda values: values if pd.api.types.is_numeric_dtype(values) else values.astype(str)
    )
    if len(ordered) <= 4:
        return ", ".join(f"{_estimate(row)} at {x} {number(row['x'])}" for row in ordered.to_dict("records"))
    ends = ordered.iloc[[0, -1]].to_dict("records")
    return " to ".join(f"{number(row['estimate'])} at {x} {number(row['x'])}" for row in ends)


def _estimate(row: dict) -> str:
    if not np.isfinite([row["low"], row["high"]]).all():
        return number(row["estimate"])
    return f"{number(row['estimate'])} ({number(row['low'])} to {number(row['high'])})"


def _any(summary: pd.DataFrame) -> str:
    """The columns and what they hold."""
    told = []
    for name, values in summary.items():
        if are_numbers(values):
            known = values[np.isfinite(values.to_numpy(float))]
            told += [f"{name} {number(known.min())} to {number(known.max())}"] if len(known) else []
        elif 1 < values.nunique() <= MOST:
            told.append(f"{name}: {', '.join(map(str, values.dropna().unique()))}")
    return f"{len(summary)} rows of numbers. {'; '.join(told)}."


TOLD: dict[frozenset[str], Tell] = {
    frozenset({"source", "x_name", "y_name", "estimate", "measure"}): _relation,
    frozenset({"growth", "stable", "word", "direction"}): networks.heatmap,
    frozenset({"layer", "mean", "theory", "quantity", "direction"}): networks.profile,
    frozenset({"rms", "density", "quantity"}): networks.histograms,
    frozenset({"factor", "explained", "level", "mean"}): training.levels,
    frozenset({"factor", "explained", "mean_at_best"}): training.shares,
    frozenset({"rank", "test_accuracy", "val_accuracy"}): training.configurations,
    frozenset({"init", "activation", "test_accuracy", "val_accuracy"}): training.pairings,
    frozenset({"case", "rate", "low", "high"}): networks.rates,
    frozenset({"init", "activation", "diverged", "share"}): training.lost,
    frozenset({"panel", "hue", "lr", "chosen_rate"}): training.by_rate,
    frozenset({"panel", "hue", "quantity", "step", "mean"}): training.curves,
    frozenset({"init", "activation", "quantity", "layer", "mean"}): networks.fractions,
    frozenset({"scope", "mean", "predicted"}): networks.factors,
    frozenset({"scope", "singular_5", "singular_95"}): networks.spectrum,
    frozenset({"x_name", "xi_c", "xi_q"}): networks.depths,
    frozenset({"part", "weight_variance", "bias_variance", "xi_c"}): networks.phases,
    frozenset({"level", "baseline", "difference", "word"}): comparisons.differences,
    frozenset({"rank", "critical_difference", "until"}): comparisons.ranks,
    frozenset({"source", "path", "component_1", "explained"}): comparisons.paths,
    frozenset({"depth", "lr", "step", "train_loss"}): comparisons.predicted,
}
"""Columns of a summary -> what tells it."""
