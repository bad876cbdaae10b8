"""Roots of many functions at once, against those that polynomials were built from."""

import numpy as np
import pytest

from initbench.theory.roots import roots

GRID = np.linspace(-3, 3, 14)


@pytest.mark.parametrize("apart", [1.0, 0.1, 1e-3, 1e-6])
def test_two_roots_in_one_gap_are_both_found(apart):
    centres = np.array([-1.31, 0.1, 0.7123])
    found = roots(lambda t, at: ((t - at) ** 2 - apart**2) * (t**2 + 1), GRID, centres)
    assert found.row.tolist() == [0, 0, 1, 1, 2, 2]
    expected = np.concatenate([[at - apart, at + apart] for at in centres])
    assert found.place == pytest.approx(expected, abs=1e-8 * apart + 1e-15 / apart)
    assert found.falling.tolist() == [True, False] * 3


def test_a_maximum_above_0_is_found_as_well_and_a_near_miss_is_none():
    found = roots(lambda t, lift: lift - (t - 0.1) ** 2, GRID, np.array([1e-6, -1e-6]))
    assert found.row.tolist() == [0, 0]
    assert found.place == pytest.approx([0.099, 0.101], abs=1e-9)
    assert found.falling.tolist() == [False, True]


def test_a_root_on_the_grid_counts_once_and_rounding_is_none():
    found = roots(lambda t, at: t - at, np.linspace(-1, 1, 11), np.array([0.0, 0.2, 0.21, 5.0]))
    assert found.row.tolist() == [0, 1, 2]
    assert found.place == pytest.approx([0.0, 0.2, 0.21], abs=1e-14)
    noise = np.random.default_rng(0).normal(scale=1e-15, size=GRID.size)
    assert not len(roots(lambda t, at: np.interp(t, GRID, noise) + 0 * at, GRID, np.array([0.0])).row)
    assert not len(roots(lambda t, at: 1 + np.interp(t, GRID, noise) + 0 * at, GRID, np.array([0.0])).row)
