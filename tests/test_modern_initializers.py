"""Schemes of the years after He, each held to its paper's own words."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, linalg
from torch import nn

from initbench import predict, propagate, reference
from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Layer, Network, shape_of
from initbench.datasets import Data
from initbench.engine.training.trainer import METRICS, train
from initbench.initializers import INITIALIZERS
from initbench.initializers.bases import parameters
from initbench.recipe.samples import split

NAMES = ("he_prelu", "depth_scaled", "siren", "scaled_orthogonal", "zero_init", "noisy_identity")
RELU = ACTIVATIONS.make("relu")


def promises(spec, widths, activation=RELU):
    return INITIALIZERS.make(spec).promises(activation, Network(tuple(widths)))


def weights(spec, widths, activation=RELU, seed=0):
    made = INITIALIZERS.make(spec)
    return [parameters(made, promise, seed)[0] for promise in promises(spec, widths, activation)]


def mean_field(init, activation, **network):
    """Theory's E[z²], layer by layer."""
    return predict(init=init, activation=activation, laws="mean_field", **network).z_second_moment.to_numpy()


# --- he_prelu ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5, 1.0, 3.0])
def test_he_prelu_is_torchs_kaiming_of_that_slope(slope):
    weight = torch.empty(400, 300)
    nn.init.kaiming_normal_(weight, a=slope, nonlinearity="leaky_relu", generator=torch.Generator().manual_seed(1))
    (promise,) = promises(f"he_prelu({slope})", [300, 400])
    assert promise.variance == pytest.approx(float(weight.var()), rel=5 * math.sqrt(2 / weight.numel()))


def test_he_prelu_without_a_slope_is_he():
    assert promises("he_prelu(0)", [30, 40]) == promises("he_normal", [30, 40])


def test_he_prelu_keeps_the_signal_of_a_rectifier_that_leaks_as_much():
    levels = mean_field("he_prelu(slope=0.1)", "leaky_relu(0.1)", depth=8, width=64)
    np.testing.assert_allclose(levels, levels[0], rtol=1e-12)


# --- depth_scaled --------------------------------------------------------------------------------------------------


def test_only_layers_that_can_be_added_are_scaled_by_their_number():
    variances = [promise.variance for promise in promises("depth_scaled", [784, 100, 100, 100, 100, 10])]
    assert variances == pytest.approx([2 / 784, 2 / 300, 2 / 300, 2 / 300, 2 / 100], rel=1e-15)


def test_an_output_is_no_branch_however_many_classes_there_are():
    """Of hidden layers 10 wide on ten classes the output is as wide as its input, too."""
    network = shape_of(Cell(depth=4, width=10), 64, 10)
    variances = [promise.variance for promise in INITIALIZERS.make("depth_scaled").promises(RELU, network)]
    assert variances == pytest.approx([2 / 64, 2 / 30, 2 / 30, 2 / 30, 2 / 10], rel=1e-15)


@pytest.mark.parametrize("branches", [5, 20, 80])
def test_the_sum_of_all_branches_grows_by_e_at_any_depth(branches):
    """h + W h with Var(w) = 1/(n L): each branch adds E[h²]/L, so that E[h²] becomes (1 + 1/L)^L times itself."""
    width, batch, seeds = 200, 4, 40
    growth = []
    for seed in range(seeds):
        h = torch.randn(batch, width, generator=torch.Generator().manual_seed(seed))
        before = float(h.square().mean())
        for weight in weights("depth_scaled(scale=1)", [width] * (branches + 1), seed=seed):
            h = h + h @ weight.t()
        growth.append(float(h.square().mean()) / before)
    error = np.std(growth, ddof=1) / math.sqrt(seeds)
    assert np.mean(growth) == pytest.approx((1 + 1 / branches) ** branches, abs=4 * error)


# --- siren ---------------------------------------------------------------------------------------------------------


def siren_of_the_authors(features, width, depth, omega, drawn):
    """As github.com/vsitzmann/siren has it: sin(omega z), the first layer U(±1/n), others U(±sqrt(6/n)/omega)."""
    layers = [nn.Linear(n, width, bias=False) for n in (features, *[width] * (depth - 1))]
    for number, layer in enumerate(layers):
        n = layer.in_features
        bound = math.sqrt(6 / n) / omega if number else 1 / n
        nn.init.uniform_(layer.weight, -bound, bound, generator=drawn)
    return layers


