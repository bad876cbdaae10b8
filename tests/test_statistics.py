"""Intervals against scipy's own tests, textbook numbers, and the share of samples in which they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from initbench.analysis.statistics import LINEAR, LOG, SHARE, SPREAD, interval


def test_the_mean_has_the_interval_of_the_t_test():
    values = np.array([1.2, 0.7, 2.9, 1.1, 1.9])
    found, truth = interval(values, LINEAR), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((truth.low, truth.high), rel=1e-12)
    assert (found.estimate, found.n) == (pytest.approx(1.56), 5)


def test_the_geometric_mean_is_the_mean_of_logarithms():
    values = np.array([1.0, 10.0, 1000.0])
    found, logs = interval(values, LOG), interval(np.log(values), LINEAR)
    assert found.estimate == pytest.approx(10 ** (4 / 3))
    assert np.log([found.low, found.high]) == pytest.approx([logs.low, logs.high])


def test_a_share_has_the_exact_interval():
    # all of ten: the lower end is 0.025^(1/10)
    assert interval(np.ones(10), SHARE).low == pytest.approx(0.025**0.1)
    assert interval(np.ones(10), SHARE).high == 1


def test_a_variance_of_logarithms_has_the_chi_squared_interval():
    values = np.exp(np.random.default_rng(0).normal(0, 0.5, 30))
    found, square = interval(values, SPREAD), np.log(values).var(ddof=1)
    # chi-squared with 29 degrees of freedom: 16.047 and 45.722 in any table
    assert (found.low, found.high) == pytest.approx((29 * square / 45.722, 29 * square / 16.047), rel=1e-4)


@pytest.mark.parametrize(("scale", "truth"), [(LINEAR, 3.0), (LOG, np.exp(3.0)), (SPREAD, 4.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(scale, truth):
    draws = np.random.default_rng(1).normal(3, 2, (2000, 6))
    found = [interval(draw if scale is LINEAR else np.exp(draw), scale) for draw in draws]
    covered = sum(one.low < truth < one.high for one in found)
    assert stats.binomtest(covered, 2000, 0.95).pvalue > 1e-3


def test_what_is_lost_makes_all_unknown_and_one_seed_bounds_nothing():
    assert np.isnan(interval(np.array([1.0, np.nan, 2.0]), LINEAR).low)
    assert np.isnan(interval(np.array([1.0, 0.0]), LOG).estimate)
    alone = interval(np.array([1.0]), LINEAR)
    assert (alone.estimate, alone.low, alone.high) == (1.0, -np.inf, np.inf)
