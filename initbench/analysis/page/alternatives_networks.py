"""Figures of networks at initialization, and of theory, in words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from initbench.analysis.page.phrases import MOST, few, number, percent


def heatmap(summary: pd.DataFrame) -> str:
    """Growth by pairing: how many are stable in each direction, and the ends."""
    lines = []
    for direction, cells in summary.groupby("direction", sort=False):
        known = cells[cells["growth"].notna()]
        told = f"{direction}: {int(cells['stable'].sum())} of {int(cells['word'].notna().sum())} pairings are stable"
        if len(known):
            ends = known.loc[[known["growth"].idxmin(), known["growth"].idxmax()]].to_dict("records")
            told += "; slowest growth {}, fastest {}".format(
                *(f"{number(row['growth'])} with {row['init']} and {row['activation']}" for row in ends)
            )
        lines.append(told)
    return f"log10 of the second moment's factor per layer. {'. '.join(lines)}."


def profile(summary: pd.DataFrame) -> str:
    """Second moment by layer: of each pairing the ends; of many pairings where each initializer's end."""
    if summary.groupby(["init", "activation"]).ngroups > MOST:
        return _ends(summary)
    lines = []
    for (init, activation), rows in summary.groupby(["init", "activation"], sort=False):
        ordered = rows.sort_values("layer")
        first, last = ordered["mean"].iloc[0], ordered["mean"].iloc[-1]
        lines.append(f"{init} with {activation}: {number(first)} at layer 1, {number(last)} at layer"
                     f" {int(ordered['layer'].iloc[-1])}")  # fmt: skip
    return few(lines)


def _ends(summary: pd.DataFrame) -> str:
    """Of each initializer where its curves end, over the activations, in the direction of travel."""
    at = summary["layer"].max() if (summary["direction"] == "forward").all() else summary["layer"].min()
    lines = []
    for init, rows in summary[summary["layer"] == at].groupby("init", sort=False):
        known = rows.dropna(subset=["mean"])
        told = f"{number(known['mean'].min())} to {number(known['mean'].max())}" if len(known) else "beyond float64"
        lines.append(f"{init} {told}")
    return f"At layer {at}, over {summary['activation'].nunique()} activations: {'; '.join(lines)}."


def histograms(summary: pd.DataFrame) -> str:
    """The root mean square of each initializer's activations, first layer and last."""
    lines = []
    for (init, quantity), rows in summary.dropna(subset=["layer"]).groupby(["init", "quantity"], sort=False):
        ends = rows.loc[[rows["layer"].idxmin(), rows["layer"].idxmax()]]
        told = " to ".join(f"{number(row['rms'])} in layer {row['layer']}" for row in ends.to_dict("records"))
        lines.append(f"{init}, {'activations' if quantity == 'a' else 'gradients'}: root mean square {told}")
    return few(lines, 12)


def rates(summary: pd.DataFrame) -> str:
    """Alarms by case."""
    lines = [f"{row['case']}: {percent(row['rate'])} ({percent(row['low'])} to {percent(row['high'])})"
             for row in summary.to_dict("records")]  # fmt: skip
    return few(lines, 12)


def fractions(summary: pd.DataFrame) -> str:
    """Of each activation the initializers with the least and the most in the last layer."""
    what, last = summary["quantity"].iloc[0].replace("_", " "), summary["layer"].max()
    lines = []
    for activation, rows in summary[summary["layer"] == last].groupby("activation", sort=False):
        ranked = rows.sort_values("mean", kind="stable").to_dict("records")
        told = [f"{percent(row['mean'])} with {row['init']}" for row in (ranked[0], ranked[-1])]
        lines.append(f"{activation}: {' to '.join(told[: len(ranked)])}")
    return f"{what[0].upper()}{what[1:]} in layer {last}. {few(lines, 12)}"


def factors(summary: pd.DataFrame) -> str:
    """Of each initializer the network's factor per layer, its ends over the activations, and how far theory is off."""
    lines = []
    for init, rows in summary[summary["scope"] == "network"].groupby("init", sort=False):
        known = rows.dropna(subset=["mean"])
        ends = dict.fromkeys(number(value) for value in (known["mean"].min(), known["mean"].max()) if len(known))
        told = f"{init} {' to '.join(ends) or 'beyond float64'}"
        off = (known["mean"] / known["predicted"])[known["predicted"] > 0].dropna()
        ratios = dict.fromkeys(number(value) for value in (off.min(), off.max()) if len(off))
        lines.append(told + (f", {' to '.join(ratios)} times what theory says" if ratios else ""))
    return f"The network's factor per layer, over {summary['activation'].nunique()} activations. {few(lines, 20)}"


def spectrum(summary: pd.DataFrame) -> str:
    """Of each pairing between which values nine tenths of the network's singular values lie, and the largest."""
    lines = []
    for row in summary[summary["scope"] == "network"].to_dict("records"):
        if np.isnan(row["singular_95"]):
            lines.append(f"{row['init']} with {row['activation']}: nearly all are 0 or below the rounding")
            continue
        low = "below the rounding" if np.isnan(row["singular_5"]) else number(row["singular_5"])
        lines.append(f"{row['init']} with {row['activation']}: 5 to 95 % of the network's lie between {low} and"
                     f" {number(row['singular_95'])}, the largest is {number(row['singular_max'])}")  # fmt: skip
    return few(lines, 12)


def depths(summary: pd.DataFrame) -> str:
    """Of each phase where it is, and the ends of the cosine's depth scale there."""
    name, lines = summary["x_name"].iloc[0].replace("_", " "), []
    for phase, rows in summary.groupby("phase", sort=False):
        ends = " to ".join(dict.fromkeys(number(value) for value in (rows["x"].min(), rows["x"].max())))
        reach = dict.fromkeys(number(value) for value in (rows["xi_c"].min(), rows["xi_c"].max()))
        told = " to ".join(reach).replace("inf", "without end")
        lines.append(f"{phase} at {name} {ends}: xi_c in layers {told}")
    return few(lines)


def phases(summary: pd.DataFrame) -> str:
    """The share of each phase, and where the cosine's depth scale is smallest and largest."""
    points = summary[summary["part"] == "phase"]
    found = points["phase"].value_counts(normalize=True)
    shares = ", ".join(f"{phase} {percent(share, 0)}" for phase, share in found.items())
    known = points[np.isfinite(points["xi_c"])].sort_values("xi_c").to_dict("records")
    ends = [f"{number(row['xi_c'])} layers at weight variance {number(row['weight_variance'])} and bias variance"
            f" {number(row['bias_variance'])}" for row in (known[:1] + known[1:][-1:])]  # fmt: skip
    return f"{len(points)} points: {shares}. Depth scale xi_c: {' to '.join(ends) or 'without end'}."