@pytest.mark.parametrize("omega", [30.0, 5.0])
@torch.no_grad()
def test_siren_has_the_pre_activations_of_the_authors_network(omega):
    """Their omega·z is our z."""
    features, width, depth, seeds = 20, 128, 4, 60
    x = 2 * torch.rand(50, features, generator=torch.Generator().manual_seed(0)) - 1
    ours, theirs = np.empty((2, seeds, depth))
    for seed in range(seeds):
        h = x
        for number, layer in enumerate(siren_of_the_authors(features, width, depth, omega,
                                                            torch.Generator().manual_seed(seed))):  # fmt: skip
            z = omega * layer(h)
            theirs[seed, number], h = float(z.square().mean()), torch.sin(z)
        h = x
        for number, weight in enumerate(weights(f"siren({omega})", [features, *[width] * depth], seed=seed)):
            z = h @ weight.t()
            ours[seed, number], h = float(z.square().mean()), torch.sin(z)
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / seeds)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error).all()


def test_sirens_bounds_are_those_of_the_paper():
    first, second, third = weights("siren", [40, 60, 60, 50])
    for weight, bound in ((first, 30 / 40), (second, math.sqrt(6 / 60)), (third, math.sqrt(6 / 60))):
        assert (1 - 1e-2) * bound < float(weight.abs().max()) <= bound * (1 + 1e-6)


def test_a_first_layer_that_is_as_wide_as_the_others_is_still_the_first():
    assert [promise.variance for promise in promises("siren", [50] * 4)] == pytest.approx(
        [30**2 / 3 / 50**2, 2 / 50, 2 / 50], rel=1e-15)  # fmt: skip


def test_theory_has_the_fixed_point_of_sines():
    """E[z²] = 2 E[sin² z] = 1 - exp(-2 E[z²]) of Gaussian z, by fixed-point iteration."""
    q = 1.0
    for _ in range(200):
        q = 1 - math.exp(-2 * q)
    assert mean_field("siren", "sin", depth=60, width=64)[-1] == pytest.approx(q, rel=1e-6)


# --- scaled_orthogonal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fans", [(60, 60), (60, 90), (90, 60)])
def test_scaled_orthogonal_is_suo_times_the_moment_gain(fans):
    phi = ACTIVATIONS.make("tanh")
    density = lambda z: math.tanh(z) ** 2 * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    gain = 1 / math.sqrt(integrate.quad(density, -40, 40, epsabs=1e-13)[0])
    (weight,) = weights("scaled_orthogonal", fans, phi)
    q = weight.double() / gain / max(math.sqrt(fans[1] / fans[0]), 1)
    gram = q @ q.t() if fans[1] <= fans[0] else q.t() @ q
    torch.testing.assert_close(gram, torch.eye(min(fans), dtype=torch.float64), rtol=0, atol=2e-6)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_scaled_orthogonal_has_moments_infinite_width_and_less_spread(activation):
    network = {"activation": activation, "widths": [64, 32, 96, 96]}
    np.testing.assert_allclose(mean_field("scaled_orthogonal", **network), mean_field("moment", **network), rtol=1e-12)
    own, normal = (predict(init=init, laws="finite_width", **network) for init in ("scaled_orthogonal", "moment"))
    assert (own.z_second_moment_sd < normal.z_second_moment_sd).all()


# --- zero_init -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fans", [(8, 16), (8, 9), (5, 12), (100, 128), (1, 4), (3, 1000)])
def test_zero_init_is_hadamards_matrix_where_a_layer_widens(fans):
    """Algorithm 1: 2^(-(m-1)/2) I* H_m I*, with m = ceil(log2(fan_out)); by scipy's Hadamard matrix."""
    fan_in, fan_out = fans
    m = math.ceil(math.log2(fan_out))
    expected = 2 ** (-(m - 1) / 2) * np.eye(fan_out, 2**m) @ linalg.hadamard(2**m) @ np.eye(2**m, fan_in)
    (weight,) = weights("zero_init", fans)
    np.testing.assert_allclose(weight.double(), expected, rtol=1e-6)
    (promise,) = promises("zero_init", fans)
    assert (promise.mean, promise.variance) == pytest.approx((expected.mean(), expected.var()), rel=1e-12, abs=1e-15)
    assert (promise.coupling, promise.random) == ("structured", False)


@pytest.mark.parametrize("fans", [(8, 8), (16, 9)])
def test_zero_init_is_the_identity_where_it_fits(fans):
    (weight,) = weights("zero_init", fans)
    assert torch.allclose(weight, torch.eye(fans[1], fans[0]), rtol=1e-6)


