"""The laws: closed forms of the literature, and Monte Carlo of real networks in standard errors."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.stats import chi2, norm

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.records import InputMoments, Network
from initbench.grid.variance_study import open_inputs, resolve
from initbench.initializers import INITIALIZERS
from initbench.theory.finite_width import FAR
from initbench.theory.laws import LAWS, predict, predicted
from initbench.theory.moments import GaussianMoments
from initbench.theory.rows import PREDICTED

LAW_NAMES = [entry.name for entry in LAWS]
NAMES = [entry.name for entry in ACTIVATIONS]
INFINITE = [name for name in LAW_NAMES if name != "finite_width"]
TAPERED = (30, 20, 45, 10)
ONE = InputMoments()
EXACT = 1e-12
INDEPENDENT = "this law assumes independent weights of mean 0"


def rows_of(law, init, activation, network, inputs=ONE):
    if isinstance(network, tuple):
        network = Network(network)
    activation = ACTIVATIONS.make(activation) if isinstance(activation, str) else activation
    promises = INITIALIZERS.make(init).promises(activation, network)
    return predict(LAWS.make(law), activation, promises, inputs)


def column(rows, name):
    return np.array([row[name] for row in rows])


def is_rectifier_below(name):
    """Whether He's half holds for it: slope 0 or linear below 0, linear above."""
    z = np.array([-7.0, -1.0, 1.0, 7.0])
    value = ACTIVATIONS.make(name).value(z)
    return np.isclose(value[0], 7 * value[1]) and np.allclose(value[2:], z[2:])


RECTIFIERS = [name for name in NAMES if is_rectifier_below(name)]


# --- what every law says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "tolerance"), [(0.5, 0.002), (2.0, 0.005), (5.0, 0.04)])
def test_of_data_the_cosine_is_the_mean_over_its_pairs(weights, tolerance):
    """E[sin u sin v] = exp(-(q + q')/2) sinh(c sqrt(q q')), summed over all pairs of the digits' own lengths."""
    study = resolve(init=["he_normal"], activation=["sin"], depth=2, batch=64, seeds=3, input="digits")
    inputs = open_inputs(study)
    features, exact = inputs.images.shape[1], []
    for seed in range(study.seeds):
        batch = inputs.batch(seed, study.batch, features).double().numpy()
        inner = weights * batch @ batch.T / features
        shared = np.exp(-(inner.diagonal()[:, None] + inner.diagonal()) / 2) * np.sinh(inner)
        length = np.sqrt(shared.diagonal())
        exact.append((shared / length[:, None] / length)[np.triu_indices(study.batch, 1)].mean())
    moments = inputs.moments(study.seeds, study.batch)
    init = f"normal(std={math.sqrt(weights / features)})"
    told = column(rows_of("mean_field", init, "sin", (features, features, 8), moments), "z_cosine")[1]
    assert told == pytest.approx(np.mean(exact), rel=tolerance)


@pytest.mark.parametrize("law", LAW_NAMES)
def test_every_law_is_glorots_where_the_network_is_linear(law):
    """Glorot & Bengio 2010, eqs. 5 and 6: products of n·Var(w), fan_in forward and fan_out backward."""
    for init, variance in [
        ("normal(std=0.3)", lambda n, m: 0.09),
        ("xavier_uniform", lambda n, m: 2 / (n + m)),
        ("he_fan_out_normal", lambda n, m: 2 / m),
        ("orthogonal", lambda n, m: 1 / max(n, m)),
    ]:
        fans = list(pairwise(TAPERED))
        rows = rows_of(law, init, "identity", TAPERED, InputMoments((0.7,), 0.25))
        forward = 0.7 * np.cumprod([n * variance(n, m) for n, m in fans])
        backward = np.cumprod([m * variance(n, m) for n, m in fans[:0:-1]])[::-1]
        np.testing.assert_allclose(column(rows, "z_second_moment"), forward, rtol=EXACT)
        np.testing.assert_allclose(column(rows, "a_second_moment"), forward, rtol=EXACT)
        np.testing.assert_allclose(column(rows, "grad_z_second_moment"), [*backward, 1], rtol=EXACT)
        np.testing.assert_allclose(column(rows, "grad_a_second_moment"), [*backward, 1], rtol=EXACT)
        np.testing.assert_allclose(column(rows, "chi")[:-1], [m * variance(n, m) for n, m in fans[1:]], rtol=EXACT)
        np.testing.assert_allclose(column(rows, "z_cosine"), 0.25, rtol=EXACT)
        np.testing.assert_allclose(column(rows, "a_mean"), 0, atol=1e-15)
        assert math.isnan(rows[-1]["chi"])
        assert {row["note"] for row in rows} == {""}


