"""The law of finite width: exact results of the literature, and networks simulated in plain numpy."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.special import binom, digamma, expit, polygamma
from scipy.stats import norm

from initbench import predict as predict_table
from initbench import propagate
from initbench.activations import ACTIVATIONS
from initbench.core.records import InputMoments, Network
from initbench.initializers import INITIALIZERS
from initbench.theory.finite_width import walked
from initbench.theory.laws import LAWS, predict
from initbench.theory.networks import Networks
from initbench.theory.residuals import residuals
from initbench.theory.response import SQUARE, Cosine, Local

TAPERED = (48, 40, 64, 25, 32)
FIXED = InputMoments(gaussian=False)
"""All inputs of one length."""


def rows_of(init, activation, widths, inputs=FIXED, bias=0.0, law="finite_width"):
    phi = ACTIVATIONS.make(activation)
    return predict(LAWS.make(law), phi, INITIALIZERS.make(init).promises(phi, Network(tuple(widths), bias)), inputs)


def column(rows, name):
    return np.array([row[name] for row in rows])


def relative_variance(rows, of):
    return (column(rows, f"{of}_sd") / column(rows, of)) ** 2


# --- exact ---------------------------------------------------------------------------------------------------------


def test_a_rectifiers_spread_is_the_product_of_one_plus_five_over_n():
    """Hanin & Rolnick 2018; E[z²] of a layer has its own units' 2/n in place of the last 5/n."""
    rows = rows_of("he_normal", "relu", TAPERED)
    widths = np.array(TAPERED[1:])
    products = np.cumprod(1 + 5 / widths)
    np.testing.assert_allclose(1 + relative_variance(rows, "a_second_moment"), products, rtol=1e-9)
    before = np.array([1.0, *products[:-1]])
    np.testing.assert_allclose(1 + relative_variance(rows, "z_second_moment"), before * (1 + 2 / widths), rtol=1e-9)
    np.testing.assert_allclose(column(rows, "a_second_moment"), 1, rtol=1e-9)
    # backward the same product, from the last layer to the first, and the mean is mean field's, where a signal arrives
    backward, arrived = np.cumprod((1 + 5 / widths)[::-1])[::-1], np.cumprod([1, *(1 - 0.5 ** widths[:-1])])
    gradients = relative_variance(rows, "grad_z_second_moment")
    np.testing.assert_allclose(1 + gradients, backward / arrived, rtol=1e-9)
    infinite = column(rows_of("he_normal", "relu", TAPERED, law="mean_field"), "grad_z_second_moment")
    np.testing.assert_allclose(column(rows, "grad_z_second_moment"), infinite * arrived, rtol=1e-9)
    assert {row["note"] for row in rows} == {""}


def test_the_number_of_the_field():
    """He, ReLU, depth 20, width 256: one draw's E[a²] has a relative standard deviation of 0.69."""
    last = rows_of("he_normal", "relu", (256,) * 21)[-1]
    assert last["a_second_moment_sd"] / last["a_second_moment"] == pytest.approx(math.sqrt((1 + 5 / 256) ** 20 - 1))


@pytest.mark.parametrize(("slope", "kappa"), [(0.0, 5.0), (0.3, 3 * (1 + 0.3**4) / (1 + 0.3**2) ** 2 * 2 - 1)])
def test_leaky_rectifiers_by_their_fourth_moment(slope, kappa):
    """E[phi⁴]/E[phi²]² - 1 = 6 (1 + s⁴)/(1 + s²)² - 1, by hand."""
    init = f"variance_scaling(scale={2 / (1 + slope**2)!r})"
    rows = rows_of(init, f"leaky_relu(slope={slope})", (50,) * 5)
    np.testing.assert_allclose(1 + relative_variance(rows, "a_second_moment"), (1 + kappa / 50) ** np.arange(1, 5))


def test_a_linear_network_is_a_product_of_chi_squares():
    rows = rows_of("lecun_normal", "identity", TAPERED)
    products = np.cumprod(1 + 2 / np.array(TAPERED[1:]))
    np.testing.assert_allclose(1 + relative_variance(rows, "z_second_moment"), products, rtol=1e-9)
    np.testing.assert_allclose(column(rows, "z_second_moment"), 1, rtol=1e-12)


