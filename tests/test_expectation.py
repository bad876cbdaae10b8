"""Gaussian expectations of every activation, against mpmath at 30 digits and against a second route to each kernel.

The functions are written here once more, in mpmath, from their published formulas: nothing is shared with the code
under test. Kernels E[phi(u) phi(v)] have closed forms for some activations, Mehler's expansion in Hermite polynomials
for |c| < 1, and E[phi²] - E[(phi(u) - phi(v))²] / 2 for c near 1.
"""

import math
from dataclasses import dataclass
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import norm

from initbench.activations import ACTIVATIONS, Activation
from initbench.theory.expectation import expectation, gaussian_nodes, kernel
from initbench.theory.moments import GaussianMoments

MP = mpmath.mp.clone()
MP.dps = 30

NAMES = [entry.name for entry in ACTIVATIONS]
VARIANCES = (1e-3, 0.1, 1.0, 10.0, 100.0)
CORRELATIONS = (-0.9, 0.0, 0.3, 0.7, 0.99, 1 - 1e-6, 1 - 1e-12)
PROMISED = 1e-13
"""Of `expectation`, relative: a tenth of what it promises."""
PROMISED_KERNEL = 1e-8
"""What `kernel` promises, relative to E[phi²]."""


@dataclass(frozen=True)
class Truth:
    phi: object
    slope: object
    kinks: tuple = ()


def sigmoid(z):
    return 1 / (1 + MP.exp(-z))


def softplus(z):
    return MP.log1p(MP.exp(z)) if z < 0 else z + MP.log1p(MP.exp(-z))


def mish_slope(z):
    return MP.tanh(softplus(z)) + z * sigmoid(z) * MP.sech(softplus(z)) ** 2


def exponential(scale, alpha):
    """ELU and SELU."""
    return Truth(
        lambda z: scale * (z if z > 0 else alpha * MP.expm1(z)),
        lambda z: scale * (1 if z > 0 else alpha * MP.exp(z)),
        (0,),
    )


def leaky(slope):
    return Truth(lambda z: z if z > 0 else slope * z, lambda z: 1 if z > 0 else slope, (0,))


SELU_SCALE = MP.mpf("1.0507009873554804934193349852946")
SELU_ALPHA = MP.mpf("1.6732632423543772848170429916717")
TRUTHS = {
    "identity": Truth(lambda z: z, lambda _: 1),
    "sigmoid": Truth(sigmoid, lambda z: sigmoid(z) * sigmoid(-z)),
    "tanh": Truth(MP.tanh, lambda z: MP.sech(z) ** 2),
    "hardtanh": Truth(lambda z: min(max(z, -1), 1), lambda z: int(abs(z) < 1), (-1, 1)),
    "softsign": Truth(lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2, (0,)),
    "relu": leaky(0),
    "leaky_relu": leaky(MP.mpf("0.01")),
    "elu": exponential(1, 1),
    "selu": exponential(SELU_SCALE, SELU_ALPHA),
    "celu": exponential(1, 1),
    "gelu": Truth(lambda z: z * MP.ncdf(z), lambda z: MP.ncdf(z) + z * MP.npdf(z)),
    "silu": Truth(lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * sigmoid(-z))),
    "mish": Truth(lambda z: z * MP.tanh(softplus(z)), mish_slope),
    "softplus": Truth(softplus, sigmoid),
    "erf": Truth(MP.erf, lambda z: 2 / MP.sqrt(MP.pi) * MP.exp(-z * z)),
    "sin": Truth(MP.sin, MP.cos),
    "relu6": Truth(lambda z: min(max(z, 0), 6), lambda z: int(0 < z < 6), (0, 6)),
    "hardswish": Truth(
        lambda z: z * min(max(z + 3, 0), 6) / 6,
        lambda z: (2 * z + 3) / 6 if -3 < z < 3 else int(z > 3),
        (-3, 3),
    ),
}


def test_every_activation_has_a_truth():
    assert set(TRUTHS) == set(NAMES)


def true_moments(truth, q):
    """E[phi], E[phi²] and E[phi'²] by Gauss-Legendre in 30 digits, with mpmath's own error estimate checked."""
    deviation = MP.sqrt(MP.mpf(q))
    reach = 12 * deviation
    scales = [MP.mpf(2) ** k for k in range(-1, max(7, math.ceil(math.log2(reach))))]
    marks = {0, -reach, reach, *truth.kinks, *(s * m for s in (-1, 1) for m in (*scales, 3 * deviation, 6 * deviation))}

    @cache
    def at(z):
        return truth.phi(z), truth.slope(z), MP.exp(-z * z / (2 * q)) / (deviation * MP.sqrt(2 * MP.pi))

    def integral(integrand):
        value, error = MP.quad(
            lambda z: integrand(*at(z)), sorted(m for m in marks if abs(m) <= reach),
            method="gauss-legendre", error=True, maxdegree=6,
        )  # fmt: skip
        assert error < 1e-18
        return value

    return (
        integral(lambda phi, _, density: phi * density),
        integral(lambda phi, _, density: phi**2 * density),
        integral(lambda _, slope, density: slope**2 * density),
    )