@pytest.mark.parametrize("law", LAW_NAMES)
@pytest.mark.parametrize("init", [entry.name for entry in INITIALIZERS if entry.default])
def test_rows_name_their_layer_and_repeat_the_promise(law, init):
    activation, network = ACTIVATIONS.make("tanh"), Network(TAPERED)
    promises = INITIALIZERS.make(init).promises(activation, network)
    rows = predict(LAWS.make(law), activation, promises, ONE)
    assert [(r["layer"], r["fan_in"], r["fan_out"]) for r in rows] == [(1, 30, 20), (2, 20, 45), (3, 45, 10)]
    assert [row["weight_variance"] for row in rows] == [promise.variance for promise in promises]
    assert all(set(PREDICTED) < set(row) for row in rows)


@pytest.mark.parametrize("activation", NAMES)
def test_no_law_reports_a_lost_value_as_zero_or_infinite(activation):
    """Layers that explode or vanish beyond float64."""
    flat = ACTIVATIONS.make(activation).flat
    for law in LAW_NAMES:
        for init in ("normal(std=1e80)", "normal(std=1e-100)"):
            rows = rows_of(law, init, activation, (512,) * 4)
            squares, gradients = column(rows, "z_second_moment"), column(rows, "grad_z_second_moment")
            assert not np.isinf([*squares, *gradients]).any()
            assert not (squares == 0).any()
            assert flat or not (gradients == 0).any()
            assert init == "normal(std=1e80)" or np.isnan([*squares, *gradients]).any()  # tanh of 1e80 is 1
            for row in rows:
                lost = [name for name in PREDICTED if math.isnan(row[name]) and name not in ("chi", "z_cosine")]
                why, _, names = row["note"].partition(": ")
                assert names == ", ".join(lost)
                assert why in ("beyond float64", FAR if law == "finite_width" else "") if lost else why == ""


def test_normal_at_depth_400_is_true_up_to_the_last_layer_that_float64_holds():
    """ReLU, width 512, N(0, 1): E[z²] = 512·256^(l-1) = 2^(9 + 8(l-1)), which passes 2^1024 at layer 128."""
    rows = rows_of("mean_field", "normal", "relu", (512,) * 401)
    squares = column(rows, "z_second_moment")
    held = 127
    np.testing.assert_allclose(squares[:held], 2.0 ** (9 + 8.0 * np.arange(127)), rtol=EXACT)
    assert np.isnan(squares[held:]).all()
    assert rows[-1]["note"] == "beyond float64: z_second_moment, a_mean, a_second_moment, a_variance"
    # a rectifier's chi = 256 does not ask for E[z²]: gradients are known until that at a, 2^(8k), passes 2^1024
    np.testing.assert_allclose(column(rows, "chi")[:-1], 256, rtol=EXACT)
    gradients = column(rows, "grad_z_second_moment")[::-1]
    np.testing.assert_allclose(gradients[:128], 2.0 ** (8.0 * np.arange(128) - 1), rtol=EXACT)
    assert np.isnan(gradients[128:]).all()
    assert rows[0]["note"] == "beyond float64: grad_z_second_moment, grad_a_second_moment"