def test_an_orthogonal_linear_network_of_one_width_has_no_spread():
    rows = rows_of("orthogonal", "identity", (40,) * 6)
    np.testing.assert_allclose(relative_variance(rows, "z_second_moment"), 0, atol=1e-12)
    narrowing = rows_of("orthogonal", "identity", (40, 10))  # a beta variable: 2 (n - m)/(m (n + 2)) to first order
    assert relative_variance(narrowing, "z_second_moment")[0] == pytest.approx(2 * 30 / (10 * 40), rel=1e-9)


def test_log_moments_of_a_rectifier_by_sums_over_binomials_of_chi_squares():
    """Of n units N ~ Binomial(n, 1/2) are on: a layer's factor is (2/n) chi-square with N degrees of freedom."""
    for n in (64, 256):
        counts = np.arange(1, n + 1)
        weight = binom(n, counts) / (2.0**n - 1)
        mean = weight @ (digamma(counts / 2) + math.log(4 / n))
        variance = weight @ (polygamma(1, counts / 2) + (digamma(counts / 2) + math.log(4 / n)) ** 2) - mean**2
        phi = ACTIVATIONS.make("relu")
        widths = Network((n,) * 9)
        walk = walked(Networks.of([(phi, INITIALIZERS.make("he_normal").promises(phi, widths))]), FIXED)
        assert walk.layers[-1].a.spread[0] / 8 == pytest.approx(variance, rel=7 / n)  # first order in 1/n
        assert walk.layers[-1].a.mean / 8 == pytest.approx(mean, rel=5 / n)


def enumerated(widths):
    """E of each layer's squared gradient over all signs of the weights, and what it is where no signal is needed.

    The weights' sizes are fixed, so that a unit is on with exactly half of its signs. `layers`, sums over units and
    over the outputs whose gradient it is.
    """
    rng = np.random.default_rng(5)
    sizes = [rng.uniform(0.5, 1.5, (n_out, n_in)) for n_in, n_out in pairwise(widths)]
    count = sum(size.size for size in sizes)
    signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    parts = np.split(signs, np.cumsum([size.size for size in sizes])[:-1], axis=1)
    weights = [part.reshape(-1, *size.shape) * size for part, size in zip(parts, sizes, strict=True)]
    a, zs = np.broadcast_to(rng.uniform(0.5, 1.5, widths[0]), (2**count, widths[0])), []
    for weight in weights:
        zs.append(np.einsum("moi,mi->mo", weight, a))
        a = np.maximum(zs[-1], 0)
    gradient, free = (zs[-1] > 0)[:, None] * np.eye(widths[-1]), np.full(widths[-1], 0.5)
    found = [((gradient**2).sum(axis=1).mean(axis=0).sum(), free.sum())]
    for weight, size, z in zip(weights[:0:-1], sizes[:0:-1], zs[-2::-1], strict=True):
        gradient, free = gradient @ weight * (z > 0)[:, None], free @ size**2 / 2
        found.append(((gradient**2).sum(axis=1).mean(axis=0).sum(), free.sum()))
    return np.array(found[::-1]).T


@pytest.mark.parametrize("widths", [(2, 1, 1, 1, 1), (2, 2, 2, 2), (2, 1, 3, 2), (2, 3, 3), (1, 8, 1, 1)])
def test_gradients_know_the_chance_that_a_layer_of_rectifiers_is_off(widths):
    """By enumeration of all signs; of a layer's gradients the chance that a layer before, of n units, is off: 2^-n."""
    found, free = enumerated(widths)
    rows, infinite = (rows_of("he_normal", "relu", widths, law=law) for law in ("finite_width", "mean_field"))
    told = column(rows, "grad_z_second_moment") / column(infinite, "grad_z_second_moment")
    np.testing.assert_allclose(told, found / free, rtol=1e-12)
    np.testing.assert_allclose(told, np.cumprod([1, *(1 - 0.5 ** np.array(widths[1:-1]))]), rtol=1e-12)
    at_a = column(rows, "grad_a_second_moment") / column(infinite, "grad_a_second_moment")
    np.testing.assert_allclose(at_a, [*told[1:], 1], rtol=1e-12)
    for activation, bias in (("relu", 1e-200), ("leaky_relu(slope=0.1)", 0.0)):  # a bias alone, or a leak, is a signal
        rows, infinite = (rows_of("he_normal", activation, widths, bias=bias, law=law)
                          for law in ("finite_width", "mean_field"))  # fmt: skip
        for name in ("grad_z_second_moment", "grad_a_second_moment"):
            np.testing.assert_allclose(column(rows, name), column(infinite, name), rtol=1e-12)


