"""The figures of a study, by the tables that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
from matplotlib.figure import Figure

from initbench.analysis import training
from initbench.analysis.figures import (
    accuracy_by_level,
    accuracy_by_rate,
    best_heatmap,
    calibration,
    depth_profiles,
    depth_scales,
    diverged_heatmap,
    explained,
    growth_heatmap,
    histograms,
    jacobian_spectrum,
    landscape,
    learning_curves,
    panels,
    parallel_coordinates,
    phase_diagram,
    predicted_curves,
    saturation,
    squared_singular_values,
)
from initbench.analysis.growth import DIRECTIONS
from initbench.analysis.results import Results

Figures = Iterator[tuple[str, pd.DataFrame, Figure]]
"""Name, numbers and figure."""

MOST_COLUMNS = 5
"""Initializers beside each other in a figure of histograms, from the fastest vanishing to the fastest growing."""
SWEEP = 3
"""Factors beside the seed, from which on a study of training is a sweep: what each explains is then a question."""
LARGE_SWEEP = 5
"""And from which on they are drawn beside the figures that a study file asks for."""
LEAST_RATES = 3
"""Learning rates, from which on accuracy is drawn against them."""
LEAST_STEPS = 3
"""Recorded steps that are a curve: start and end alone are none."""
MOST_HISTOGRAMS = 4
"""Activations that get a figure of histograms, the study's first: a study of one activation has it in any case."""


def figures(results: Results) -> Figures:
    """All that is drawn of `results`; nothing of a kind that has no figure."""
    if kind := KINDS.get(results.study["kind"]):
        yield from kind(results)


def is_sweep(results: Results, least: int = SWEEP) -> bool:
    """Whether it is a study of training of that many factors or more, with a run that finished."""
    if results.study["kind"] != "train":
        return False
    return len(set(training.factors(results.runs)["factor"]) - {"seed"}) >= least


def _of_training(results: Results) -> Figures:
    levels = accuracy_by_level.summary(results.runs)
    if len(levels):  # more than one level of something
        yield "accuracy_by_level", levels, accuracy_by_level.draw(levels)
    yield from _by_rate_and_step(results)
    paired = set(best_heatmap.PAIRING) <= set(training.varied(results.runs))
    if paired and (results.runs["status"] == "diverged").any():
        lost = diverged_heatmap.summary(results.runs)
        yield "diverged_heatmap", lost, diverged_heatmap.draw(lost)
    if not is_sweep(results):
        return
    shares = explained.summary(results.runs)
    yield "explained", shares, explained.draw(shares)
    if paired:
        best = best_heatmap.summary(results.runs)
        yield "best_heatmap", best, best_heatmap.draw(best)
    lines = parallel_coordinates.summary(results.runs)
    yield "parallel_coordinates", lines, parallel_coordinates.draw(lines)


def _by_rate_and_step(results: Results) -> Figures:
    runs, tuned = results.runs, list(results.study.get("tune", {}))
    if runs["lr"].nunique() >= LEAST_RATES and (runs["status"] == "finished").any():
        rates = accuracy_by_rate.summary(runs, tuned)
        yield "accuracy_by_rate", rates, accuracy_by_rate.draw(rates)
    recorded = "record_every" in runs and (runs["record_every"] > 0).any()
    if recorded and not is_sweep(results, LARGE_SWEEP) and _are_curves(results.curves):
        curves = learning_curves.summary(runs, results.curves, tuned)
        yield "learning_curves", curves, learning_curves.draw(curves)


def _are_curves(recorded: pd.DataFrame) -> bool:
    """Whether there are several points, of which the first is known of some run."""
    quantities = list(learning_curves.QUANTITIES)
    if not set(quantities) <= set(recorded) or recorded["step"].nunique() < LEAST_STEPS:
        return False
    first = recorded.loc[recorded["step"] == recorded["step"].min(), quantities]
    return bool(first.notna().any().all())


def _of_propagation(results: Results) -> Figures:
    heat = growth_heatmap.summary(results.verdicts)
    yield "growth_heatmap", heat, growth_heatmap.draw(heat)
    for direction in DIRECTIONS:
        profile = depth_profiles.summary(results.layers, results.predictions, direction)
        yield f"depth_profiles_{direction}", profile, depth_profiles.draw(profile)
    for quantity in saturation.TITLES:
        shares = saturation.summary(results.layers, quantity)
        if len(shares):  # some activation has a flat part, and something on it
            yield quantity, shares, saturation.draw(shares)
    for activation in results.histograms["activation"].unique()[:MOST_HISTOGRAMS]:
        shown = histograms.summary(results.histograms, activation, contrasting(results.verdicts, activation))
        yield f"histograms_{activation}", shown, histograms.draw(shown)


def contrasting(verdicts: pd.DataFrame, activation: str) -> list[str]:
    """At most `MOST_COLUMNS` initializers, spread evenly over the backward growths measured with `activation`."""
    rows = verdicts[(verdicts.activation == activation) & (verdicts.direction == "backward")]
    rows = rows.dropna(subset=["measured_growth"]).drop_duplicates("measured_growth").sort_values("measured_growth")
    return panels.spread(rows["init"].tolist(), MOST_COLUMNS)


def _of_calibration(results: Results) -> Figures:
    rates = calibration.summary(results.table("alarms"))
    yield "calibration", rates, calibration.draw(rates)


def _of_jacobians(results: Results) -> Figures:
    table = results.table("jacobians")
    if "singular_max" in table and table["singular_max"].notna().any():
        spectrum = jacobian_spectrum.summary(table)
        yield "jacobian_spectrum", spectrum, jacobian_spectrum.draw(spectrum)
    squares = squared_singular_values.summary(table)
    yield "squared_singular_values", squares, squared_singular_values.draw(squares)


def _of_phases(results: Results) -> Figures:
    table = results.table("phases")
    vary = [name for name in depth_scales.VARIANCES if len(table[name].unique()) > 1]
    if len(vary) == 2:
        points = phase_diagram.summary(table)
        yield "phase_diagram", points, phase_diagram.draw(points)
    elif vary:
        scales = depth_scales.summary(table)
        yield "depth_scales", scales, depth_scales.draw(scales)


def _of_landscape(results: Results) -> Figures:
    plane = landscape.summary(results.table("landscapes"), results.curves)
    yield "landscape", plane, landscape.draw(plane)


def _of_curves(results: Results) -> Figures:
    curves = predicted_curves.summary(results.curves)
    yield "predicted_curves", curves, predicted_curves.draw(curves)


KINDS: dict[str, Callable[[Results], Figures]] = {
    "train": _of_training,
    "variance": _of_propagation,
    "calibration": _of_calibration,
    "jacobian": _of_jacobians,
    "phase": _of_phases,
    "landscape": _of_landscape,
    "curve": _of_curves,
}
"""Kind of study -> what draws it."""
