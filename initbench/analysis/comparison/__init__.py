"""Comparisons of the levels of one factor: `scores` makes the numbers of any results folder, the others judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from initbench.analysis.comparison.anova import explained
from initbench.analysis.comparison.paired import differences
from initbench.analysis.comparison.ranking import ranks
from initbench.analysis.comparison.rates import divergence
from initbench.analysis.comparison.scores import Canonical, Scores, measure_of, scores
from initbench.analysis.results import Results
from initbench.core.errors import UsageError

Table = Literal["differences", "ranks", "explained", "divergence"]
METRICS = {"train": "test_accuracy", "variance": "growth(of=z_second_moment)", "jacobian": "average(of=condition)"}
"""Kind of study -> what is compared if nothing else is said."""


def compare(
    results: Results | str | Path,
    by: str,
    baseline: object = None,
    *,
    metric: str = "",
    tune: Sequence[str] | None = None,
    where: Mapping[str, object] | None = None,
    table: Table = "differences",
    test: str = "t",
    bound: float | None = None,
    canonical: Canonical = lambda _, level: level,
) -> pd.DataFrame:
    """Compare the levels of the factor `by` in a results folder, each with `baseline` (the first, if None).

    `metric` is a column of ``runs`` or the spec of a measure (`initbench list measures`); `tune` names factors whose
    level is chosen on validation for each compared cell (those that the study tunes, if None); `where` keeps levels of
    other factors. Of the tables ``differences`` takes `test` and the `bound` of practical equivalence; see there, and
    `ranks`, `explained`, `divergence`. Raises `UsageError` for what the results do not have.
    """
    results = results if isinstance(results, Results) else Results(results)
    metric = metric or METRICS.get(results.study["kind"], "")
    if not metric:
        raise UsageError(f"say what to compare: a study of kind {results.study['kind']} has no usual metric")

    def numbers(of: str, chosen: Sequence[str] | None) -> Scores:
        return scores(results, by, of, chosen, where, canonical)

    if table == "divergence":
        found = numbers("diverged", ())
        return divergence(found, _baseline(found, baseline, canonical))
    found = numbers(metric, () if table == "explained" else tune)
    if table == "ranks":
        if (lower := measure_of(metric).lower_is_better) is None:
            raise UsageError(f"ranks need a best: of {metric} neither more nor less is better; see the differences")
        return ranks(found, lower_is_better=lower)
    if table == "explained":
        return explained(found)
    return differences(found, _baseline(found, baseline, canonical), test, bound)


def answer(table: pd.DataFrame) -> str:
    """What the differences say, in a sentence."""
    first = table.iloc[0]
    told = []
    for row in table.to_dict("records"):
        found = f"{'×' * row['ratio']}{row['difference']:.4g}, {row['low']:.4g} to {row['high']:.4g}"
        lost = f"{row['lost']} seeds without a number"
        told.append(f"{row['level']} {row['word']} ({lost if row['lost'] else found})")
    return f"{first['metric']} against {first['baseline']}, {first['n']} seeds: {'; '.join(told)}."


def _baseline(found: Scores, given: object, canonical: Canonical) -> object:
    return found.levels[0] if given is None else found.level(given, canonical)