@pytest.mark.parametrize("name", NAMES)
def test_moments_equal_mpmath(name):
    activation = ACTIVATIONS.make(name)
    moments = GaussianMoments(activation, integrate=True)
    q = np.array(VARIANCES)
    squares = expectation(lambda z: activation.value(z) ** 2, q, activation.kinks)
    for i, variance in enumerate(VARIANCES):
        mean, square, slope_square = (float(value) for value in true_moments(TRUTHS[name], variance))
        assert squares[i] == pytest.approx(square, rel=PROMISED)
        assert moments.second_moment(q)[i] == pytest.approx(square, rel=PROMISED)
        assert moments.slope_second_moment(q)[i] == pytest.approx(slope_square, rel=PROMISED)
        # the mean of an odd function is 0, so its error is measured against the root mean square
        assert moments.mean(q)[i] == pytest.approx(mean, rel=PROMISED, abs=1e-15 * math.sqrt(square))
        centred = square - mean**2
        cancelled = 4e-16 * square / centred  # in this line's own subtraction
        assert moments.variance(q)[i] == pytest.approx(centred, rel=PROMISED + cancelled)


@pytest.mark.parametrize("name", [name for name in NAMES if ACTIVATIONS.make(name).closed_form is None])
def test_moments_equal_mpmath_where_the_variance_is_extreme(name):
    """Of those that theory integrates."""
    activation = ACTIVATIONS.make(name)
    for variance in (1e-12, 1e6):
        mean, square, slope_square = (float(value) for value in true_moments(TRUTHS[name], variance))
        moments, q = GaussianMoments(activation), np.array(variance)
        assert float(moments.second_moment(q)) == pytest.approx(square, rel=PROMISED)
        assert float(moments.slope_second_moment(q)) == pytest.approx(slope_square, rel=PROMISED)
        assert float(moments.mean(q)) == pytest.approx(mean, rel=PROMISED, abs=1e-15 * math.sqrt(square))


def test_a_function_of_ones_own_needs_its_kinks_and_nothing_else():
    """|z - 0.3|: the folded normal's mean; a step at 0.5: the normal tail."""
    q = np.array(VARIANCES)
    s, k = np.sqrt(q), 0.3
    folded = s * np.sqrt(2 / np.pi) * np.exp(-(k**2) / (2 * q)) + k * (1 - 2 * norm.cdf(-k / s))
    own = GaussianMoments(Activation(lambda z: torch.abs(z - k), kinks=(k,)))
    np.testing.assert_allclose(own.mean(q), folded, rtol=PROMISED)
    np.testing.assert_allclose(own.second_moment(q), q + k**2, rtol=PROMISED)
    np.testing.assert_allclose(own.slope_second_moment(q), 1, rtol=PROMISED)
    tail = expectation(lambda z: (z > 0.5).astype(float), q, kinks=(0.5,))
    np.testing.assert_allclose(tail, norm.sf(0.5 / s), rtol=PROMISED, atol=1e-30)