@pytest.mark.parametrize("width", [1, 2, 3, 6])
def test_gradients_of_few_rectifiers_by_simulation(width):
    networks = 100_000
    found = simulated("he_normal", "relu", (width,) * 4, networks, 17)[1][:, 1:]
    rows = rows_of("he_normal", "relu", (width,) * 4)
    error = found.std(axis=0) / math.sqrt(networks)
    assert (np.abs(found.mean(axis=0) - column(rows, "grad_z_second_moment")[1:]) < 4 * error).all()
    last = column(rows, "grad_z_second_moment_sd")[-1]
    square = (found[:, -1] - found[:, -1].mean()) ** 2
    assert abs(square.mean() - last**2) < 4 * square.std() / math.sqrt(networks)


def test_one_uniform_weight_a_layer_leaves_a_spread():
    """z² is a product of squared uniform numbers: E[w⁴] / E[w²]² is 9/5 each."""
    rows = rows_of("lecun_uniform", "identity", (1,) * 5)
    np.testing.assert_allclose(relative_variance(rows, "z_second_moment"), 1.8 ** np.arange(1, 5) - 1, rtol=1e-9)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_few_uniform_weights_leave_a_gradient_a_spread(width):
    """To first order a sum of so few has less excess kurtosis than -2, and a negative variance."""
    found = simulated("he_uniform", "relu", (width,) * 5, 20_000, 3)[1].std(axis=0)
    told = column(rows_of("he_uniform", "relu", (width,) * 5), "grad_z_second_moment_sd")
    assert (told > found / 3).all()
    assert (told < found * 1.2).all()


# --- the parts, by another route -------------------------------------------------------------------------------------


def density(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("name", ["tanh", "relu", "silu", "hardtanh", "sigmoid"])
def test_responses_are_the_derivatives_of_the_averages(name):
    phi, q = ACTIVATIONS.make(name), 1.7

    def average(level, power=2):
        cuts = sorted({kink / math.sqrt(level) for kink in phi.kinks} | {-10.0, 10.0})
        value = lambda x: float(phi.value(np.array([math.sqrt(level) * x]))[0]) ** power * density(x)  # noqa: E731
        return sum(quad(value, low, high, epsabs=1e-13, epsrel=1e-13, limit=200)[0] for low, high in pairwise(cuts))

    response, step = Local(phi, np.array(q)).passed, 1e-2
    low, middle, high = (average(q * (1 + way * step)) for way in (-1, 0, 1))
    assert response.value == pytest.approx(middle, rel=1e-9)
    assert response.first == pytest.approx((high - low) / (2 * step), rel=1e-3)
    assert response.second == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.8])
def test_covariances_by_mehlers_formula_and_by_two_dimensional_quadrature(cosine):
    phi, q = ACTIVATIONS.make("silu"), 0.9
    local = Local(phi, np.array(q))
    square = lambda z: float(phi.value(np.array([z]))[0]) ** 2  # noqa: E731

    def integrand(y, x):
        u, v = math.sqrt(q) * x, math.sqrt(q) * (cosine * x + math.sqrt(1 - cosine**2) * y)
        return square(u) * square(v) * density(x) * density(y)

    product = dblquad(integrand, -7, 7, -7, 7, epsabs=1e-8)[0]
    expected = product - float(local.passed.value) ** 2
    given = Cosine(np.array(cosine), np.array(0.0))
    assert local.covariance(SQUARE, SQUARE, given) == pytest.approx(expected, abs=1e-7)


# --- networks simulated in plain numpy -------------------------------------------------------------------------------

VALUES = {"relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0)),
          "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
          "silu": (lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z)))}  # fmt: skip
SPARSE, SPARSER = "sparse(0.75, std=0.35)", "sparse(0.95, std=0.79)"
DRAWS = {"he_normal": lambda rng, shape, n: rng.normal(0, math.sqrt(2 / n), shape),
         "he_uniform": lambda rng, shape, n: rng.uniform(-math.sqrt(6 / n), math.sqrt(6 / n), shape),
         SPARSE: lambda rng, shape, n: rng.normal(0, 0.35, shape) * (rng.random(shape) < 0.25),
         SPARSER: lambda rng, shape, n: rng.normal(0, 0.79, shape) * (rng.random(shape) < 0.05)}  # fmt: skip


