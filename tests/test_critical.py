"""Critical points: published values, and both fixed-point equations put to an independent integrator."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.errors import UsageError
from initbench.theory.critical import critical

NAMES = [entry.name for entry in ACTIVATIONS]
BIAS_VARIANCES = (0.0, 0.05, 1.0)
GROWS_WITH_BIAS = "where chi_1 = 1, each layer adds the bias's variance and E[z²] grows without end"
GROWS = "wherever chi_1 = 1, E[z²] grows from layer to layer and has no fixed point"


def expect(function, q, kinks):
    """E[f(z)], z ~ N(0, q), by adaptive quadrature between the kinks; wrong by less than 1e-11."""
    deviation = math.sqrt(q)
    reach = 12 * deviation
    marks = {-reach, 0.0, reach, *kinks, *(s * m for s in (-1, 1) for m in (0.5, 1, 2, 4, 8, 16, deviation))}
    cuts = sorted(mark for mark in marks if abs(mark) <= reach)
    size = float(function(np.array([-deviation, deviation])).max()) * deviation

    def integrand(z):
        return float(function(np.array([z]))[0]) * math.exp(-z * z / (2 * q))

    pieces = [quad(integrand, *ends, epsrel=1e-12, epsabs=1e-13 * size) for ends in pairwise(cuts)]
    return sum(piece for piece, _ in pieces) / (deviation * math.sqrt(2 * math.pi))


def second_moment(activation, q):
    return expect(lambda z: activation.value(z) ** 2, q, activation.kinks)


def slope_second_moment(activation, q):
    return expect(lambda z: activation.slope(z) ** 2, q, activation.kinks)


def dense_ratio(activation, q):
    """E[phi²] / E[phi'²] by the trapezoidal rule; wrong by about 1e-3 where there is a kink."""
    x = np.linspace(-10, 10, 4_001)
    z, weight = math.sqrt(q) * x, np.exp(-(x**2) / 2)
    return float((activation.value(z) ** 2 * weight).sum() / (activation.slope(z) ** 2 * weight).sum())


def point_or_none(activation, bias_variance):
    try:
        return critical(activation, bias_variance)
    except UsageError:
        return None


@pytest.mark.parametrize("bias_variance", BIAS_VARIANCES)
@pytest.mark.parametrize("name", NAMES)
def test_both_equations_hold_or_no_q_solves_them(name, bias_variance):
    activation = ACTIVATIONS.make(name)
    point = point_or_none(activation, bias_variance)
    if point is None:
        grid = np.logspace(-6, 6, 60)
        excess = [(dense_ratio(activation, q) + bias_variance) / q - 1 for q in grid]
        at_zero = bias_variance == 0 and abs(float(activation.value(np.zeros(1))[0])) == 0
        # a map that is linear in q, as a rectifier's, has excess bias_variance / q: above 0, and small for large q
        assert all(value > -1e-7 for value in excess)
        assert not at_zero
        return
    q = point.q or 1e-12
    tolerance = 1e-10 if point.q else 1e-5  # at 1e-12 in place of 0, smooth functions have moved by sqrt(q) at most
    assert point.weight_variance * slope_second_moment(activation, q) == pytest.approx(1, rel=tolerance)
    mapped = point.weight_variance * second_moment(activation, q) + bias_variance
    assert mapped == pytest.approx(q, rel=tolerance)


@pytest.mark.parametrize("bias_variance", BIAS_VARIANCES)
@pytest.mark.parametrize("name", NAMES)
def test_attracting_points_attract_and_others_repel(name, bias_variance):
    """Twenty layers from 2 % above q*: the distance grows exactly where the point is said to repel."""
    activation = ACTIVATIONS.make(name)
    point = point_or_none(activation, bias_variance)
    if point is None:
        with pytest.raises(UsageError, match="has no critical weight variance"):
            critical(activation, bias_variance)
        return
    start = 1.02 * point.q or 1e-4
    q = start
    for _ in range(20):
        q = point.weight_variance * second_moment(activation, q) + bias_variance
    moved = (q - start) / start
    if point.every_q:
        assert abs(moved) <= 1e-9
    else:
        assert moved <= 1e-9 if point.attracting else moved > 1e-6


def test_tanh_with_bias_variance_005_is_the_papers():
    """Schoenholz et al. 2017 use (sigma_w², sigma_b²) = (1.76, 0.05) as their critical tanh network."""
    point = critical(ACTIVATIONS.make("tanh"), 0.05)
    assert point.weight_variance == pytest.approx(1.76, abs=5e-3)
    assert point.attracting


@pytest.mark.parametrize(
    ("spec", "weight_variance"),
    [("tanh", 1), ("sin", 1), ("erf", math.pi / 4), ("relu", 2), ("identity", 1), ("relu6", 2),
     *((f"leaky_relu(slope={slope})", 2 / (1 + slope**2)) for slope in (0.0, 0.01, 0.2, 0.5, 1.0))],
)  # fmt: skip
def test_without_bias_the_critical_variance_is_read_at_zero(spec, weight_variance):
    """1/phi'(0)², and He's 2/(1 + slope²) for rectifiers (He et al. 2015, eq. 15)."""
    point = critical(ACTIVATIONS.make(spec))
    assert point.weight_variance == pytest.approx(weight_variance, rel=1e-14)
    linear_in_q = spec in ("relu", "identity") or spec.startswith("leaky_relu")
    assert (point.q, point.attracting, point.every_q) == (0, not linear_in_q, linear_in_q)


def test_sin_with_bias_equals_its_closed_form():
    """E[sin²] / E[cos²] = tanh(q), so q* - tanh(q*) = sigma_b² and sigma_w² = 2 / (1 + exp(-2 q*))."""
    for bias_variance in (1e-3, 0.05, 1.0, 20.0):
        q = brentq(lambda q, b: q - math.tanh(q) - b, 1e-9, 100, args=(bias_variance,), xtol=1e-15)
        point = critical(ACTIVATIONS.make("sin"), bias_variance)
        assert point.q == pytest.approx(q, rel=1e-9)
        assert point.weight_variance == pytest.approx(2 / (1 + math.exp(-2 * q)), rel=1e-9)


def test_erf_with_bias_equals_its_closed_form():
    """The arcsine kernel at c = 1 and its derivative."""

    def excess(q, bias_variance):
        return math.asin(2 * q / (1 + 2 * q)) * math.sqrt(1 + 4 * q) / 2 + bias_variance - q

    for bias_variance in (1e-3, 0.05, 1.0):
        q = brentq(excess, 1e-6, 1e3, args=(bias_variance,), xtol=1e-15)
        point = critical(ACTIVATIONS.make("erf"), bias_variance)
        assert point.q == pytest.approx(q, rel=1e-9)
        assert point.weight_variance == pytest.approx(math.pi / 4 * math.sqrt(1 + 4 * q), rel=1e-9)


@pytest.mark.parametrize(("name", "slope"), [("gelu", 0.5), ("silu", 0.5), ("mish", 0.6)])
def test_smooth_rectifiers_repel_near_zero_bias(name, slope):
    at_zero = critical(ACTIVATIONS.make(name))
    assert (at_zero.q, at_zero.attracting) == (0, False)
    assert at_zero.weight_variance == pytest.approx(1 / slope**2, rel=1e-12)
    assert not critical(ACTIVATIONS.make(name), 0.01).attracting


def test_an_attracting_point_is_preferred():
    """GELU at bias variance 1 has two critical points; the one that holds E[z²] is returned."""
    gelu = ACTIVATIONS.make("gelu")
    point = critical(gelu, 1.0)
    grid = np.logspace(-3, 4, 71)
    excess = np.array([dense_ratio(gelu, q) + 1.0 - q for q in grid])
    roots = np.flatnonzero(excess[1:] * excess[:-1] < 0)
    assert point.attracting
    assert any(grid[i] < point.q < grid[i + 1] for i in roots)


@pytest.mark.parametrize(
    ("spec", "bias_variance", "why"),
    [("softplus", 0, GROWS), ("softplus", 0.05, GROWS), ("relu", 0.05, GROWS_WITH_BIAS),
     ("identity", 0.5, GROWS_WITH_BIAS), ("leaky_relu(slope=0.2)", 0.05, GROWS_WITH_BIAS)],
)  # fmt: skip
def test_where_there_is_none_the_reason_is_told(spec, bias_variance, why):
    with pytest.raises(UsageError) as caught:
        critical(ACTIVATIONS.make(spec), bias_variance)
    assert str(caught.value) == f"{spec} has no critical weight variance at bias variance {bias_variance:g}: {why}"


@pytest.mark.parametrize("bias_variance", [0.0, 0.5])
def test_a_function_of_steps_has_none_and_no_warning(bias_variance, recwarn):
    steps = Activation(lambda z: z.sign() + 0 * z, kinks=(0.0,), flat=True, spec="steps")
    with pytest.raises(UsageError, match=r"phi' is 0 wherever there is one, and so is chi_1 at any weight variance"):
        critical(steps, bias_variance)
    assert not recwarn.list


def test_a_function_that_is_flat_at_zero_has_no_point_there():
    """A dead zone: phi'(0) = 0, so no weight variance gives chi_1 = 1 at q = 0."""
    dead = Activation(lambda z: z - z.clamp(-1, 1), kinks=(-1.0, 1.0), flat=True, spec="dead_zone")
    point = point_or_none(dead, 0.0)
    assert point is None or point.q > 0


def test_a_point_that_cannot_be_integrated_is_not_said_to_be_none():
    """relu(z - 1/2): with t = 1/(2 sqrt q), q = q (1 + t² - t p(t)/P(-t)) + sigma_b² has a root always."""
    shifted = Activation(lambda z: torch.relu(z - 0.5), kinks=(0.5,), flat=True, spec="shifted")

    def excess(q, bias):
        t = 0.5 / q**0.5
        return q * (t * np.exp(norm.logpdf(t) - norm.logsf(t)) - t**2) - bias

    q = brentq(excess, 1e-3, 1, args=(0.05,), xtol=1e-14)
    assert critical(shifted, 0.05).q == pytest.approx(q, rel=1e-6)
    assert brentq(excess, 1e-6, 1e-3, args=(1e-4,)) == pytest.approx(1e-4, rel=0.01)
    with pytest.raises(UsageError, match=r"it would be where .* is near 0.0001, and there phi' is so rarely other"):
        critical(shifted, 1e-4)
