"""Which runs a figure of training shows: a line for each level of one factor, a panel for each of a second."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from initbench.analysis import training
from initbench.analysis.figures import panels

FIRST = ["init", "activation"]
"""The factors that get lines and panels before others."""
LINES = ["panel", "hue"]
NAMES = {"init": "initializer"}


def configurations(runs: pd.DataFrame, most: int, tuned: Sequence[str] = (), x: str = "") -> pd.DataFrame:
    """The runs shown, each with its levels of two factors as ``hue`` and ``panel``, whose names stand beside.

    Of all other factors (but `x`) those levels are chosen that are best on validation, for each line and, if there is
    an `x`, each of its levels (`training.tuned`); ``chosen`` names them. Factors in `tuned` have no lines. Panels
    are at most `most`, of ``panels`` that there are. A diverged run has accuracy 0, and ``lost`` is true; what could
    not run is not there.
    """
    varied = [name for name in training.varied(runs) if name not in ("seed", x)]
    compared = [name for name in (*FIRST, *varied) if name in varied and name not in tuned]
    hue, panel = [*dict.fromkeys(compared), "", ""][:2]
    others = [name for name in varied if name not in (hue, panel)]
    best = training.with_lost(training.tuned(runs, others))
    best = best[best["status"].isin(["finished", "diverged"])]
    levels = list(best[panel].unique()) if panel else [""]
    best = best[best[panel].isin(panels.spread(levels, most))] if panel else best
    if hue:  # so that a level looks the same in every figure, whichever panels lack it
        places = {level: place for place, level in enumerate(runs[hue].unique())}
        best = best.sort_values(hue, key=lambda values: values.map(places), kind="stable")
    return best.assign(panel=best[panel] if panel else "", panel_name=panel, panels=len(levels),
                       hue=best[hue] if hue else "all runs", hue_name=NAMES.get(hue, hue), chosen=", ".join(others),
                       lost=best["status"] == "diverged")  # fmt: skip


def told(summary: pd.DataFrame, each: str) -> str:
    """For a caption: what was chosen for `each` line or point, and which panels are left out."""
    first, shown = summary.iloc[0], summary["panel"].nunique()
    best = f" Of {first['chosen']} the best level by mean validation accuracy is shown, chosen for each {each}."
    words = best if first["chosen"] else ""
    if shown < first["panels"]:
        words += f" {shown} of {first['panels']} levels of {first['panel_name']} are shown, evenly over their order."
    return words


def title(summary: pd.DataFrame, level: object) -> str:
    """Above a panel."""
    name = summary["panel_name"].iloc[0]
    if not name:
        return ""
    return str(level) if name in FIRST else f"{name} = {level}"
