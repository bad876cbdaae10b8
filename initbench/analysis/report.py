"""The figures of a study, by the tables that it has."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from initbench.analysis import training
from initbench.analysis.figures import (
    accuracy_by_level,
    best_heatmap,
    calibration,
    depth_profiles,
    explained,
    growth_heatmap,
    histograms,
    parallel_coordinates,
)
from initbench.analysis.growth import DIRECTIONS
from initbench.analysis.results import Results

MOST_COLUMNS = 5
"""Initializers beside each other in a figure of histograms, from the fastest vanishing to the fastest growing."""
SWEEP = 3
"""Factors beside the seed, from which on a study of training is a sweep: what each explains is then a question."""
LARGE_SWEEP = 5
"""And from which on they are drawn beside the figures that a study file asks for."""
MOST_HISTOGRAMS = 4
"""Activations that get a figure of histograms, the study's first: a study of one activation has it in any case."""


def figures(results: Results) -> Iterator[tuple[str, pd.DataFrame, Figure]]:
    """Name, numbers and figure of all that is drawn of `results`; nothing of a kind that has no figure."""
    kinds = {"train": _of_training, "variance": _of_propagation, "calibration": _of_calibration}
    if kind := kinds.get(results.study["kind"]):
        yield from kind(results)


def _of_calibration(results: Results) -> Iterator[tuple[str, pd.DataFrame, Figure]]:
    rates = calibration.summary(results.table("alarms"))
    yield "calibration", rates, calibration.draw(rates)


def _of_training(results: Results) -> Iterator[tuple[str, pd.DataFrame, Figure]]:
    levels = accuracy_by_level.summary(results.runs)
    if len(levels):  # more than one level of something
        yield "accuracy_by_level", levels, accuracy_by_level.draw(levels)
    if not is_sweep(results):
        return
    shares = explained.summary(results.runs)
    yield "explained", shares, explained.draw(shares)
    if set(best_heatmap.PAIRING) <= set(training.varied(results.runs)):
        best = best_heatmap.summary(results.runs)
        yield "best_heatmap", best, best_heatmap.draw(best)
    lines = parallel_coordinates.summary(results.runs)
    yield "parallel_coordinates", lines, parallel_coordinates.draw(lines)


def is_sweep(results: Results, least: int = SWEEP) -> bool:
    """Whether it is a study of training of that many factors or more, with a run that finished."""
    if results.study["kind"] != "train":
        return False
    return len(set(training.factors(results.runs)["factor"]) - {"seed"}) >= least


def _of_propagation(results: Results) -> Iterator[tuple[str, pd.DataFrame, Figure]]:
    heat = growth_heatmap.summary(results.verdicts)
    yield "growth_heatmap", heat, growth_heatmap.draw(heat)
    for direction in DIRECTIONS:
        profile = depth_profiles.summary(results.layers, results.predictions, direction)
        yield f"depth_profiles_{direction}", profile, depth_profiles.draw(profile)
    for activation in results.histograms["activation"].unique()[:MOST_HISTOGRAMS]:
        shown = histograms.summary(results.histograms, activation, contrasting(results.verdicts, activation))
        yield f"histograms_{activation}", shown, histograms.draw(shown)


def contrasting(verdicts: pd.DataFrame, activation: str) -> list[str]:
    """At most `MOST_COLUMNS` initializers, spread evenly over the backward growths measured with `activation`."""
    rows = verdicts[(verdicts.activation == activation) & (verdicts.direction == "backward")]
    rows = rows.dropna(subset=["measured_growth"]).drop_duplicates("measured_growth").sort_values("measured_growth")
    kept = min(MOST_COLUMNS, len(rows))
    places = [round(place * (len(rows) - 1) / max(1, kept - 1)) for place in range(kept)]
    return rows["init"].iloc[places].tolist()
