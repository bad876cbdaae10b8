"""The tables of a page, by the kinds of study that it is of; parts of one kind share a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from initbench.analysis import training
from initbench.analysis.figures import calibration, landscape, predicted_curves
from initbench.analysis.page.tables import Grid, Table, grid, table
from initbench.analysis.results import Results
from initbench.analysis.statistics import CONFIDENCE

PART = "part"
"""The column that tells parts apart, where a page is of several."""
MEASURED = ["val_accuracy", "test_accuracy", "train_loss"]
BEST = 10
Parts = Mapping[str, Results]
Content = Grid | Table


def tables(parts: Parts, prefix: str = "t") -> list[Content]:
    """The tables of all parts, kind by kind."""
    found: list[Content] = []
    for kind in dict.fromkeys(results.study["kind"] for results in parts.values()):
        of_kind = {part: results for part, results in parts.items() if results.study["kind"] == kind}
        found += KINDS.get(kind, _nothing)(of_kind, f"{prefix}-{kind}")
    return found


def together(parts: Parts, read: Callable[[Results], pd.DataFrame]) -> pd.DataFrame:
    """One table of all parts, with the part in front where there are several."""
    frames = {part: read(results) for part, results in parts.items()}
    if len(frames) == 1:
        return next(iter(frames.values()))
    named = [frame.assign(**{PART: part})[[PART, *frame]] for part, frame in frames.items()]
    return pd.concat(named, ignore_index=True)


def _propagation(parts: Parts, place: str) -> list[Content]:
    frame = together(parts, lambda results: _with_interval(results.verdicts))
    first = [PART, "init", "activation", "direction", "word", "measured", "low", "high", "predicted", "agreement",
             "p_value", "cause", "agreement_cause"]  # fmt: skip
    note = (
        "Factor by which the second moment (forward of z, backward of the gradient at z) changes from layer to layer:"
        " measured, with its 95 % interval over seeds, and predicted by mean-field theory. The word says whether the"
        " network is healthy, the agreement whether it does what theory predicts at its width."
    )
    return [grid(place, "Predictions beside measurements", frame, first, note=note)]


def half_width(verdicts: pd.DataFrame) -> pd.Series:
    """Of the interval of each growth, by Student's t; missing with one seed."""
    seeds = verdicts["seeds"]
    return stats.t.ppf((1 + CONFIDENCE) / 2, (seeds - 1).where(seeds > 1)) * verdicts["measured_growth_se"]


def _with_interval(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Growths as factors per layer: 0.5 halves the signal at each."""
    half = half_width(verdicts)
    growth = verdicts["measured_growth"].astype(float)
    with np.errstate(over="ignore"):
        return verdicts.assign(measured=10**growth, low=10 ** (growth - half), high=10 ** (growth + half),
                               predicted=10 ** verdicts["predicted_growth"].astype(float))  # fmt: skip


def _training(parts: Parts, place: str) -> list[Content]:
    runs = together(parts, lambda results: results.runs)
    found: list[Content] = []
    for part, results in parts.items():
        at = f": {part}" if part else ""
        chosen = training.tuned(results.runs, list(results.study.get("tune", {})))
        if chosen["val_accuracy"].notna().any():
            found.append(table(f"The best {BEST} on validation{at}", training.best(chosen, BEST)))
        if len(explained := training.factors(results.runs)):
            found.append(table(f"What each factor explains of the variance of test accuracy{at}", explained))
    return [*found, _runs(runs, place)]


def _runs(runs: pd.DataFrame, place: str) -> Grid:
    """All runs, with parallel coordinates over what varies and what was measured."""
    varied = [*([PART] if PART in runs else []), *training.varied(runs.drop(columns=PART, errors="ignore"))]
    same = [name for name in runs if name not in varied and len(runs[name].unique()) == 1]
    status = ["status"] if len(runs["status"].unique()) > 1 else []
    lost = ["diverged_at"] if status else []
    axes = [*(name for name in varied if name != "data_seed"), *status, *MEASURED]
    note = "A row for each run. Columns in which all runs are equal are left out: they stand among the caveats."
    shown = ["val_accuracy", "test_accuracy", *status, *varied, "train_loss", "test_loss", *lost, "seconds"]
    runs, best = runs.drop(columns=same), ("val_accuracy", "desc")
    return grid(place, "All runs", runs, shown, note=note, axes=axes, color="val_accuracy", sort=best)


def _calibration(parts: Parts, place: str) -> list[Content]:
    return [table("Rates of alarms, with exact 95 % intervals",
                  together(parts, lambda results: calibration.summary(results.table("alarms"))))]  # fmt: skip


def _landscape(parts: Parts, place: str) -> list[Content]:
    return [table("Where the paths end, geometric means over seeds with 95 % intervals",
                  together(parts, lambda results: landscape.ends(results.curves)))]  # fmt: skip


def _curve(parts: Parts, place: str) -> list[Content]:
    return [table("Updates after which the predicted training loss is down to a share of its start",
                  together(parts, lambda results: predicted_curves.times(results.curves)))]  # fmt: skip


def _of_table(name: str, title: str) -> Callable[[Parts, str], list[Content]]:
    return lambda parts, place: [grid(place, title, together(parts, lambda results: results.table(name)))]


def _nothing(parts: Parts, place: str) -> list[Content]:
    """Of a kind that is not known here: its tables as they are."""
    names = dict.fromkeys(name for results in parts.values() for name in results.manifest.get("tables", []))
    return [content for name in names for content in _of_table(name, name.replace("_", " "))(parts, f"{place}-{name}")]


KINDS: dict[str, Callable[[Parts, str], list[Content]]] = {
    "variance": _propagation,
    "train": _training,
    "calibration": _calibration,
    "jacobian": _of_table("jacobians", "Predictions beside measurements, layer by layer"),
    "phase": _of_table("phases", "Fixed points and depth scales"),
    "landscape": _landscape,
    "curve": _curve,
}
"""Kind of study -> its tables."""