def test_theory_follows_zero_init_as_the_identity_and_says_where_it_does_not():
    same, mine = (predict(init=init, activation="tanh", depth=5, width=32) for init in ("identity", "zero_init"))
    assert mine.z_second_moment.notna().sum() > 0
    np.testing.assert_array_equal(mine.z_second_moment, same.z_second_moment)
    wider = predict(init="zero_init", activation="tanh", widths=[16, 32, 32])
    assert wider.z_second_moment.isna().all()
    assert set(wider[wider.law == "mean_field"].note) == {
        "weights that hang together in a way that no law is about"}  # fmt: skip


def test_zero_init_is_measured_where_theory_does_not_follow():
    """A linear layer from 16 to 32 of E[x²] = 1: each unit has 16·2/32 E[x²]."""
    z = propagate(init="zero_init", activation="identity", widths=[16, 32], seeds=200, batch=4).z_second_moment
    assert z.mean() == pytest.approx(1, abs=4 * z.std() / math.sqrt(len(z)))


# --- noisy_identity ------------------------------------------------------------------------------------------------


def test_noisy_identity_is_a_diagonal_and_the_catalogues_normal_draw_scaled():
    """Less its diagonal of 0.3, the entries are N(0, 0.25/fan_in): fan_in·Var within 4 standard errors."""
    (weight,) = weights("noisy_identity(identity=0.3, noise=0.5)", [300, 400])
    off = weight - 0.3 * torch.eye(400, 300)
    assert off.diagonal().mean() == pytest.approx(0, abs=4 * 0.5 / math.sqrt(300 * 300))
    assert 300 * float(off.var()) == pytest.approx(0.25, rel=4 * math.sqrt(2 / off.numel()))


@pytest.mark.parametrize("fans", [(60, 60), (60, 90), (90, 60)])
def test_noisy_identity_promises_what_a_sum_by_hand_gives(fans):
    """E[w²] = 0.49·min/(m n) + 0.49/fan_in and E[w] = 0.7·min/(m n)."""
    share = min(fans) / (fans[0] * fans[1])
    mean, square = 0.7 * share, 0.49 * share + 0.49 / fans[0]
    (promise,) = promises("noisy_identity", fans)
    assert (promise.mean, promise.variance) == pytest.approx((mean, square - mean**2), rel=1e-12)
    assert (promise.coupling, promise.random) == ("structured", False)


def test_a_linear_layer_of_noisy_identity_keeps_the_sum_of_both_squares():
    z = propagate(init="noisy_identity", activation="identity", widths=[64, 64], seeds=100, batch=8).z_second_moment
    assert z.mean() == pytest.approx(0.98, abs=4 * z.std() / math.sqrt(len(z)))


def test_its_ends_are_the_identity_and_lecuns_weights_and_theory_follows_both():
    network = {"activation": "tanh", "depth": 4, "width": 32}
    np.testing.assert_allclose(mean_field("noisy_identity(1, 0)", **network), mean_field("identity", **network))
    np.testing.assert_allclose(mean_field("noisy_identity(0, 1)", **network), mean_field("lecun_normal", **network))
    assert predict(init="noisy_identity", **network).z_second_moment.isna().all()


# --- training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [False, True])
def test_a_stack_of_all_of_them_trains_as_the_plain_loop_does(residual):
    drawn = torch.Generator().manual_seed(0)
    images, labels = torch.rand(200, 12, generator=drawn), torch.randint(3, (200,), generator=drawn)
    data = split(Data(images, labels, images, labels, shape=(1, 3, 4), classes=3), "standardize", 0.2, 0)
    data = data.to(torch.device("cpu"), torch.float64)
    cells = [Cell(init=name, activation="tanh", depth=3, width=12, lr=0.02, steps=50, residual=residual)
             for name in NAMES]  # fmt: skip
    for cell, outcome in zip(cells, train(cells, data), strict=True):
        twin = reference.train(cell, data)
        assert [outcome.metrics[name] for name in METRICS] == pytest.approx([twin[name] for name in METRICS], rel=1e-9)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("depth_scaled(-1)", "depth_scaled: scale must be 0 or more, not -1"),
        ("siren(omega=-30)", "siren: omega must be 0 or more, not -30"),
        ("noisy_identity(noise=-1)", "noisy_identity: noise must be 0 or more, not -1"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(spec, message):
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make(spec)
    assert str(caught.value) == message


def test_none_of_them_is_a_default():
    assert set(NAMES) <= {entry.name for entry in INITIALIZERS}
    assert not set(NAMES) & set(INITIALIZERS.defaults)


def test_a_promise_of_one_layer_is_that_of_a_network_of_it():
    assert promises("zero_init", [6, 7])[0].layer == Layer(1, 6, 7)
