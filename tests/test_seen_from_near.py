"""At a variance of nearly 0 tanh, SELU, ... are two rays that meet at 0; what starts elsewhere or flat is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch import Tensor

from initbench.activations import ACTIVATIONS, Activation
from initbench.theory.moments import integrated, kernels
from initbench.theory.response import SLOPE_SQUARE, SQUARE, Averages, Local
from initbench.theory.several import SLIGHT, Several

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017
SLOPES = {"tanh": (1.0, 1.0), "softsign": (1.0, 1.0), "elu": (1.0, 1.0), "selu": (SCALE * ALPHA, SCALE),
          "gelu": (0.5, 0.5), "silu": (0.5, 0.5), "mish": (0.6, 0.6), "hardswish": (0.5, 0.5)}  # fmt: skip
"""Below and above 0."""
NEAR = 1e-60


def at(activation: Activation, q: float) -> tuple[Several, np.ndarray]:
    return Several.of([activation]), np.array([q])


@pytest.mark.parametrize("name", SLOPES)
def test_moments_are_those_of_two_rays(name):
    left, right = SLOPES[name]
    local = Local(Averages(at(ACTIVATIONS.make(name), NEAR)[0]), np.array([NEAR]))
    np.testing.assert_allclose(local.passed.value, (left**2 + right**2) / 2 * NEAR, rtol=1e-12)
    np.testing.assert_allclose(local.returned.value, (left**2 + right**2) / 2, rtol=1e-12)
    np.testing.assert_allclose(local.passed.slope, 1, rtol=1e-9)


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("cosine", [-0.5, 0.3, 0.999])
def test_kernels_are_those_of_two_rays(name, cosine):
    """phi(z) = left z + (right - left) max(z, 0): the arc-cosine kernel (Cho & Saul 2009, eq. 6) and E[u max(v, 0)]."""
    left, right = SLOPES[name]
    angle, gap = math.acos(cosine), right - left
    rectifier = (math.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi)
    exact = NEAR * (left**2 * cosine + left * gap * cosine + gap**2 * rectifier)
    np.testing.assert_allclose(kernels(*at(ACTIVATIONS.make(name), NEAR), np.array([cosine])), exact, rtol=1e-12)


@pytest.mark.parametrize("name", SLOPES)
def test_below_and_above_join(name):
    activations, _ = at(ACTIVATIONS.make(name), SLIGHT)
    q = SLIGHT * np.array([1.0, 1 + 1e-9])
    below, above = (kernels(activations, q[[place]], np.array([0.4])) / q[place] for place in (0, 1))
    np.testing.assert_allclose(below, above, rtol=1e-8)


def test_a_level_and_how_far_it_is_are_the_variance():
    activations, q = at(ACTIVATIONS.make("tanh"), NEAR)
    level, grown = activations.levels(q)
    assert level == SLIGHT
    assert grown * level == pytest.approx(NEAR, rel=1e-15)
    np.testing.assert_array_equal(activations.levels(np.zeros(1)), [[0.0], [1.0]])


def square(z: Tensor) -> Tensor:
    return z * z


@pytest.mark.parametrize(("activation", "second", "slope"),
                         [(ACTIVATIONS.make("sigmoid"), 0.25, 1 / 16), (Activation(square), 3e-80, 4e-40)],
                         ids=["sigmoid", "square"])  # fmt: skip
def test_others_stay_where_they_are(activation, second, slope):
    activations, q = at(activation, 1e-40)
    np.testing.assert_array_equal(activations.levels(q), [q, [1.0]])
    mean, variance, slopes = (of.item() for of in integrated(activations, q[:, None])[:3])
    np.testing.assert_allclose([mean**2 + variance, slopes], [second, slope], rtol=1e-12)
    local = Local(Averages(activations), q)
    np.testing.assert_allclose([local.mean[0, SQUARE], local.mean[0, SLOPE_SQUARE]], [second, slope], rtol=1e-9)