def test_nodes_carry_one_rule_for_each_variance_and_mean():
    """Polynomials of a normal with any mean: E[1], E[z], E[z²], E[z⁴]."""
    q, mean = np.array([[1e-6], [1.0], [50.0]]), np.array([0.0, -2.0])
    z, w = gaussian_nodes(q, kinks=(0.7,), mean=mean)
    assert z.shape == w.shape == (3, 2, z.shape[-1])
    powers = {0: 1, 1: mean, 2: mean**2 + q, 4: mean**4 + 6 * mean**2 * q + 3 * q**2}
    for power, true in powers.items():
        found = (z**power * w).sum(axis=-1)
        np.testing.assert_allclose(found, np.broadcast_to(true, (3, 2)), rtol=PROMISED, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_variance_zero_is_the_value_at_zero(name):
    activation = ACTIVATIONS.make(name)
    at_zero = float(TRUTHS[name].phi(MP.mpf(0)))
    moments = GaussianMoments(activation, integrate=True)
    q = np.array([0.0, 1.0])
    assert moments.mean(q)[0] == pytest.approx(at_zero, rel=1e-15)
    assert moments.variance(q)[0] == 0
    assert moments.second_moment(q)[0] == pytest.approx(at_zero**2, rel=1e-15)
    for c in (-1.0, 0.0, 0.5, 1.0):
        assert kernel(activation.value, 0.0, c, activation.kinks) == pytest.approx(at_zero**2, rel=1e-14)


# --- kernels -----------------------------------------------------------------------------------------------------


def leaky_kernel(slope):
    """phi = slope·z + (1 - slope)·relu(z), with the arc-cosine kernel of Cho & Saul 2009 for the last."""

    def of(q, c):
        theta = MP.acos(c)
        relu = q / (2 * MP.pi) * (MP.sin(theta) + (MP.pi - theta) * MP.cos(theta))
        return slope**2 * q * c + slope * (1 - slope) * q * c + (1 - slope) ** 2 * relu

    return of


def clipped_kernel(low, high):
    """phi(u) times the mean of phi(v) given u, which the normal distribution tells, averaged over u."""

    def of(q, c):
        root, own = math.sqrt(q), math.sqrt(q * (1 - c) * (1 + c))

        def beyond(end, mean):
            """E[max(0, z - end)]."""
            far = np.clip((mean - end) / max(own, 1e-300), -40, 40)  # beyond, the density is 0
            return (mean - end) * ndtr(far) + own * np.exp(-(far**2) / 2) / math.sqrt(2 * math.pi)

        ends = np.array([low, high, -low, -high])[:, None]
        bends = (ends + own * np.linspace(-8, 8, 17)).ravel() / root
        x, weight = composite(np.clip([*np.linspace(-12, 12, 49), *bends], -12, 12), points=20)
        mean = float(c) * root * x
        given = low + beyond(low, mean) - beyond(high, mean)
        return (np.clip(root * x, low, high) * given * weight * np.exp(-(x**2) / 2)).sum() / math.sqrt(2 * math.pi)

    return of


PUBLISHED_KERNELS = {
    "identity": lambda q, c: q * c,
    "relu": leaky_kernel(0),
    "leaky_relu": leaky_kernel(MP.mpf("0.01")),
    "erf": lambda q, c: 2 / MP.pi * MP.asin(2 * q * c / (1 + 2 * q)),  # Williams 1998
    "sin": lambda q, c: (MP.exp(-q * (1 - c)) - MP.exp(-q * (1 + c))) / 2,
    "hardtanh": clipped_kernel(-1, 1),
    "relu6": clipped_kernel(0, 6),
}


def test_every_closed_form_is_held_against_a_published_one():
    assert {name for name in NAMES if ACTIVATIONS.make(name).closed_form is not None} <= set(PUBLISHED_KERNELS)


@pytest.mark.parametrize("name", PUBLISHED_KERNELS)
def test_kernels_equal_the_published_closed_forms(name):
    activation = ACTIVATIONS.make(name)
    integrated, closed = GaussianMoments(activation, integrate=True), GaussianMoments(activation)
    for q in VARIANCES:
        square = float(PUBLISHED_KERNELS[name](MP.mpf(q), MP.mpf(1)))
        for c in CORRELATIONS:
            true = float(PUBLISHED_KERNELS[name](MP.mpf(q), MP.mpf(c)))
            found = float(integrated.kernel(np.array(q), np.array(c)))
            assert found == pytest.approx(true, abs=PROMISED_KERNEL * square), (q, c)
            assert float(closed.kernel(np.array(q), np.array(c))) == pytest.approx(true, abs=1e-14 * square), (q, c)


def composite(cuts, points=16):
    """Gauss-Legendre on each panel between the cuts."""
    cuts = np.unique(cuts)
    x, w = np.polynomial.legendre.leggauss(points)
    half = np.diff(cuts)[:, None] / 2
    return (cuts[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()


def mehler(activation, q, correlations, terms=2800):
    """E[phi²] and sum_n c^n a_n², a_n = E[phi(sqrt(q) x) He_n(x)] / sqrt(n!): Mehler's formula."""
    deviation = math.sqrt(q)
    kinks = [kink / deviation for kink in activation.kinks if abs(kink) < 12 * deviation]
    near = [s * 2.0**k / deviation for s in (-1, 1) for k in range(-3, 7) if 2.0**k < 12 * deviation]
    x, w = composite([*np.linspace(-12, 12, 281), *kinks, *near])
    root = np.exp(-(x**2) / 4) / (2 * np.pi) ** 0.25
    phi = activation.value(deviation * x)
    weighted = phi * w * root
    before, now = np.zeros_like(x), root
    coefficients = np.empty(terms)
    for n in range(terms):
        coefficients[n] = weighted @ now
        before, now = now, (x * now - math.sqrt(n) * before) / math.sqrt(n + 1)
    powers = np.arange(terms)
    return float((phi**2 * w) @ root**2), {c: float((np.sign(c) ** powers * abs(c) ** powers) @ coefficients**2)
                                           for c in correlations}  # fmt: skip


def near_one(activation, q, c, square):
    """E[phi²] - E[(phi(s + d) - phi(s - d))²] / 2, with s and d independent: what is subtracted is of order 1 - c."""
    s_deviation, d_deviation = math.sqrt(q * (1 + c) / 2), math.sqrt(q * (1 - c) / 2)
    beside = [kink + d_deviation * step for kink in activation.kinks for step in np.linspace(-9, 9, 37)]
    marks = [sign * 2.0**k for sign in (-1, 1) for k in range(-3, 7)]
    reach = 12 * s_deviation
    cuts = np.array([*np.linspace(-reach, reach, 281), *beside, *marks, 0.0])
    s, w = composite(cuts[abs(cuts) <= reach])
    density = np.exp(-(s**2) / (2 * s_deviation**2)) / (s_deviation * math.sqrt(2 * math.pi))
    d, w_d = np.polynomial.hermite_e.hermegauss(30)
    d = d * d_deviation
    gap = activation.value(s[:, None] + d) - activation.value(s[:, None] - d)
    return square - float((gap**2 @ w_d / math.sqrt(2 * math.pi)) @ (w * density)) / 2


@pytest.mark.parametrize("name", NAMES)
def test_kernels_equal_a_second_route(name):
    activation = ACTIVATIONS.make(name)
    for q in (0.1, 1.0, 30.0):
        square, true = mehler(activation, q, [c for c in CORRELATIONS if c <= 0.99])
        true |= {c: near_one(activation, q, c, square) for c in CORRELATIONS if c > 0.99}
        found = kernel(activation.value, q, CORRELATIONS, activation.kinks)
        series = GaussianMoments(activation, integrate=True).kernel(np.array(q), np.array(CORRELATIONS))
        for at, c in enumerate(CORRELATIONS):
            assert found[at] == pytest.approx(true[c], abs=PROMISED_KERNEL * square), (q, c)
            assert series[at] == pytest.approx(true[c], abs=PROMISED_KERNEL * square), (q, c)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sin"])  # beyond q = 100 it turns too often
def test_kernels_by_series_and_by_quadrature_are_one_at_every_scale(name):
    """From levels that vanish to those that explode, where phi is all but straight: some pairs go each way."""
    activation = ACTIVATIONS.make(name)
    moments = GaussianMoments(activation, integrate=True)
    q, c = np.meshgrid(np.logspace(-8, 24, 9), [-0.99, -0.5, 0.0, 0.2, 0.8, 0.95, 1 - 1e-4, 1.0])
    gap = np.abs(moments.kernel(q, c) - kernel(activation.value, q, c, activation.kinks))
    assert (gap <= PROMISED_KERNEL * moments.second_moment(q)).all()


@pytest.mark.parametrize("name", NAMES)
def test_at_correlation_one_the_kernel_is_the_second_moment(name):
    activation = ACTIVATIONS.make(name)
    for q in VARIANCES:
        square = float(expectation(lambda z: activation.value(z) ** 2, q, activation.kinks))
        assert kernel(activation.value, q, 1.0, activation.kinks) == pytest.approx(square, rel=PROMISED)
        twin = float(expectation(lambda z: activation.value(z) * activation.value(-z), q, activation.kinks))
        assert kernel(activation.value, q, -1.0, activation.kinks) == pytest.approx(twin, rel=PROMISED)


def is_odd(activation):
    z = np.linspace(0, 10, 101)
    return np.allclose(activation.value(-z), -activation.value(z), rtol=1e-14, atol=0)


ODD = [name for name in NAMES if is_odd(ACTIVATIONS.make(name))]


def test_there_are_odd_activations():
    assert {"identity", "tanh", "hardtanh", "softsign", "erf", "sin"} <= set(ODD)


@pytest.mark.parametrize("name", ODD)
def test_the_kernel_of_an_odd_function_changes_sign_with_the_correlation(name):
    activation = ACTIVATIONS.make(name)
    for q in (0.1, 30.0):
        square = kernel(activation.value, q, 1.0, activation.kinks)
        assert kernel(activation.value, q, 0.0, activation.kinks) == pytest.approx(0, abs=1e-15 * square)
        for c in (0.3, 0.99, 1 - 1e-6, 1.0):
            positive, negative = (kernel(activation.value, q, s * c, activation.kinks) for s in (1, -1))
            assert positive > 0
            assert negative == pytest.approx(-positive, rel=1e-12)


def test_the_kernel_of_a_step_is_the_orthant_probability():
    """Degree 0 of Cho & Saul 2009: a jump in the function itself."""
    for c in CORRELATIONS:
        true = 0.25 + math.asin(c) / (2 * math.pi)
        found = kernel(lambda z: (z > 0).astype(float), 2.0, c, kinks=(0.0,))
        assert found == pytest.approx(true, abs=PROMISED_KERNEL), c