def simulated(init, activation, widths, networks, seed, one_length=True):
    """Second moments of z and dL/dz, `networks layers`: an input a network, |x|² = n or Gaussian, and its own draw."""
    rng, (value, slope) = np.random.default_rng(seed), VALUES[activation]
    x = rng.normal(size=(networks, widths[0]))
    a = x / np.sqrt((x**2).mean(axis=1, keepdims=True)) if one_length else x
    weights, zs = [], []
    for n_in, n_out in pairwise(widths):
        weights.append(DRAWS[init](rng, (networks, n_out, n_in), n_in))
        zs.append(np.einsum("moi,mi->mo", weights[-1], a))
        a = value(zs[-1])
    gradient = rng.normal(size=a.shape)
    found = [(zs[-1], gradient * slope(zs[-1]))]
    for weight, z in zip(weights[:0:-1], zs[-2::-1], strict=True):
        found.append((z, np.einsum("moi,mo->mi", weight, found[-1][1]) * slope(z)))
    return tuple(np.stack([(pair[which] ** 2).mean(axis=1) for pair in found[::-1]], axis=1) for which in (0, 1))


@pytest.mark.parametrize(
    ("init", "activation", "width", "depth", "networks"),
    [("he_normal", "relu", 32, 8, 4000), ("he_uniform", "relu", 32, 8, 4000), ("he_normal", "tanh", 32, 8, 4000),
     ("he_normal", "silu", 128, 8, 1200), (SPARSE, "tanh", 96, 5, 1500),
     ("he_normal", "tanh", 256, 6, 600), ("he_normal", "relu", 1024, 3, 60)],
)  # fmt: skip
def test_mean_and_spread_of_simulated_networks(init, activation, width, depth, networks):
    """In standard errors of the simulation, beside what first order leaves: the square of its own correction."""
    squares = simulated(init, activation, (width,) * (depth + 1), networks, 7)
    rows = rows_of(init, activation, (width,) * (depth + 1))
    infinite = rows_of(init, activation, (width,) * (depth + 1), law="mean_field")
    for found, name in zip(squares, ("z_second_moment", "grad_z_second_moment"), strict=True):
        expected, spread = column(rows, name), column(rows, f"{name}_sd") / column(rows, name)
        mean = found.mean(axis=0)
        error = found.std(axis=0, ddof=1) / math.sqrt(networks)
        first_order = np.log(expected / column(infinite, name))
        allowed = 4 * error / mean + 3 * first_order**2 + 2 / width**2
        assert (np.abs(np.log(mean / expected)) < allowed).all()
        logs = np.log(found)
        of_log = logs.std(axis=0, ddof=1)
        kurtosis = ((logs - logs.mean(axis=0)) ** 4).mean(axis=0) / of_log**4
        of_error = np.sqrt((kurtosis - 1) / (4 * networks))
        law = np.sqrt(np.log1p(spread**2))
        assert (np.abs(np.log(of_log / law)) < 4 * of_error + 6 / width + np.abs(first_order)).all()


@pytest.mark.parametrize("init", ["he_normal", "he_uniform"])
def test_gaussian_inputs_have_lengths_and_gradients_know_single_weights(init):
    """Both are of first order in 1/n, and told by 3.5 errors: without one of them the first layer's gradient is missed.

    Uniform weights have excess kurtosis -6/5: of what a Gaussian weight tells of its own gradient they tell 2/5.
    """
    widths, networks = (32,) * 4, 60_000
    found = simulated(init, "tanh", widths, networks, 13, one_length=False)
    rows = rows_of(init, "tanh", widths, InputMoments())
    infinite = rows_of(init, "tanh", widths, law="mean_field")
    for squares, name in zip(found, ("z_second_moment", "grad_z_second_moment"), strict=True):
        mean, error = squares.mean(axis=0), squares.std(axis=0) / math.sqrt(networks)
        correction = column(rows, name) / column(infinite, name) - 1
        assert (np.abs(mean - column(rows, name)) < 4 * error + 2 * mean * correction**2).all()
    other = "he_uniform" if init == "he_normal" else "he_normal"
    for wrong in (rows_of(init, "tanh", widths), rows_of(other, "tanh", widths, InputMoments())):
        assert abs(wrong[0]["grad_z_second_moment"] - mean[0]) > 3.5 * error[0]


