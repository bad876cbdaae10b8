"""One lattice of nodes for all variances: against closed forms and quadratures that share nothing with it."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import eval_hermitenorm, factorial
from scipy.stats import norm

from initbench.activations import ACTIVATIONS
from initbench.theory import expectation
from initbench.theory.expectation import FINE
from initbench.theory.half_lines import LATTICES, LOUDEST, REACH, averages, fits, hermite
from initbench.theory.moments import GaussianMoments, integrated, kernels
from initbench.theory.response import SLOPE_SQUARE, SQUARE, Local
from initbench.theory.several import Several

Q = np.logspace(-12, 26, 77)
CLOSED = ["relu", "leaky_relu", "identity", "hardtanh", "relu6", "erf"]
OPEN = ["sigmoid", "tanh", "softsign", "elu", "selu", "gelu", "silu", "mish", "softplus", "hardswish"]


@pytest.mark.parametrize("name", CLOSED)
def test_moments_are_those_of_the_closed_form(name):
    """Two routes: what the lattice or panels sum, and what the formula says."""
    activation, form = ACTIVATIONS.make(name), ACTIVATIONS.make(name).closed_form
    mean, variance, slope, _ = (of[:, 0] for of in integrated(Several.of([activation] * len(Q)), Q[:, None]))
    np.testing.assert_allclose(slope, form.slope_second_moment(Q), rtol=1e-11)
    np.testing.assert_allclose(variance, form.variance(Q), rtol=1e-11)
    np.testing.assert_allclose(mean, form.mean(Q), rtol=1e-11, atol=1e-13 * np.sqrt(variance.max()))


@pytest.mark.parametrize("name", OPEN)
def test_moments_are_those_of_panels(name):
    """1e-12 where it is promised, and 1e-11 wherever a network gets."""
    activation = ACTIVATIONS.make(name)
    panels = GaussianMoments(activation, integrate=True)
    mean, variance, slope, _ = (of[:, 0] for of in integrated(Several.of([activation] * len(Q)), Q[:, None]))
    for rtol, at in ((1e-12, (Q >= 1e-3) & (Q <= 100)), (1e-11, Q > 0)):
        np.testing.assert_allclose(slope[at], panels.slope_second_moment(Q[at]), rtol=rtol)
        np.testing.assert_allclose((variance + mean**2)[at], panels.second_moment(Q[at]), rtol=rtol)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_moments_are_those_of_an_adaptive_integrator(name):
    """scipy's QUADPACK, which knows neither lattice nor panels."""
    activation = ACTIVATIONS.make(name)
    for q in (0.01, 1.0, 50.0):

        def squared(x, q):
            return activation.value(np.array([math.sqrt(q) * x]))[0] ** 2 * norm.pdf(x)

        found = sum(quad(squared, *side, args=(q,), epsabs=1e-14)[0] for side in ((-12, 0), (0, 12)))
        mean, variance, *_ = integrated(Several.of([activation]), np.array([[q]]))
        assert variance.item() + mean.item() ** 2 == pytest.approx(found, rel=1e-11)


def test_a_rule_tells_its_error():
    """cos(s x), whose average is exp(-s²/2): half the nodes are off by about the square root of what all are."""
    told = []
    for lattice in LATTICES.values():
        for s in (1.0, 4.0, 8.0, 16.0, 30.0):
            nodes = lattice.nodes(np.array([s**2]))
            average = np.vecdot(1 + np.cos(nodes.z), nodes.weight)
            error = abs(average[0] - 1 - math.exp(-(s**2) / 2))
            change = nodes.change(average, 1 + np.cos(nodes.z))[0]
            assert error <= max(change, 1e-14)
            if change < 1e-5:
                assert error < 1e-9
                told.append(error)
    assert len(told) >= 8


def test_what_is_not_settled_takes_more_nodes():
    taken = []

    def of(rows, nodes):
        taken.append((len(nodes.x), len(rows)))
        found = np.vecdot(np.cos(nodes.z), nodes.weight)
        return [found], nodes.change(1 + found, 1 + np.cos(nodes.z))

    (found,) = averages(of, np.array([900.0, 1.0, 100.0]), np.full((3, 1), np.inf), 1e-7, FINE)
    np.testing.assert_allclose(found, np.exp([-450.0, -0.5, -50.0]), atol=1e-12)
    assert taken[0] == (142, 3)
    assert [rows for _, rows in taken] == sorted((rows for _, rows in taken), reverse=True)
    assert taken[-1][0] > 142
    assert taken[-1][1] < 3


def test_rows_with_a_kink_within_reach_are_not_on_a_lattice():
    kinks = np.array([[0.0, np.inf], [3.0, np.inf], [3.0, np.inf], [0.0, np.inf]])
    small = (3 / (1.01 * REACH)) ** 2
    assert fits(np.array([1.0, 1.0, small, 2 * LOUDEST]), kinks).tolist() == [True, False, True, False]


def test_hermite_polynomials_are_scipys():
    x = np.linspace(-4, 4, 9)
    for k, mine in zip(range(30), hermite(x), strict=False):
        np.testing.assert_allclose(mine, eval_hermitenorm(k, x) / math.sqrt(factorial(k)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OPEN)
def test_kernels_are_those_of_two_dimensional_quadrature(name):
    """Series, straight pieces and quadrature, from small variances to loud ones and from c = -1 to nearly 1."""
    activation, random = ACTIVATIONS.make(name), np.random.default_rng(7)
    q = 10 ** random.uniform(-5, 7, 40)
    c = np.where(random.random(40) < 0.4, 1 - 10 ** random.uniform(-9, -1, 40), random.uniform(-1, 1, 40))
    fine = expectation.Rule(points=16, deviations=(0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.5), growth=2.0)
    exact = expectation.kernel(activation.value, q, c, activation.kinks, fine)
    found = kernels(Several.of([activation] * 40), q, c)
    size = expectation.expectation(lambda z: activation.value(z) ** 2, q, activation.kinks)
    np.testing.assert_allclose(found / size, exact / size, rtol=0, atol=3e-9)


@pytest.mark.parametrize("q", [0.3, 30.0, 512.0])
def test_finite_widths_averages_of_a_sine_are_exact(q):
    """E[sin²] = (1 - exp(-2q))/2 and E[cos²] = (1 + exp(-2q))/2, also where it turns dozens of times."""
    local = Local(ACTIVATIONS.make("sin"), np.array([q]))
    assert local.mean[0, SQUARE] == pytest.approx(-math.expm1(-2 * q) / 2, rel=1e-9)
    assert local.mean[0, SLOPE_SQUARE] == pytest.approx((1 + math.exp(-2 * q)) / 2, rel=1e-9)
