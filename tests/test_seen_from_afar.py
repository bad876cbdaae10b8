"""At a large variance SELU, SiLU, ... are two rays; what saturates or swings is none, however large."""

from __future__ import annotations

import numpy as np
import pytest

from initbench.activations import ACTIVATIONS
from initbench.theory.moments import integrated, kernels
from initbench.theory.response import Averages, Local
from initbench.theory.several import STRAIGHT, Several

RAYS = {"elu": 1.0, "selu": 1.0507009873554805, "gelu": 1.0, "silu": 1.0, "mish": 1.0, "softplus": 1.0}
"""Slopes of the right ones; the left ones are flat."""
LEVELS = {"tanh": 1.0, "softsign": 1.0, "sigmoid": 0.5, "hardtanh": 1.0}
"""E[phi²] where the variance is large."""
FAR = 1e30


def at(name, q):
    return Several.of([ACTIVATIONS.make(name)]), np.array([q])


@pytest.mark.parametrize("name", RAYS)
def test_moments_are_those_of_a_rectifier(name):
    slope = RAYS[name]
    local = Local(Averages(at(name, FAR)[0]), np.array([FAR]))
    np.testing.assert_allclose(local.passed.value, slope**2 * FAR / 2, rtol=1e-10)
    np.testing.assert_allclose(local.returned.value, slope**2 / 2, rtol=1e-10)
    np.testing.assert_allclose(local.passed.slope, 1, rtol=1e-10)


@pytest.mark.parametrize("name", RAYS)
@pytest.mark.parametrize("cosine", [-0.5, 0.3, 0.999])
def test_kernels_are_those_of_a_rectifier(name, cosine):
    angle = np.arccos(cosine)
    rectifier = FAR / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))  # Cho & Saul 2009, eq. 6
    found = kernels(*at(name, FAR), np.array([cosine]))
    np.testing.assert_allclose(found, RAYS[name] ** 2 * rectifier, rtol=1e-9)


@pytest.mark.parametrize("name", RAYS)
def test_below_and_above_join(name):
    activations, q = at(name, STRAIGHT)
    below, above = (kernels(activations, factor * q, np.array([0.4])) / factor for factor in (1 - 1e-9, 1.0))
    np.testing.assert_allclose(below, above, rtol=1e-8)


@pytest.mark.parametrize("name", [*LEVELS, "sin"])
def test_others_stay_where_they_are(name):
    activations, q = at(name, FAR)
    assert not activations.straight.any()
    np.testing.assert_array_equal(activations.levels(q), [q, [1.0]])


@pytest.mark.parametrize("name", LEVELS)
def test_what_saturates_is_at_its_ends(name):
    mean, variance, *_ = integrated(*at(name, FAR))
    np.testing.assert_allclose(mean**2 + variance, LEVELS[name], rtol=1e-10)


@pytest.mark.parametrize("name", RAYS)
def test_a_level_and_how_far_it_is_are_the_variance(name):
    activations, q = at(name, FAR)
    level, grown = activations.levels(q)
    assert level == STRAIGHT
    assert grown * level == pytest.approx(FAR, rel=1e-15)
    np.testing.assert_allclose(integrated(activations, level)[2], RAYS[name] ** 2 / 2, rtol=1e-10)