def test_the_variance_of_activations_is_about_the_batchs_own_mean():
    """What units share moves the mean of a network: sigmoid's, of which most is one number for all inputs."""
    options = {"init": "normal(std=0.5)", "activation": "sigmoid", "width": 16, "depth": 2, "batch": 4}
    measured = propagate(**options, seeds=4000).groupby("layer").a_variance
    told = predict_table(**options, laws="finite_width").a_variance.to_numpy()
    infinite = predict_table(**options, laws="mean_field").a_variance.to_numpy()
    error = measured.sem().to_numpy()
    assert (np.abs(told - measured.mean()) < 4 * error + 2 * (told - infinite) ** 2 / infinite).all()
    assert (np.abs(infinite - measured.mean()) > 10 * error).all()


def test_the_fourth_moment_of_the_weights_shifts_a_saturating_layer():
    """Sparse weights have excess kurtosis 9: z is heavy-tailed, and tanh passes less of it; told by 5 errors."""
    widths, networks = (32, 32, 32), 40_000
    square = simulated(SPARSE, "tanh", widths, networks, 3)[0][:, 1]
    rows = rows_of(SPARSE, "tanh", widths)
    gaussian = rows_of(f"normal(std={0.35 * 0.5!r})", "tanh", widths)
    error = square.std() / math.sqrt(networks)
    heavy, plain = rows[1]["z_second_moment"], gaussian[1]["z_second_moment"]
    assert abs(plain - square.mean()) > 5 * error
    assert abs(heavy - square.mean()) < 0.3 * abs(plain - square.mean())


def test_where_a_few_large_weights_decide_the_spread_is_doubted_and_no_residual_told():
    """Of 64 weights 3 are not 0, and E[z⁴] is 3 times a Gaussian's from the second layer on."""
    told = {}
    for width, networks in ((64, 2000), (256, 250)):
        widths = (width,) * 5
        squares = simulated(SPARSER, "relu", widths, networks, 19)
        rows = rows_of(SPARSER, "relu", widths)
        logs = np.log(np.where(squares[0] > 0, squares[0], np.nan))
        law = np.sqrt(np.log1p(relative_variance(rows, "z_second_moment")))
        phi = ACTIVATIONS.make("relu")
        found = residuals(phi, INITIALIZERS.make(SPARSER).promises(phi, Network(widths)), FIXED, *squares)
        doubted = [row["note"].startswith("a few large weights decide") for row in rows]
        told[width] = (np.nanstd(logs, axis=0) / law)[-1], doubted, np.isfinite(found.forward).any(axis=0).tolist()
        assert np.isfinite(found.backward).any(axis=0).tolist() == told[width][2]
    assert told[64][0] > 1.3
    assert told[64][1:] == ([True] * 4, [False] * 4)
    assert told[256][0] < 1.2
    assert told[256][1:] == ([False] * 4, [True] * 4)


def test_what_first_order_does_not_follow_is_not_said_to_be_beyond_float64():
    rows = rows_of("he_normal", "relu", (8,) * 4, InputMoments((1e-300,)))
    told = "E[z²] is beyond what first order follows, 1e-140 to 1e+140: z_second_moment, "
    assert all(row["note"].startswith(told) for row in rows)
    assert all(math.isnan(row["z_second_moment"]) for row in rows)


# --- residuals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_residuals_of_simulated_networks_are_standard_normal(activation):
    width, depth, networks = 128, 6, 400
    phi = ACTIVATIONS.make(activation)
    promises = INITIALIZERS.make("he_normal").promises(phi, Network((width,) * (depth + 1)))
    fixed = InputMoments((1.0,), gaussian=False)  # all of one length
    found = residuals(phi, promises, fixed, *simulated("he_normal", activation, (width,) * (depth + 1), networks, 11))
    for values in (found.forward, found.backward):
        assert (np.abs(values.mean(axis=0)) < 4 / math.sqrt(networks)).all()
        assert (np.abs(values.std(axis=0) - 1) < 4 / math.sqrt(2 * networks) + 0.03).all()
        correlation = np.corrcoef(values.T)[np.triu_indices(depth, 1)]
        assert (np.abs(correlation) < 4.5 / math.sqrt(networks)).all()


