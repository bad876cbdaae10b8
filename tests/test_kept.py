"""Integrals are made anew for networks that moved, and for no others."""

from __future__ import annotations

import numpy as np
import pytest

from initbench.theory.kept import ROUNDING, Kept


@pytest.fixture
def asked():
    """The rows of each call."""
    return []


@pytest.fixture
def squares(asked):
    """A function of q in the place of an integral."""

    def integrate(rows, q):
        asked.append(rows.tolist())
        return [q**2]

    return Kept(integrate)


def test_only_what_moved_is_integrated_again(squares, asked):
    np.testing.assert_array_equal(squares(np.array([1.0, 2.0, 3.0]))[0], [1, 4, 9])
    np.testing.assert_array_equal(squares(np.array([1.0, 5.0, 3.0]))[0], [1, 25, 9])
    assert asked == [[0, 1, 2], [1]]


def test_what_creeps_is_integrated_again_once_it_has_left_its_place(squares, asked):
    for step in range(5):
        squares(np.array([1.0 + step * ROUNDING / 2]))
    assert asked == [[0], [0]]


def test_what_is_lost_is_lost_once_and_does_not_stay_what_it_was(squares, asked):
    for q in (2.0, np.nan, np.nan):
        (found,) = squares(np.array([q]))
    assert np.isnan(found).all()
    assert asked == [[0], [0]]


def test_a_cosine_moves_on_its_own_scale(asked):
    def integrate(rows, q, c):
        asked.append(rows.tolist())
        return [q * c]

    kept = Kept(integrate, still=1e-3)
    kept(np.array([1e9, 1e9]), np.array([0.5, 0.5]))
    (found,) = kept(np.array([1e9, 1e9]), np.array([0.5005, 0.6]))
    np.testing.assert_array_equal(found, [0.5e9, 0.6e9])
    assert asked == [[0, 1], [1]]
