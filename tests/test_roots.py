"""Roots of many functions at once, against those that polynomials were built from."""

import numpy as np
import pytest
from scipy.optimize import brentq

from initbench.theory.roots import bracketed, roots

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


@pytest.mark.parametrize(("function", "apart"), [
    (lambda t, at: np.exp(40 * t) - np.exp(40 * at), 1e-13),  # nearly all of it at one end
    (lambda t, at: np.tanh(300 * (t - at)), 1e-13),  # flat but for a step
    (lambda t, at: (t - at) ** 3, 1e-5),  # a triple root, of which a third of the digits can be known
    (lambda t, at: np.sin(t - at) + 1e-3 * (t - at), 1e-13),
    (lambda t, at: np.where(t < at, -1.0, 2.0), 1e-13),  # a jump
])  # fmt: skip
def test_brackets_end_where_brents_method_does(function, apart):
    places = np.array([-0.9, -0.1, 0.0, 1e-9, 0.5, 0.99])
    found = bracketed(function, np.full_like(places, -1.0), np.full_like(places, 1.0), places)
    expected = [brentq(function, -1, 1, args=(at,), xtol=1e-15, maxiter=1000) for at in places]
    assert found == pytest.approx(expected, abs=apart)


def test_brackets_of_nothing_and_roots_at_their_ends():
    line = lambda t, at: t - at  # noqa: E731
    assert not len(bracketed(line, np.empty(0), np.empty(0), np.empty(0)))
    assert bracketed(line, np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