@pytest.mark.parametrize("name", ["relu", "softplus", "tanh"])
def test_initializers_together_are_as_each_alone(name):
    """Beside neighbours that explode, vanish, know no randomness, or promise the same."""
    activation, network, inputs = ACTIVATIONS.make(name), Network(TAPERED, 0.1), InputMoments((0.5, 2.0), 0.3)
    inits = ["he_normal", "orthogonal", "normal(std=1e80)", "normal(std=1e-100)", "zeros", "ones", "he_uniform", "he"]
    several = [INITIALIZERS.make(init).promises(activation, network) for init in inits]
    pairings = [(activation, promises) for promises in several]
    laws = [LAWS.make(law) for law in LAW_NAMES]
    found = predicted(laws, pairings, inputs)
    for place, (init, promises) in enumerate(zip(inits, several, strict=True)):
        for number, law in enumerate(laws):
            together = {name: values[place, number] for name, values in found.items()}
            alone = predict(law, activation, promises, inputs)
            assert together["note"].tolist() == [row["note"] for row in alone]
            for column_name in set(together) - {"note"}:
                expected = column(alone, column_name)
                scale = np.nan_to_num(np.sqrt(column(alone, "a_second_moment"))) if column_name == "a_mean" else 0
                gap = np.abs(together[column_name] - expected)
                assert ((gap <= 1e-9 * np.abs(expected) + 1e-12 * scale) | np.isnan(expected)).all(), (init, law.spec)
                np.testing.assert_array_equal(np.isnan(together[column_name]), np.isnan(expected))


@pytest.mark.parametrize("law", INFINITE)
def test_several_input_second_moments_average(law):
    """Each sample goes its own way; over the whole batch the means' spread adds to the variance."""
    values = (0.3, 1.0, 4.0)
    for activation in ("tanh", "softplus", "relu"):
        together = rows_of(law, "xavier_normal", activation, Network(TAPERED, 0.1), InputMoments(values))
        each = [
            rows_of(law, "xavier_normal", activation, Network(TAPERED, 0.1), InputMoments((value,))) for value in values
        ]
        for name in set(PREDICTED) - {"a_variance", "z_cosine"}:
            averaged = np.mean([column(rows, name) for rows in each], axis=0)
            np.testing.assert_allclose(column(together, name), averaged, rtol=EXACT, atol=1e-15)
        spread = column(together, "a_second_moment") - column(together, "a_mean") ** 2
        np.testing.assert_allclose(column(together, "a_variance"), spread, rtol=1e-10)


# --- closed forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["rectifier", "first_order", "mean_field"])
def test_he_keeps_a_rectifier_at_two(law):
    rows = rows_of(law, "he_normal", "relu", (512,) * 21)
    np.testing.assert_allclose(column(rows, "z_second_moment"), 2, rtol=EXACT)
    np.testing.assert_allclose(column(rows, "a_second_moment"), 1, rtol=EXACT)
    np.testing.assert_allclose(column(rows, "a_mean"), 1 / math.sqrt(math.pi), rtol=EXACT)
    np.testing.assert_allclose(column(rows, "a_variance"), 1 - 1 / math.pi, rtol=EXACT)
    np.testing.assert_allclose(column(rows, "chi")[:-1], 1, rtol=EXACT)
    np.testing.assert_allclose(column(rows, "grad_z_second_moment"), 0.5, rtol=EXACT)
    np.testing.assert_allclose(column(rows, "grad_a_second_moment"), 1, rtol=EXACT)


@pytest.mark.parametrize("law", ["rectifier", "mean_field"])
def test_xavier_halves_a_rectifier_each_layer(law):
    rows = rows_of(law, "xavier", "relu", (512,) * 31)
    np.testing.assert_allclose(column(rows, "a_second_moment"), 0.5 ** np.arange(1, 31), rtol=EXACT)
    np.testing.assert_allclose(column(rows, "grad_z_second_moment"), 0.5 ** np.arange(30, 0, -1), rtol=EXACT)