@pytest.mark.parametrize("width", [12, 16])
def test_residuals_of_a_few_rectifiers_have_the_tails_of_a_normal(width):
    """Of their logarithms 2 to 5 % would be below the first thousandth, of their cube roots 0.3 %."""
    networks, widths = 20_000, (width,) * 4
    phi = ACTIVATIONS.make("relu")
    promises = INITIALIZERS.make("he_normal").promises(phi, Network(widths))
    found = residuals(phi, promises, FIXED, *simulated("he_normal", "relu", widths, networks, 23))
    for values in (found.forward, found.backward):
        known = values[np.isfinite(values)]
        assert len(known) > 0.95 * values.size  # but for networks of which a layer is all off
        error = len(known) ** -0.5
        assert abs(known.std() - 1) < 0.02
        assert abs((known**3).mean()) < 0.08 + 4 * 15**0.5 * error
        for tail in (1e-3, 1e-2):
            for side in (-1, 1):
                beyond = (side * known > norm.isf(tail)).mean()
                assert tail / 2 < beyond < 1.5 * tail + 4 * tail**0.5 * error


@pytest.mark.parametrize("width", [16, 32])
def test_in_deep_narrow_networks_two_inputs_gradients_stay_within_a_cosine(width):
    """First order alone says that E[cos²] is 10^80: then no gradient was held against theory."""
    widths, networks = (width,) * 41, 300
    rng, masks, weights = np.random.default_rng(29), [], []
    a = rng.normal(size=(networks, 2, width))
    for _ in range(40):
        weights.append(rng.normal(0, math.sqrt(2 / width), (networks, width, width)))
        z = np.einsum("moi,mbi->mbo", weights[-1], a)
        masks.append(z > 0)
        a = np.maximum(z, 0)
    gradient, measured = rng.normal(size=a.shape), []
    for weight, mask in zip(weights[::-1], masks[::-1], strict=True):
        gradient = gradient * mask
        (one, two), lengths = gradient.swapaxes(0, 1), (gradient**2).sum(axis=2).prod(axis=1)
        measured.append(np.nanmean((one * two).sum(axis=1) ** 2 / np.where(lengths > 0, lengths, np.nan)))
        gradient = np.einsum("moi,mbo->mbi", weight, gradient)
    phi = ACTIVATIONS.make("relu")
    promises = INITIALIZERS.make("he_normal").promises(phi, Network(widths))
    walk = walked(Networks.of([(phi, promises)]), InputMoments(batch=2))
    told = np.array([gradient.between.item() for gradient in walk.gradients])
    assert (np.abs(np.log(told / measured[::-1])) < 0.5).all()
    square = np.ones((1, 40))
    assert np.isfinite(residuals(phi, promises, InputMoments(batch=1), square, square).backward).all()


def test_residuals_where_a_layer_has_no_spread_are_rounding_alone():
    """Orthogonal weights and a linear network: each layer keeps its mean square."""
    phi, square = ACTIVATIONS.make("identity"), np.ones((1, 3))
    promises = INITIALIZERS.make("orthogonal").promises(phi, Network((8,) * 4))
    found = residuals(phi, promises, FIXED, square, square)
    np.testing.assert_allclose(found.forward, 0, atol=1e-6)
    np.testing.assert_allclose(found.backward[:, :-1], 0, atol=1e-6)


def test_residuals_without_meaning_are_missing():
    phi = ACTIVATIONS.make("relu")
    z = np.array([[1.0, 0.0, np.nan]])
    promises = INITIALIZERS.make("he_normal").promises(phi, Network((8,) * 4))
    found = residuals(phi, promises, FIXED, z, z)
    assert np.isfinite(found.forward[0, 0])
    assert np.isnan(found.forward[0, 1:]).all()
    behind = residuals(phi, promises, FIXED, np.array([[1.0, np.nan, 1.0]]), np.ones((1, 3)))
    assert np.isnan(behind.forward[0, 2])  # given a layer of which nothing is known
    ones = INITIALIZERS.make("ones").promises(phi, Network((8,) * 4))
    assert np.isnan(residuals(phi, ones, FIXED, z, z).backward).all()
