"""The moments of an activation: closed forms against quadrature, small variances, and what is called "the gain"."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from initbench.activations import ACTIVATIONS
from initbench.theory.critical import gains
from initbench.theory.moments import GaussianMoments, linearized

ENTRIES = list(ACTIVATIONS)
NAMES = [entry.name for entry in ENTRIES]
CLOSED = [name for name in NAMES if ACTIVATIONS.make(name).closed_form is not None]
VARIANCES = np.array([1e-8, 1e-3, 0.1, 1.0, 10.0, 100.0])


def one_sided_slopes(activation, h=1e-5):
    """phi'(0-) and phi'(0+) by second-order differences of phi: wrong by about 1e-10."""
    f = activation.value(np.array([-2 * h, -h, 0.0, h, 2 * h]))
    return (3 * f[2] - 4 * f[1] + f[0]) / (2 * h), (-3 * f[2] + 4 * f[3] - f[4]) / (2 * h)


def normal_expectation(function, kinks):
    """E[f(z)], z ~ N(0, 1), by adaptive quadrature between the kinks; wrong by less than 1e-12."""
    cuts = [-12.0, *sorted({0.0, *kinks}), 12.0]
    pieces = [
        quad(lambda z: float(function(np.array([z]))[0]) * math.exp(-z * z / 2), low, high, epsabs=1e-14, epsrel=1e-13)
        for low, high in pairwise(cuts)
    ]
    return sum(piece for piece, _ in pieces) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_equal_quadrature(name):
    activation = ACTIVATIONS.make(name)
    closed, integrated = GaussianMoments(activation), GaussianMoments(activation, integrate=True)
    q = VARIANCES
    root = np.sqrt(integrated.second_moment(q))
    np.testing.assert_allclose(closed.mean(q) / root, integrated.mean(q) / root, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(closed.variance(q), integrated.variance(q), rtol=1e-12)
    np.testing.assert_allclose(closed.slope_second_moment(q), integrated.slope_second_moment(q), rtol=1e-12)
    for c in (-1.0, -0.5, 0.0, 0.2, 0.9, 1.0):
        both = [moments.kernel(q, np.full_like(q, c)) / root**2 for moments in (closed, integrated)]
        np.testing.assert_allclose(*both, rtol=0, atol=1e-8)


@pytest.mark.parametrize("integrate", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_variance_is_never_negative_and_never_more_than_the_second_moment(name, integrate):
    moments = GaussianMoments(ACTIVATIONS.make(name), integrate)
    q = np.array([0.0, *np.logspace(-300, 6, 154)])
    variance = moments.variance(q)
    assert variance[0] == 0
    assert (variance[1:] > 0).all()
    assert (variance <= moments.second_moment(q)).all()


@pytest.mark.parametrize("name", NAMES)
def test_small_variances_keep_their_digits(name):
    """For q -> 0, Var[phi] = q (l² + r²)/2 - q (r - l)²/(2 pi) with the slopes at 0, whatever phi(0)."""
    activation = ACTIVATIONS.make(name)
    left, right = one_sided_slopes(activation)
    share = (left**2 + right**2) / 2 - (right - left) ** 2 / (2 * math.pi)
    q = np.array([1e-30, 1e-14])
    np.testing.assert_allclose(GaussianMoments(activation, integrate=True).variance(q), share * q, rtol=1e-6)


def test_the_small_variance_of_a_sigmoid_is_a_sixteenth():
    variance = GaussianMoments(ACTIVATIONS.make("sigmoid")).variance(np.array([1e-30, 1e-20, 1e-12]))
    np.testing.assert_allclose(variance * 16, [1e-30, 1e-20, 1e-12], rtol=1e-11)


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_the_variance_is_smooth_where_its_formula_changes(name):
    """q = 1e-10, where quadrature hands over to the first order: Var/q may move by its own curvature, of order q."""
    q = np.array([0.5e-10, 0.999e-10, 1.001e-10, 2e-10])
    share = GaussianMoments(ACTIVATIONS.make(name)).variance(q) / q
    np.testing.assert_allclose(share, share[0], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_expansion_at_zero_is_what_differences_say(name):
    activation = ACTIVATIONS.make(name)
    expansion = linearized(activation)
    assert (expansion.left, expansion.right) == pytest.approx(one_sided_slopes(activation), rel=1e-8, abs=1e-8)
    assert expansion.offset == activation.value(np.zeros(1))[0]


@pytest.mark.parametrize("name", NAMES)
def test_moment_and_backward_gains_keep_their_second_moments(name):
    activation = ACTIVATIONS.make(name)
    found = gains(activation)
    square = normal_expectation(lambda z: activation.value(z) ** 2, activation.kinks)
    slope_square = normal_expectation(lambda z: activation.slope(z) ** 2, activation.kinks)
    assert found.moment**2 * square == pytest.approx(1, rel=1e-11)
    assert found.backward**2 * slope_square == pytest.approx(1, rel=1e-11)


def torch_gain(entry):
    """What torch knows of this activation by any of its names, or None."""
    for name in (entry.name, *entry.aliases):
        try:
            return torch.nn.init.calculate_gain(name)
        except ValueError:
            continue
    return None


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_torch_gain_is_torchs_own_wherever_torch_has_one(entry):
    assert gains(entry.factory()).torch == torch_gain(entry)


def test_torch_gain_knows_the_slope():
    """torch's documentation: sqrt(2 / (1 + slope²))."""
    assert gains(ACTIVATIONS.make("leaky_relu(slope=0.2)")).torch == pytest.approx(math.sqrt(2 / 1.04), rel=1e-15)


def test_the_published_gains_of_tanh():
    found = gains(ACTIVATIONS.make("tanh"))
    assert found.torch == 5 / 3
    assert found.moment == pytest.approx(1.593, abs=5e-4)
    assert found.backward == pytest.approx(1.467, abs=5e-4)


def test_the_gains_of_a_rectifier_are_one():
    found = gains(ACTIVATIONS.make("relu"))
    assert (found.torch, found.moment, found.backward) == pytest.approx((math.sqrt(2),) * 3, rel=1e-15)