@pytest.mark.parametrize("law", ["rectifier", "first_order", "mean_field"])
def test_a_leaky_rectifier_passes_half_of_one_plus_its_square(law):
    """He et al. 2015, eq. 15."""
    rows = rows_of(law, "normal(std=0.1)", "leaky_relu(slope=0.3)", (50,) * 6)
    gain = 50 * 0.01 * (1 + 0.09) / 2
    np.testing.assert_allclose(column(rows, "z_second_moment"), 0.5 * gain ** np.arange(5), rtol=EXACT)
    np.testing.assert_allclose(column(rows, "chi")[:-1], gain, rtol=EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_the_rectifiers_law_takes_everything_else_for_a_rectifier(name):
    rows = rows_of("rectifier", "he_normal", name, (40,) * 5)
    if name in RECTIFIERS:
        twin = rows_of("mean_field", "he_normal", name, (40,) * 5)
    else:
        twin = rows_of("mean_field", "he_normal", "relu", (40,) * 5)
    for key in PREDICTED:
        np.testing.assert_allclose(column(rows, key), column(twin, key), rtol=EXACT)


def test_torchs_default_stops_at_its_biases_floor():
    """Var(w) = Var(b) = 1/(3n): a factor 6 a layer, and q = q/6 + 1/(3n) has the solution 0.4/n."""
    n = 64
    rows = rows_of("mean_field", "torch_default", "relu", (n,) * 61)
    squares = column(rows, "z_second_moment")
    assert squares[-1] == pytest.approx(0.4 / n, rel=1e-10)
    distance = squares - 0.4 / n
    np.testing.assert_allclose(distance[1:10] / distance[:9], 1 / 6, rtol=1e-9)
    bare = rows_of("mean_field", "torch_default(bias=false)", "relu", (n,) * 61)
    np.testing.assert_allclose(column(bare, "z_second_moment"), 6.0 ** -np.arange(60) / 3, rtol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_kumars_fixed_point(name):
    """Kumar 2017: with Var(w) = 1/(n phi'(0)² (1 + phi(0)²)), inputs of E[x²] = 1 + phi(0)² give the same again.

    Then E[z²] = 1/phi'(0)² in each layer, and without a kink at 0 Var(a) = 1.
    """
    activation, h = ACTIVATIONS.make(name), 1e-5
    f = activation.value(np.array([-2 * h, -h, 0.0, h, 2 * h]))
    left, right = (3 * f[2] - 4 * f[1] + f[0]) / (2 * h), (-3 * f[2] + 4 * f[3] - f[4]) / (2 * h)
    slope_square, offset = (left**2 + right**2) / 2, f[2]
    rows = rows_of("first_order", "kumar", name, (100,) * 12, InputMoments((1 + offset**2,)))
    np.testing.assert_allclose(column(rows, "z_second_moment"), 1 / slope_square, rtol=1e-8)
    np.testing.assert_allclose(column(rows, "a_second_moment"), 1 + offset**2, rtol=1e-8)
    if abs(left - right) < 1e-6:
        np.testing.assert_allclose(column(rows, "a_variance"), 1, rtol=1e-8)
        np.testing.assert_allclose(column(rows, "a_mean"), offset, rtol=1e-15)


def test_kumars_sigmoid_attracts_and_its_gradient_still_vanishes():
    """phi(0) = 1/2, phi'(0) = 1/4: E[z²] -> 16, chi = 1/(1 + phi(0)²) = 0.8 to first order."""
    rows = rows_of("first_order", "kumar", "sigmoid", (100,) * 101)
    assert rows[-1]["z_second_moment"] == pytest.approx(16, rel=1e-8)
    np.testing.assert_allclose(column(rows, "chi")[:-1], 0.8, rtol=EXACT)


def test_cosines_of_a_rectifier_follow_the_arc_cosine_map():
    """Cho & Saul 2009: cos -> (sin t + (pi - t) cos t)/pi, t = arccos; the first layer keeps the input's cosine."""
    expected = [0.2]
    for _ in range(9):
        t = math.acos(expected[-1])
        expected.append((math.sin(t) + (math.pi - t) * math.cos(t)) / math.pi)
    rows = rows_of("mean_field", "he_normal", "relu", (100,) * 11, InputMoments((1.0,), 0.2))
    np.testing.assert_allclose(column(rows, "z_cosine"), expected, rtol=1e-11)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "sigmoid"])
