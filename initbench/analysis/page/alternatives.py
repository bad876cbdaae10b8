"""What a figure shows, in words: made of the numbers that it draws, for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from initbench.analysis.observations import are_numbers

MOST = 8
"""Things named one by one; of more, the ends are named."""
Tell = Callable[[pd.DataFrame], str]


def in_words(name: str, title: str, summary: pd.DataFrame) -> str:
    """Title and main numbers of a figure; of an unknown one, its columns and their ranges."""
    tell = next((tell for needed, tell in TOLD.items() if needed <= set(summary.columns)), _any)
    told = tell(summary) if len(summary) else "Nothing to draw."
    return f"{title.rstrip('.')}. {told}"


def _relation(summary: pd.DataFrame) -> str:
    """Lines, or points, of a study's figure: where each starts and ends."""
    first = summary.iloc[0]
    measured = summary[summary["source"] == "measured"]
    if first["y_name"]:
        ends = measured.loc[[measured["estimate"].idxmin(), measured["estimate"].idxmax()]]
        told = [f"{_number(row['estimate'])} at {first['x_name']} {_number(row['x'])} and {first['y_name']}"
                f" {_number(row['y'])}" for row in ends.to_dict("records")]  # fmt: skip
        return f"A map of {first['measure']}: lowest {told[0]}, highest {told[1]}."
    lines = []
    for (panel, hue), rows in measured.groupby(["panel", "hue"], sort=False):
        who = ", ".join(
            f"{first[f'{key}_name']} {value}" for key, value in (("panel", panel), ("hue", hue)) if value != ""
        )
        lines.append(f"{who}: {_course(rows, str(first['x_name']))}" if who else _course(rows, str(first["x_name"])))
    return f"{first['measure']} by {first['x_name']}. {_few(lines)}"


def _course(rows: pd.DataFrame, x: str) -> str:
    if not pd.api.types.is_numeric_dtype(rows["x"]) and len(rows) <= MOST:
        return ", ".join(f"{row['x']} {_estimate(row)}" for row in rows.to_dict("records"))
    ordered = rows.sort_values(
        "x", key=lambda values: values if pd.api.types.is_numeric_dtype(values) else values.astype(str)
    )
    if len(ordered) <= 4:
        return ", ".join(f"{_estimate(row)} at {x} {_number(row['x'])}" for row in ordered.to_dict("records"))
    ends = ordered.iloc[[0, -1]].to_dict("records")
    return " to ".join(f"{_number(row['estimate'])} at {x} {_number(row['x'])}" for row in ends)


def _estimate(row: dict) -> str:
    if not np.isfinite([row["low"], row["high"]]).all():
        return _number(row["estimate"])
    return f"{_number(row['estimate'])} ({_number(row['low'])} to {_number(row['high'])})"


def _heatmap(summary: pd.DataFrame) -> str:
    """Growth by pairing: how many are stable in each direction, and the ends."""
    lines = []
    for direction, cells in summary.groupby("direction", sort=False):
        known = cells[cells["growth"].notna()]
        told = f"{direction}: {int(cells['stable'].sum())} of {int(cells['word'].notna().sum())} pairings are stable"
        if len(known):
            ends = known.loc[[known["growth"].idxmin(), known["growth"].idxmax()]].to_dict("records")
            told += "; slowest growth {}, fastest {}".format(
                *(f"{_number(row['growth'])} with {row['init']} and {row['activation']}" for row in ends)
            )
        lines.append(told)
    return f"log10 of the second moment's factor per layer. {'. '.join(lines)}."


def _profile(summary: pd.DataFrame) -> str:
    """Second moment by layer: of each pairing the ends; of many pairings where each initializer's end."""
    if summary.groupby(["init", "activation"]).ngroups > MOST:
        return _ends(summary)
    lines = []
    for (init, activation), rows in summary.groupby(["init", "activation"], sort=False):
        ordered = rows.sort_values("layer")
        first, last = ordered["mean"].iloc[0], ordered["mean"].iloc[-1]
        lines.append(f"{init} with {activation}: {_number(first)} at layer 1, {_number(last)} at layer"
                     f" {int(ordered['layer'].iloc[-1])}")  # fmt: skip
    return _few(lines)


def _ends(summary: pd.DataFrame) -> str:
    """Of each initializer where its curves end, over the activations, in the direction of travel."""
    at = summary["layer"].max() if (summary["direction"] == "forward").all() else summary["layer"].min()
    lines = []
    for init, rows in summary[summary["layer"] == at].groupby("init", sort=False):
        known = rows.dropna(subset=["mean"])
        told = f"{_number(known['mean'].min())} to {_number(known['mean'].max())}" if len(known) else "beyond float64"
        lines.append(f"{init} {told}")
    return f"At layer {at}, over {summary['activation'].nunique()} activations: {'; '.join(lines)}."


