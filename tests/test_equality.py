"""Tables made twice: bit-equal, within a tolerance, within what a training magnifies, or not."""

import numpy as np
import pandas as pd
import pytest

from initbench.analysis.equality import BIT_EQUAL, DIFFERS, ROUNDING, WITHIN, compared, magnified


def test_rows_that_are_missing_differ():
    whole = pd.DataFrame({"init": ["he", "he", "xavier"], "seed": [0, 1, 0], "z_mean": 0.0, "z_second_moment": 1.0})
    (row,) = compared("layers", whole, whole.drop(index=1)).to_dict("records")
    assert (row["column"], row["beyond"], row["first"]) == ("rows not made again", 1, "seed 1, init he")


def test_a_sum_that_cancels_is_held_to_what_was_summed():
    before = pd.DataFrame({"init": ["he"], "seed": [0], "z_mean": [1e-6], "z_second_moment": [4.0]})
    for change, word in ((1.9e-4, WITHIN), (2.1e-4, DIFFERS)):  # 1e-4 of the root of 4
        assert compared("layers", before, before.assign(z_mean=1e-6 + change)).word.tolist() == [word]


def test_a_variance_of_inputs_that_look_alike_is_held_to_what_they_are():
    """Sums of numbers rounded by 6e-8 of themselves, as float32 does, beside those that are not."""
    at = 0.5 + 1e-5 * np.random.default_rng(0).standard_normal((128, 64))
    exact, rounded = (float(each.astype(float).var(axis=0).mean()) for each in (at, at.astype(np.float32)))
    before = pd.DataFrame({"init": ["he"], "seed": [0], "a_variance_batch": [exact], "a_second_moment": [0.25]})
    assert 0 < abs(rounded / exact - 1) < 0.01
    allowed = 1e-7 * np.sqrt(0.25 / exact)  # a share of the variance: 0.5 %
    for change, word in ((rounded / exact, WITHIN), (1 + 0.9 * allowed, WITHIN), (1 + 1.1 * allowed, DIFFERS)):
        changed = before.assign(a_variance_batch=exact * change)
        assert compared("layers", before, changed).word.tolist() == [word]


def test_numbers_that_are_missing_or_infinite_on_both_sides_are_equal():
    table = pd.DataFrame({"cell_id": ["a", "b"], "test_loss": [np.nan, np.inf], "training_id": ["a", "b"]})
    assert compared("runs", table, table.copy()).word.tolist() == [BIT_EQUAL]
    assert compared("runs", table, table.assign(test_loss=[1.0, np.inf])).largest.tolist() == [np.inf]


def test_what_a_training_magnifies_is_allowed_threefold():
    coarse = pd.DataFrame({"cell_id": ["a"], "training_id": ["a"], "test_loss": [1.0]})
    rounding = magnified({"runs": (coarse, coarse.assign(test_loss=0.999))})
    assert rounding == {"a": pytest.approx(0.001)}
    for loss, word in ((0.9971, ROUNDING), (0.9969, DIFFERS)):
        assert compared("runs", coarse, coarse.assign(test_loss=loss), rounding).word.tolist() == [word]