def test_an_input_and_itself_stay_one_where_neighbours_are_torn_apart(activation):
    rows = rows_of("mean_field", "normal", activation, Network((64,) * 51), InputMoments((1.0,), 1.0))
    cosines = column(rows, "z_cosine")
    assert (cosines[np.isfinite(cosines)] == 1).all()


def test_cosines_of_erf_follow_the_arcsine_map():
    """Williams 1998, with the second moments that belong to it, and biases."""
    q, c = 1.5 * 1.0 + 0.2, (1.5 * -0.4 + 0.2) / (1.5 + 0.2)
    inputs = InputMoments((1.0,), -0.4)
    rows = rows_of("mean_field", "variance_scaling(scale=1.5)", "erf", Network((80,) * 8, 0.2), inputs)
    for row in rows:
        assert (row["z_second_moment"], row["z_cosine"]) == pytest.approx((q, c), rel=1e-11)
        square, product = (2 / math.pi * math.asin(2 * q * t / (1 + 2 * q)) for t in (1.0, c))
        q, c = 1.5 * square + 0.2, (1.5 * product + 0.2) / (1.5 * square + 0.2)


@pytest.mark.parametrize("law", LAW_NAMES)
def test_biases_add_their_variance_to_every_second_moment_and_product(law):
    """An own bias variance is used in place of the network's."""
    rows = rows_of(law, "lecun_normal", "identity", Network((40,) * 6, 0.3), InputMoments((2.0,), 0.1))
    steps = np.arange(1, 6)
    np.testing.assert_allclose(column(rows, "z_second_moment"), 2 + 0.3 * steps, rtol=EXACT)
    np.testing.assert_allclose(column(rows, "z_cosine"), (0.2 + 0.3 * steps) / (2 + 0.3 * steps), rtol=EXACT)
    own = rows_of(law, "torch_default", "identity", Network((40, 40), 0.3), InputMoments((2.0,), 0.1))
    assert own[0]["z_second_moment"] == pytest.approx(2 / 3 + 1 / 120, rel=EXACT)
    none = rows_of(law, "keras_default", "identity", Network((40, 40), 0.3), InputMoments((2.0,), 0.1))
    assert none[0]["z_second_moment"] == pytest.approx(2, rel=EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_layer_sees_the_inputs_own_moments(name):
    rows = rows_of("mean_field", "normal(std=0.2)", name, Network((25, 9, 9), 0.1), InputMoments((3.0,), 0.4))
    assert rows[0]["z_second_moment"] == pytest.approx(25 * 0.04 * 3 + 0.1, rel=EXACT)
    assert rows[0]["z_cosine"] == pytest.approx((25 * 0.04 * 3 * 0.4 + 0.1) / 3.1, rel=EXACT)


# --- weights without randomness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_zeros_show_the_value_and_the_slope_at_zero(name):
    activation = ACTIVATIONS.make(name)
    at_zero, slope = float(activation.value(np.zeros(1))[0]), float(activation.slope(np.zeros(1))[0])
    first, last = rows_of("mean_field", "zeros", name, (8, 6, 7))
    for row in (first, last):
        shown = [row[key] for key in ("z_second_moment", "a_mean", "a_second_moment", "a_variance")]
        assert shown == pytest.approx([0, at_zero, at_zero**2, 0], rel=EXACT)
        assert row["note"] == ""
    assert (first["grad_a_second_moment"], first["grad_z_second_moment"]) == (0, 0)
    assert (last["grad_a_second_moment"], last["grad_z_second_moment"]) == pytest.approx((1, slope**2), rel=EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_one_layer_of_equal_weights_is_one_normal_number(name):
    """z = w·sum(x) ~ N(0, w² n): all columns are the activation's own moments, whatever its kinks."""
    activation = ACTIVATIONS.make(name)
    for width, weight in ((300, 1.0), (100, -0.05)):
        (row,) = rows_of("mean_field", f"constant({weight})", name, (width, 7), InputMoments((1.5,)))
        q, moments = np.array(1.5 * width * weight**2), GaussianMoments(activation)
        assert row["z_second_moment"] == pytest.approx(float(q), rel=1e-11)
        assert row["a_mean"] == pytest.approx(float(moments.mean(q)), rel=1e-9, abs=1e-12 * float(q) ** 0.5)
        assert row["a_second_moment"] == pytest.approx(float(moments.second_moment(q)), rel=1e-9)
        assert row["a_variance"] == pytest.approx(float(moments.variance(q)), rel=1e-9)
        assert row["grad_z_second_moment"] == pytest.approx(float(moments.slope_second_moment(q)), rel=1e-9)


@pytest.mark.parametrize("width", [10, 64, 100])
def test_steep_kinked_maps_are_followed_exactly(width):
    """hardtanh, all weights 1, three layers: phi'(z_3) = 1 where |x| < 1/(n² sqrt n), and there gradients are n³·1."""
    rows = rows_of("mean_field", "ones", "hardtanh", (width,) * 4)
    edges = [1 / (width**k * width**0.5) for k in (0, 1, 2)]
    inside = [norm.cdf(edge) - norm.cdf(-edge) for edge in edges]
    assert rows[2]["grad_z_second_moment"] == pytest.approx(inside[2], rel=1e-10)
    assert rows[1]["grad_z_second_moment"] == pytest.approx(width * inside[2], rel=1e-10)
    assert rows[0]["grad_z_second_moment"] == pytest.approx(width**3 * inside[2], rel=1e-10)
    for row, edge, mass in zip(rows, edges, inside, strict=True):
        within = chi2(3).cdf(edge**2)  # E[x²; |x| < edge]
        assert row["a_second_moment"] == pytest.approx(within / edge**2 + 1 - mass, rel=1e-10)


def test_a_map_too_folded_to_integrate_is_missing_with_a_note():
    """sin, all weights 1: 64 sin(64 sin(8 x)) turns thousands of times; its average is not known to a sample."""
    rows = rows_of("mean_field", "ones", "sin", (64,) * 4)
    assert rows[0]["z_second_moment"] == pytest.approx(64, rel=1e-10)
    assert rows[0]["a_second_moment"] == pytest.approx((1 - math.exp(-128)) / 2, rel=1e-6)
    assert math.isnan(rows[2]["grad_z_second_moment"])
    assert rows[2]["note"] == (
        "too steep or too often folded to integrate: z_second_moment, a_second_moment, a_variance, grad_z_second_moment"
    )


def test_a_rectifier_that_is_dead_has_no_chi():
    """A negative weight: z_2 <= 0 for every input, the gradient is 0 at every layer, and 0/0 is not a number."""
    rows = rows_of("mean_field", "constant(-0.1)", "relu", (16,) * 4)
    np.testing.assert_array_equal(column(rows, "z_second_moment")[2:], 0)
    np.testing.assert_array_equal(column(rows, "grad_z_second_moment"), 0)
    assert np.isnan(column(rows, "chi")[1:]).all()


@lru_cache
def gaussian_batch(features, batch=5_000):
    return torch.randn(batch, features, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def simulated(activation, weights, x, seed=6):
    """Per-sample columns of a network with these weight matrices, gradients by autograd."""
    kept, a = [], x.requires_grad_()
    for weight in weights:
        z = a @ weight.t()
        a = activation.function(z)
        kept.append((z, a))
    projection = torch.randn(a.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tensors = [tensor for pair in kept for tensor in pair]
    gradients = torch.autograd.grad((a * projection).sum(), tensors)
    rows = []
    for number, (z, a) in enumerate(kept):
        grad_z, grad_a = gradients[2 * number : 2 * number + 2]
        samples = {"z_second_moment": z**2, "a_mean": a, "a_second_moment": a**2,
                   "grad_z_second_moment": grad_z**2, "grad_a_second_moment": grad_a**2}  # fmt: skip
        rows.append({name: tensor.detach().mean(dim=1).numpy() for name, tensor in samples.items()})
    return rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("init", ["constant(0.4)", "constant(-0.3)", "identity(gain=1.3)"])
def test_networks_without_randomness_equal_their_simulation(name, init):
    """The real matrices, 5 000 Gaussian inputs, within five standard errors over the inputs."""
    activation = ACTIVATIONS.make(name)
    widths = (4, 4, 4, 4) if init.startswith("identity") else (4, 6, 3, 5)
    value = {"constant(0.4)": 0.4, "constant(-0.3)": -0.3}.get(init)
    shapes = list(zip(widths[1:], widths, strict=False))
    weights = [torch.full(shape, value).double() if value else 1.3 * torch.eye(*shape).double() for shape in shapes]
    rows = rows_of("mean_field", init, name, widths)
    for row, samples in zip(rows, simulated(activation, weights, gaussian_batch(4).clone()), strict=True):
        for key, sample in samples.items():
            error = sample.std() / math.sqrt(len(sample))
            assert row[key] == pytest.approx(sample.mean(), abs=5 * error + 1e-12), (row["layer"], key)


@pytest.mark.parametrize("law", [entry.name for entry in LAWS if not LAWS.make(entry.name).exact])
@pytest.mark.parametrize("init", ["ones", "identity"])
def test_laws_of_random_weights_say_nothing_of_equal_ones(law, init):
    for row in rows_of(law, init, "tanh", (8, 8, 8)):
        assert all(math.isnan(row[name]) for name in PREDICTED)
        assert row["note"] == INDEPENDENT


@pytest.mark.parametrize(
    ("init", "network", "inputs", "note"),
    [
        ("ones", Network((8, 6)), InputMoments(gaussian=False),
         "weights without randomness: depends on each input, not on its moments alone"),
        ("ones", Network((8, 6), 0.1), ONE, "weights without randomness: not followed with random biases"),
        ("identity", Network((8, 6)), ONE, "an identity between layers of different width is not followed"),
    ],
)  # fmt: skip
def test_what_is_not_followed_is_told(init, network, inputs, note):
    (row,) = rows_of("mean_field", init, "tanh", network, inputs)
    assert row["note"] == note
    assert all(math.isnan(row[name]) for name in PREDICTED)


# --- real networks -------------------------------------------------------------------------------------------------

WIDTH, DEPTH, SEEDS, BATCH, COSINE = 1000, 3, 8, 4, 0.5


@lru_cache
def unit_draws(seed):
    """Standard normal weights and biases, and inputs of second moment 1 with pairwise cosine COSINE, both exactly."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((WIDTH, BATCH + 1)))[0].T * math.sqrt(WIDTH)
    x = math.sqrt(COSINE) * basis[0] + math.sqrt(1 - COSINE) * basis[1:]
    weights = [rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) for _ in range(DEPTH)]
    return x.astype(np.float32), weights, rng.standard_normal((DEPTH, WIDTH)), rng.standard_normal((BATCH, WIDTH))


def wide_network(activation, promises, seed):
    x, weights, biases, grad = unit_draws(seed)
    a, kept, rows = x, [], []
    for promise, weight, bias in zip(promises, weights, biases, strict=True):
        z = promise.variance**0.5 * (a @ weight.T) + promise.bias_variance**0.5 * bias
        value = activation.value(z)
        gram = z @ z.T / WIDTH
        off = gram[~np.eye(BATCH, dtype=bool)].mean()
        rows.append({"z_second_moment": (z**2).mean(), "a_mean": value.mean(), "a_second_moment": (value**2).mean(),
                     "z_cosine": off / np.trace(gram) * BATCH})  # fmt: skip
        kept.append(z)
        a = value.astype(np.float32)
    for number in reversed(range(DEPTH)):
        rows[number]["grad_a_second_moment"] = (grad**2).mean()
        grad = grad * activation.slope(kept[number])
        rows[number]["grad_z_second_moment"] = (grad**2).mean()
        grad = promises[number].variance ** 0.5 * (grad.astype(np.float32) @ weights[number])
    return rows


@pytest.mark.parametrize(
    ("init", "name", "bias_variance"),
    [("he_normal", "relu", 0.0), ("xavier_normal", "tanh", 0.0), ("critical", "tanh", 0.05), ("kumar", "sigmoid", 0.0),
     ("lecun_normal", "selu", 0.0), ("he_normal", "gelu", 0.1), ("torch_default", "hardswish", 0.0),
     ("moment", "softsign", 0.0), ("normal(std=0.1)", "sin", 0.0)],
)  # fmt: skip
def test_mean_field_equals_wide_networks(init, name, bias_variance):
    """Width 1000, depth 3: the mean over seeds within five standard errors; corrections of order 1/width are less."""
    activation = ACTIVATIONS.make(name)
    network = Network((WIDTH,) * (DEPTH + 1), bias_variance)
    promises = INITIALIZERS.make(init).promises(activation, network)
    expected = predict(LAWS.make("mean_field"), activation, promises, InputMoments((1.0,), COSINE))
    measured = [wide_network(activation, promises, seed) for seed in range(SEEDS)]
    for number, row in enumerate(expected):
        for key in measured[0][number]:
            values = np.array([float(rows[number][key]) for rows in measured])
            error = values.std(ddof=1) / math.sqrt(SEEDS)
            assert error < 0.05 * max(abs(values.mean()), row["a_second_moment"] ** 0.5)  # so that this can fail
            assert row[key] == pytest.approx(values.mean(), abs=5 * error + 1e-6), (row["layer"], key)


def test_a_function_of_ones_own_is_predicted_like_any_other():
    """max(0, z) without its closed form or its name."""
    own = Activation(lambda z: z.clamp(min=0), kinks=(0.0,), flat=True, spec="own")
    rows = rows_of("mean_field", "he_normal", own, (64,) * 6, InputMoments((1.0,), 0.2))
    twin = rows_of("mean_field", "he_normal", "relu", (64,) * 6, InputMoments((1.0,), 0.2))
    for name in PREDICTED:
        np.testing.assert_allclose(column(rows, name), column(twin, name), rtol=1e-8)


def test_equal_weights_of_a_deep_network_with_kinks():
    """Every unit is one function of the input's sum: E[z²] of the second layer by scipy's quadrature."""
    rows = rows_of("mean_field", "constant(-0.3)", "hardswish", (17,) * 31, InputMoments((50.0,)))
    deviation = 0.3 * math.sqrt(17 * 50)

    def square(x):
        z = -deviation * x
        return (0.3 * 17 * z * min(6, max(0, z + 3)) / 6) ** 2 * norm.pdf(x)

    second, _ = integrate.quad(square, -12, 12, points=[-3 / deviation, 3 / deviation], limit=200)
    assert rows[0]["z_second_moment"] == pytest.approx(deviation**2, rel=EXACT)
    assert rows[1]["z_second_moment"] == pytest.approx(second, rel=1e-10)
    assert len(rows) == 30
