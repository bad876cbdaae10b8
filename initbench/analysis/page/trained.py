"""What a study of training found: the comparison that it makes, its best configuration, and what decides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from initbench.analysis import training
from initbench.analysis.page import comparisons, words
from initbench.analysis.page.finding import Fact, Finding
from initbench.analysis.results import Results
from initbench.analysis.statistics import LINEAR, SHARE, Interval, interval

LEAST = 0.001
"""Of the variance: a factor that explains less is not told of."""
MOST_COMPARED = 2
"""Factors beside the tuned ones, up to which the comparison is the answer; of a sweep it is the best configuration."""


def finding(results: Results) -> Finding:
    """The comparison where few factors are compared, the best configuration where many are."""
    runs = training.tuned(results.runs, list(results.study.get("tune", {})))
    question = "Which settings train best?"
    facts = [_lost(results.runs), *_decisive(results.runs)]
    done = runs["val_accuracy"].notna()
    if not done.any():
        return Finding(question, f"No accuracy to compare: {training.counts(results.runs)}.", facts)
    reached, bounds, setting, chosen = _best(runs)
    lead = f"Test accuracy {reached} ({bounds}) at best{f', with {setting}' if setting else ''}."
    comparison = comparisons.of_training(results)
    if comparison is None:
        return Finding(question, lead, [Fact("Best test accuracy", reached, chosen), *facts])
    few = len({*training.varied(runs)} - {"seed", *comparison.tune}) <= MOST_COMPARED
    best = Fact("Best test accuracy", reached, f"{setting}: {chosen}; {bounds}" if few else chosen)
    lead = comparison.sentence if few else f"{lead} {comparison.sentence}"
    return Finding(question, lead, [Fact("Told apart", *comparison.decided), best, *facts], comparison=comparison)


def _best(runs: pd.DataFrame) -> tuple[str, str, str, str]:
    """Of the configuration that is best on validation: test accuracy, its interval, the levels, and of how many."""
    best = training.best(runs, 1)
    keys = list(best.columns[: best.columns.get_loc("val_accuracy")])
    own = runs.merge(best[keys], on=keys)
    found = interval(own["test_accuracy"].dropna().to_numpy(float), LINEAR)
    clipped = Interval(found.estimate, max(found.low, 0.0), min(found.high, 1.0), found.n) if found.n > 1 else found
    of = runs.groupby(keys, sort=False, dropna=False).ngroups
    setting = ", ".join(f"{name} {words.level(own[name].iloc[0])}" for name in training.varied(runs) if name != "seed")
    chosen = f"of {words.counted(of, 'configuration')} the best on validation, judged on test"
    return words.number(found.estimate, 3), words.between(clipped, _written), setting, chosen


def _written(value: float) -> str:
    return words.number(value, 3)


def _lost(runs: pd.DataFrame) -> Fact:
    ran = runs[runs["status"].isin(["finished", "diverged"])]
    found = interval(np.array(ran["status"] == "diverged", dtype=np.float64), SHARE)
    if found.n == 0:
        return Fact("Diverged", words.MISSING, "no run was made")
    note = f"{round(found.estimate * found.n):,} of {words.counted(found.n, 'run')};"
    note += f" 95 % interval {words.share(found.low)} to {words.share(found.high)}"
    return Fact("Diverged", words.share(found.estimate), note)


def _decisive(runs: pd.DataFrame) -> list[Fact]:
    """The factor that explains most of the variance of test accuracy, and the next."""
    table = training.factors(runs)
    factors = table[(table["factor"] != "seed") & (table["explained"] >= LEAST)].to_dict("records")
    if not factors:
        return []
    first, rest = factors[0], [f"{row['factor']} {words.share(row['explained'])}" for row in factors[1:3]]
    told = f"explains {words.share(first['explained'])} of the variance of test accuracy"
    return [Fact("Decides most", str(first["factor"]), told + (f"; then {', '.join(rest)}" if rest else ""))]
