"""Expectations: what is held, not held or undecided, from frames whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from initbench.analysis import expectations, training
from initbench.analysis.expectations import Expectation, outcomes
from initbench.core.errors import UsageError

SEEDS = range(6)


def observed(value):
    """An `observe` that gives the numbers of `value(init, depth, seed)`."""
    rows = [(init, depth, seed, value(init, depth, seed)) for init in ("he", "xavier") for depth in (1, 2, 4)
            for seed in SEEDS]  # fmt: skip
    found = pd.DataFrame(rows, columns=["init", "depth", "seed", "value"])
    return lambda part, measure, table: found


def outcome(observe, **given):
    return outcomes([Expectation(claim="it is so", **given)], observe).iloc[0]


NOISE = np.random.default_rng(0).normal(size=6)


@pytest.mark.parametrize(("bound", "word"), [({"above": 0.5}, "held"), ({"above": 1.5}, "not held"),
                                             ({"above": 1.01}, "undecided"), ({"below": 1.5}, "held"),
                                             ({"between": (0.5, 1.5)}, "held"), ({"between": (2, 3)}, "not held"),
                                             ({"between": (1.01, 3)}, "undecided")])  # fmt: skip
def test_an_interval_is_held_against_its_bound(bound, word):
    row = outcome(observed(lambda init, depth, seed: 1 + 0.1 * NOISE[seed]), measure="final", **bound)
    assert row.outcome == word
    assert row.low < 1.01 < row.high


def test_networks_are_compared_in_pairs_of_one_seed_and_factor():
    # the seeds differ by far more than the initializers: only pairs can tell
    observe = observed(lambda init, depth, seed: 100 * NOISE[seed] + depth + (init == "he") * (2 + 0.01 * NOISE[seed]))
    row = outcome(observe, measure="final", where={"init": "he"}, versus={"init": "xavier"}, between=[1.9, 2.1])
    assert (row.outcome, row.n) == ("held", 6)
    assert row.estimate == pytest.approx(2 + 0.01 * NOISE.mean())


def test_what_is_positive_is_compared_as_a_ratio():
    observe = observed(lambda init, depth, seed: np.exp(5 * NOISE[seed]) * (3 if init == "he" else 1))
    row = outcome(observe, measure="level(of=z_second_moment)", where={"init": "he"}, versus={"init": "xavier"},
                  between=[2.9, 3.1])  # fmt: skip
    assert (row.outcome, row.estimate) == ("held", pytest.approx(3))


def test_a_change_with_a_factor_is_a_slope_or_for_what_is_positive_a_factor():
    line = observed(lambda init, depth, seed: NOISE[seed] + 0.5 * depth)
    assert outcome(line, measure="final", against="depth", above=0).estimate == pytest.approx(0.5)
    power = observed(lambda init, depth, seed: (2 + 0.001 * NOISE[seed]) ** depth)
    row = outcome(power, measure="ratio(of=z_second_moment)", against="depth", between=[1.9, 2.1])
    assert (row.outcome, row.estimate) == ("held", pytest.approx(2, rel=1e-3))


def test_a_seed_that_was_lost_decides_nothing():
    row = outcome(observed(lambda init, depth, seed: np.nan if seed == 3 else 1.0), measure="final", above=0)
    assert row.outcome == "undecided"


@pytest.mark.parametrize(
    ("measure", "value", "why"),
    [
        ("final", lambda seed: np.nan if seed == 3 else 1.0, "no number in 1 of 6 seeds"),
        ("level(of=z_second_moment)", lambda seed: 0.0 if seed < 2 else 1.0,
         "0 or below, which has no logarithm, in 2 of 6 seeds"),
    ],
)  # fmt: skip
def test_why_there_is_no_estimate_is_told(measure, value, why):
    expected = Expectation(claim="A", measure=measure, below=9)
    table = outcomes([expected], observed(lambda init, depth, seed: value(seed)))
    assert (table.outcome[0], table.explained[0]) == ("undecided", why)
    assert expectations.verdict(table) == f"0 of 1 expectations held; undecided: A ({why})"
    assert f"- *A*: undecided. {why}" in expectations.markdown(table)


def test_the_verdict_names_what_did_not_hold():
    table = outcomes([Expectation(claim="A", measure="final", above=0), Expectation(claim="B", measure="final",
                      above=9, explained="too high")], observed(lambda *_: 1.0))  # fmt: skip
    assert expectations.verdict(table) == "1 of 2 expectations held; not held: B"
    assert "- *B*: not held. too high" in expectations.markdown(table)


def test_what_differs_from_its_source_is_told_below_and_bars_do_not_break_the_table():
    row = Expectation(claim="|w| grows", measure="final", above=0, published=2, differs="Ours is on the digits.")
    told = expectations.markdown(outcomes([row], observed(lambda *_: 1.0)))
    assert "- *|w| grows*: published is 2.0. Ours is on the digits." in told
    assert [line.count("|") - line.count("\\|") for line in told.splitlines()[:3]] == [8] * 3


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"above": 2, "below": 1},
        {"between": [1, 1]},
        {"above": 1, "meazure": 2},
        {"above": 1, "measure": "reached(value=0.5)", "versus": {"init": "he"}},
    ],
)
def test_what_cannot_be_tested_is_refused(given):
    with pytest.raises(ValidationError):
        Expectation(**{"claim": "x", "measure": "final", **given})


def test_an_unknown_measure_or_factor_is_told():
    with pytest.raises(ValidationError, match="unknown measure 'finall'; did you mean 'final'"):
        Expectation(claim="x", measure="finall", above=1)
    with pytest.raises(UsageError, match="no factor 'dpeth' varies here; did you mean 'depth'"):
        outcome(observed(lambda *_: 1.0), measure="final", where={"dpeth": 1}, above=1)
    with pytest.raises(UsageError, match="nothing has init = xavir; did you mean 'xavier'"):
        outcome(observed(lambda *_: 1.0), measure="final", where={"init": "xavir"}, above=1)


def test_a_tuned_factor_is_chosen_on_validation_for_each_compared_cell():
    rows = [(init, lr, seed, "diverged" if (lr == 1.0 and seed) else "finished", val, 1 - val)
            for init, vals in {"a": (0.2, 0.6, 0.99), "b": (0.7, 0.3, 0.1)}.items()
            for lr, val in zip((0.01, 0.1, 1.0), vals, strict=True) for seed in (0, 1)]  # fmt: skip
    runs = pd.DataFrame(rows, columns=["init", "lr", "seed", "status", "val_accuracy", "test_accuracy"])
    kept = training.tuned(runs, ["lr"])
    # 0.99 of one seed and 0 of the one that diverged are less than 0.6; what the test set says is not looked at
    assert dict(zip(kept.init, kept.lr, strict=True)) == {"a": 0.1, "b": 0.01}
    assert len(kept) == 4


def test_what_was_not_run_at_any_level_is_kept_at_the_first():
    rows = [(init, lr, 0, status, val, val) for lr in (0.01, 0.1)
            for init, status, val in (("a", "impossible", np.nan), ("b", "finished", lr))]  # fmt: skip
    runs = pd.DataFrame(rows, columns=["init", "lr", "seed", "status", "val_accuracy", "test_accuracy"])
    kept = training.tuned(runs, ["lr"])
    assert dict(zip(kept.init, kept.lr, strict=True)) == {"a": 0.01, "b": 0.1}