def _histograms(summary: pd.DataFrame) -> str:
    """The root mean square of each initializer's activations, first layer and last."""
    lines = []
    for (init, quantity), rows in summary.dropna(subset=["layer"]).groupby(["init", "quantity"], sort=False):
        ends = rows.loc[[rows["layer"].idxmin(), rows["layer"].idxmax()]]
        told = " to ".join(f"{_number(row['rms'])} in layer {row['layer']}" for row in ends.to_dict("records"))
        lines.append(f"{init}, {'activations' if quantity == 'a' else 'gradients'}: root mean square {told}")
    return _few(lines, 12)


def _levels(summary: pd.DataFrame) -> str:
    """Accuracy by level: of each factor what it explains, its best and its worst level."""
    lines = []
    for factor, rows in summary.groupby("factor", sort=False):
        known = rows.dropna(subset=["mean"])
        if known.empty:
            continue
        ranked = known.sort_values("mean").to_dict("records")
        worst, best = ranked[0], ranked[-1]
        lines.append(f"{factor} explains {rows['explained'].iloc[0]:.1%}: mean {best['mean']:.3f} at {best['level']},"
                     f" {worst['mean']:.3f} at {worst['level']}")  # fmt: skip
    return _few(lines, 12)


def _shares(summary: pd.DataFrame) -> str:
    """What each factor explains."""
    rows = summary.to_dict("records")
    return _few([f"{row['factor']} explains {row['explained']:.1%}" for row in rows], 12)


def _pairings(summary: pd.DataFrame) -> str:
    """Of each initializer the accuracy with its best and its worst activation."""
    lines = []
    for init, rows in summary.groupby("init", sort=False):
        ranked = rows.sort_values("test_accuracy").to_dict("records")
        told = [f"{_number(row['test_accuracy'])} with {row['activation']}" for row in (ranked[-1], ranked[0])]
        lines.append(f"{init}: test accuracy {' down to '.join(told[: len(ranked)])}")
    return _few(lines, 20)


def _configurations(summary: pd.DataFrame) -> str:
    """The best configuration, and how many there are."""
    factors = list(summary.columns[: summary.columns.get_loc("test_accuracy")])
    best = summary.sort_values("rank").iloc[0]
    setting = ", ".join(f"{name} {best[name]}" for name in factors)
    return (
        f"{len(summary):,} configurations, test accuracy {_number(summary['test_accuracy'].min())} to"
        f" {_number(summary['test_accuracy'].max())}. Best on validation: {setting}, with"
        f" {_number(best['test_accuracy'])}."
    )


def _rates(summary: pd.DataFrame) -> str:
    """Alarms by case."""
    lines = [f"{row['case']}: {row['rate']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
             for row in summary.to_dict("records")]  # fmt: skip
    return _few(lines, 12)


def _any(summary: pd.DataFrame) -> str:
    """The columns and what they hold."""
    told = []
    for name, values in summary.items():
        if are_numbers(values):
            known = values[np.isfinite(values.to_numpy(float))]
            told += [f"{name} {_number(known.min())} to {_number(known.max())}"] if len(known) else []
        elif 1 < values.nunique() <= MOST:
            told.append(f"{name}: {', '.join(map(str, values.dropna().unique()))}")
    return f"{len(summary)} rows of numbers. {'; '.join(told)}."


TOLD: dict[frozenset[str], Tell] = {
    frozenset({"source", "x_name", "y_name", "estimate", "measure"}): _relation,
    frozenset({"growth", "stable", "word", "direction"}): _heatmap,
    frozenset({"layer", "mean", "theory", "quantity", "direction"}): _profile,
    frozenset({"rms", "density", "quantity"}): _histograms,
    frozenset({"factor", "explained", "level", "mean"}): _levels,
    frozenset({"factor", "explained", "mean_at_best"}): _shares,
    frozenset({"rank", "test_accuracy", "val_accuracy"}): _configurations,
    frozenset({"init", "activation", "test_accuracy", "val_accuracy"}): _pairings,
    frozenset({"case", "rate", "low", "high"}): _rates,
}
"""Columns of a summary -> what tells it."""


def _few(lines: list[str], most: int = MOST) -> str:
    """Sentences; of many the first, and how many more there are."""
    told = ". ".join(lines[:most])
    return f"{told}." if len(lines) <= most else f"{told}. And {len(lines) - most} more, in the CSV."


def _number(value: object) -> str:
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        return str(value)
    return f"{value:.3g}".replace("-", "−")
