"""One battery of laws over every initializer, and what each family promises beside."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import nn

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.errors import UsageError
from initbench.core.randomness import generator
from initbench.core.records import Layer, Network
from initbench.engine.stack import draw_weights, member
from initbench.initializers import INITIALIZERS, Setting
from initbench.initializers.record import settings

ARGUMENTS = {float: "0.5", int: "2", bool: "true", str: "normal"}
"""For parameters without a default, by their kind."""


def spec_of(entry):
    """The shortest spec that makes this entry."""
    kinds = inspect.get_annotations(entry.factory, eval_str=True)
    parameters = inspect.signature(entry.factory).parameters.values()
    required = [f"{p.name}={ARGUMENTS[kinds[p.name]]}" for p in parameters if p.default is p.empty]
    return f"{entry.name}({', '.join(required)})" if required else entry.name


SPECS = [spec_of(entry) for entry in INITIALIZERS]
VARIANTS = ["truncated_normal(corrected=true)", "torch_default(bias=false)", "constant(-0.5)", "orthogonal(gain=1.7)",
            "identity(gain=0.3)", "sparse(0.87, std=2)", "sparse(0)", "normal(std=0)", "uniform(bound=0.2)",
            *(f"variance_scaling(2.5, {mode}, {distribution})" for mode in ("fan_in", "fan_out", "fan_avg")
              for distribution in ("normal", "uniform", "truncated_normal"))]  # fmt: skip
ALL = [*SPECS, *VARIANTS]
FANS = [(200, 150), (150, 200)]
WIDE, FAN_IN = FANS[0], FANS[0][0]
TANH = ACTIVATIONS.make("tanh")


def setting(fans=WIDE, activation="tanh", bias_variance=0.05):
    return Setting(Layer(1, *fans), ACTIVATIONS.make(activation), bias_variance)


def drawn(spec, fans=WIDE, seed=7, **where):
    """Weights as a network has them: the unit draw times the scale."""
    made, network = INITIALIZERS.make(spec), Network(fans)
    (scale,) = member(made, [made.promise(setting(fans, **where))], seed).weight_scales
    return draw_weights(made.basis, network, seed, torch.device("cpu"))[0].weight * scale


def promised(spec, fans=WIDE, **where):
    return INITIALIZERS.make(spec).promise(setting(fans, **where))


def error_of_variance(sample):
    """The standard error of a sample's variance, from its own fourth moment."""
    centred = sample - sample.mean()
    return math.sqrt(((centred**4).mean() - (centred**2).mean() ** 2) / sample.size)


def bases_of(specs):
    groups = {}
    for spec in specs:
        groups.setdefault(INITIALIZERS.make(spec).basis.name, []).append(spec)
    return groups


# --- the battery ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fans", FANS)
@pytest.mark.parametrize("spec", ALL)
def test_shape_and_dtype_are_those_of_nn_linear(spec, fans):
    weight, twin = drawn(spec, fans), nn.Linear(*fans).weight
    assert (weight.shape, weight.dtype, weight.device) == (twin.shape, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("spec", ALL)
def test_the_global_generators_are_neither_read_nor_moved(spec):
    draws = []
    for state in (0, 1):
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        draws.append(drawn(spec))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert torch.equal(*draws)


@pytest.mark.parametrize("spec", ALL)
def test_another_seed_is_another_draw_unless_nothing_is_drawn(spec):
    promise = promised(spec)
    fixed = not promise.random or promise.variance == 0
    assert promise.coupling == "structured" or torch.equal(drawn(spec, seed=1), drawn(spec, seed=2)) is fixed


@pytest.mark.parametrize("fans", FANS)
@pytest.mark.parametrize("spec", ALL)
def test_mean_and_variance_are_the_promised(spec, fans):
    sample, promise = drawn(spec, fans).double().numpy(), promised(spec, fans)
    size = math.sqrt(promise.variance + promise.mean**2)
    assert promise.layer == Layer(1, *fans)
    assert math.isfinite(size)
    # a layer without randomness is exact to float32
    exact = torch.equal(drawn(spec, fans), drawn(spec, fans, seed=1))
    mean_error = 1e-7 * size if exact else 5 * sample.std() / math.sqrt(sample.size)
    variance_error = 2e-7 * size**2 if exact else 5 * error_of_variance(sample)
    assert sample.mean() == pytest.approx(promise.mean, abs=mean_error)
    assert sample.var() == pytest.approx(promise.variance, abs=variance_error)
    assert exact or promise.mean == 0 or promise.coupling == "structured"


@pytest.mark.parametrize("fans", FANS)
@pytest.mark.parametrize("spec", ALL)
def test_biases_promise_what_they_are(spec, fans):
    """The network's own variance, unless the initializer sets one and says from what it draws."""
    initializer = INITIALIZERS.make(spec)
    promise, twin = (initializer.promise(setting(fans, bias_variance=b)) for b in (0.05, 0.3))
    if initializer.bias_mean_square is None:
        assert (promise.bias_variance, twin.bias_variance) == (0.05, 0.3)
    else:
        assert promise.bias_variance == twin.bias_variance >= 0
        assert promise.bias_variance == 0 or initializer.bias_basis is not None


@pytest.mark.parametrize(
    "network",
    [Network((30, 20, 45), 0.05), Network((20,) * 6, 0.05, output=True), Network((20, *[30] * 5, 4), 0.05, True, 2)],
    ids=["tapered", "square", "residual"],
)
@pytest.mark.parametrize("spec", ALL)
def test_a_network_is_promised_layer_by_layer(spec, network):
    initializer = INITIALIZERS.make(spec)
    each = [initializer.promise(setting) for setting in settings(TANH, network)]
    assert initializer.promises(TANH, network) == each


def test_initializers_of_one_basis_are_one_draw_times_their_scale():
    """Common random numbers, over the whole catalogue: w / sqrt(E[w²]) is the same."""
    groups = bases_of(ALL)
    assert len(groups["normal"]) > 10
    assert len(groups["uniform"]) > 5
    for specs in groups.values():
        units = []
        for spec in specs:
            promise = promised(spec)
            size = math.sqrt(promise.variance + promise.mean**2)
            if size > 0:
                units.append(drawn(spec).double() / size)
        for unit in units:
            torch.testing.assert_close(unit, units[0], rtol=3e-7, atol=0)


@pytest.mark.parametrize("spec", SPECS)
def test_every_basis_has_unit_mean_square(spec):
    """So that a scale is a standard deviation."""
    basis, layer = INITIALIZERS.make(spec).basis, Layer(1, *WIDE)
    square = basis.draw(layer, generator(3, "w")).double().numpy() ** 2
    assert square.mean() == pytest.approx(1, abs=5 * square.std() / math.sqrt(square.size) + 1e-6)


def test_aliases_are_stored_under_their_entrys_name():
    assert [INITIALIZERS.canonical(spec) for spec in ("xavier", "glorot_normal", "glorot_uniform", "he")] == [
        "xavier_normal", "xavier_normal", "xavier_uniform", "he_normal",
    ]  # fmt: skip
    for entry in INITIALIZERS:
        for alias in entry.aliases:
            assert INITIALIZERS.canonical(alias) == entry.name
            assert INITIALIZERS.make(alias).spec == entry.name


def test_every_entry_tells_its_formula_and_source():
    for entry in INITIALIZERS:
        assert entry.summary
        assert entry.formula
        assert entry.source


# --- published variances and bounds --------------------------------------------------------------------------------

TORCHS_OWN = {
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "he_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "he_fan_out_normal": lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    "he_fan_out_uniform": lambda w: nn.init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"),
    "lecun_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "lecun_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="linear"),
    "normal": nn.init.normal_,
    "uniform": lambda w: nn.init.uniform_(w, -1, 1),
    "orthogonal": nn.init.orthogonal_,
    "truncated_normal": nn.init.trunc_normal_,
    "sparse(sparsity=0.5)": lambda w: nn.init.sparse_(w, 0.5),
    "identity": nn.init.eye_,
    "zeros": nn.init.zeros_,
    "ones": nn.init.ones_,
}


@pytest.mark.parametrize("fans", FANS)
@pytest.mark.parametrize("spec", TORCHS_OWN)
def test_promises_are_what_torchs_function_of_that_name_draws(spec, fans):
    weight = torch.empty(fans[1], fans[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        TORCHS_OWN[spec](weight)
    sample, promise = weight.double().numpy(), promised(spec, fans)
    assert sample.var() == pytest.approx(promise.variance, abs=5 * error_of_variance(sample) + 1e-9)
    assert sample.mean() == pytest.approx(promise.mean, abs=5 * sample.std() / math.sqrt(sample.size) + 1e-9)


BOUNDS = {
    "uniform": lambda n, m: 1.0,
    "uniform(bound=0.2)": lambda n, m: 0.2,
    "lecun_uniform": lambda n, m: math.sqrt(3 / n),
    "xavier_uniform": lambda n, m: math.sqrt(6 / (n + m)),  # Glorot & Bengio 2010, eq. 16
    "he_uniform": lambda n, m: math.sqrt(6 / n),
    "he_fan_out_uniform": lambda n, m: math.sqrt(6 / m),
    "he_fan_avg_uniform": lambda n, m: math.sqrt(12 / (n + m)),
    "torch_default": lambda n, m: 1 / math.sqrt(n),
    "torch_default(bias=false)": lambda n, m: 1 / math.sqrt(n),
    "keras_default": lambda n, m: math.sqrt(6 / (n + m)),
    "siren": lambda n, m: 30 / n,  # the first layer's
    "variance_scaling(2.5, fan_in, uniform)": lambda n, m: math.sqrt(7.5 / n),
    "variance_scaling(2.5, fan_out, uniform)": lambda n, m: math.sqrt(7.5 / m),
    "variance_scaling(2.5, fan_avg, uniform)": lambda n, m: math.sqrt(15 / (n + m)),
}


def test_every_uniform_initializer_has_a_published_bound():
    assert set(bases_of(ALL)["uniform"]) == set(BOUNDS)


@pytest.mark.parametrize("fans", FANS)
@pytest.mark.parametrize("spec", BOUNDS)
def test_uniform_draws_fill_their_bounds(spec, fans):
    """The largest of 30 000 is below the bound by 1 in 30 000 on average: by 1 in 3 000 with probability exp(-10)."""
    bound, largest = BOUNDS[spec](*fans), float(drawn(spec, fans).abs().max())
    assert (1 - 1 / 3000) * bound < largest <= bound * (1 + 1e-6)
    assert promised(spec, fans).variance == pytest.approx(bound**2 / 3, rel=1e-12)


def test_he_is_sqrt_two_times_lecun_and_xavier_lies_between():
    n, m = WIDE
    for distribution in ("normal", "uniform"):
        families = ("lecun", "xavier", "he", "he_fan_avg")
        lecun, xavier, he, he_avg = (drawn(f"{family}_{distribution}") for family in families)
        torch.testing.assert_close(he, math.sqrt(2) * lecun, rtol=3e-7, atol=0)
        torch.testing.assert_close(xavier, math.sqrt(2 * n / (n + m)) * lecun, rtol=3e-7, atol=0)
        # the lecture's He is 2·fan_in/(fan_in + fan_out) times He's own variance
        torch.testing.assert_close(he_avg, math.sqrt(2 * n / (n + m)) * he, rtol=3e-7, atol=0)


def test_fans_are_told_apart():
    """Constant widths would not show it."""
    for name, fan in (("he_normal", 0), ("he_fan_out_normal", 1)):
        for fans in FANS:
            assert promised(name, fans).variance == pytest.approx(2 / fans[fan], rel=1e-15)


# --- truncation ----------------------------------------------------------------------------------------------------


def test_truncation_at_two_sigma_keeps_07737_of_the_variance():
    sample = drawn("truncated_normal(std=0.3)").double().numpy()
    assert 0.599 < np.abs(sample).max() <= 0.6 * (1 + 1e-6)
    assert promised("truncated_normal(std=0.3)").variance == pytest.approx(0.7737 * 0.09, rel=1e-4)
    corrected = drawn("truncated_normal(std=0.3, corrected=true)")
    assert promised("truncated_normal(std=0.3, corrected=true)").variance == pytest.approx(0.09, rel=1e-15)
    torch.testing.assert_close(corrected, torch.from_numpy(sample / math.sqrt(0.7737413)).float(), rtol=1e-6, atol=0)


def test_jax_default_is_flax_denses():
    """jax.nn.initializers.lecun_normal: stddev sqrt(1/fan_in) / 0.87962566103423978, cut at two of it."""
    for n, m in FANS:
        cut = 2 * math.sqrt(1 / n) / 0.87962566103423978
        assert (1 - 1e-2) * cut < float(drawn("jax_default", (n, m)).abs().max()) <= cut * (1 + 1e-6)
        promise = promised("jax_default", (n, m))
        assert (promise.variance, promise.bias_variance) == (1 / n, 0)


def test_keras_default_is_denses():
    """keras.initializers.GlorotUniform: limit sqrt(6/(fan_in + fan_out)); biases zeros."""
    for n, m in FANS:
        promise = promised("keras_default", (n, m))
        assert promise.variance == pytest.approx(6 / (n + m) / 3, rel=1e-15)
        assert promise.bias_variance == 0
        assert torch.equal(drawn("keras_default", (n, m)), drawn("xavier_uniform", (n, m)))


def test_torch_default_is_nn_linears_own():
    for fans in FANS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(12)
            layers = [nn.Linear(*fans) for _ in range(10)]
        promise = promised("torch_default", fans)
        weight = layers[0].weight.detach().double().numpy()
        bias = torch.cat([layer.bias for layer in layers]).detach().double().numpy()
        assert weight.var() == pytest.approx(promise.variance, abs=5 * error_of_variance(weight))
        assert bias.var() == pytest.approx(promise.bias_variance, abs=5 * error_of_variance(bias))
        assert np.abs(weight).max() == pytest.approx(float(drawn("torch_default", fans).abs().max()), rel=1e-3)
        assert promised("torch_default(bias=false)", fans).bias_variance == 0


# --- other families ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fans", [*FANS, (64, 64), (1, 50), (50, 1)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(fans):
    weight = drawn("orthogonal(gain=1.5)", fans).double() / 1.5
    gram = weight @ weight.t() if fans[1] <= fans[0] else weight.t() @ weight
    torch.testing.assert_close(gram, torch.eye(min(fans), dtype=torch.float64), rtol=0, atol=2e-6)
    assert promised("orthogonal(gain=1.5)", fans).variance == pytest.approx(2.25 / max(fans), rel=1e-15)


@pytest.mark.parametrize("fans", FANS)
def test_an_identity_is_one_on_its_diagonal_alone(fans):
    assert torch.allclose(drawn("identity(gain=0.3)", fans), 0.3 * torch.eye(fans[1], fans[0]), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("sparsity", "fan_out", "zeros"), [(0.87, 200, 174), (0.871, 200, 175), (0.5, 7, 4), (0, 7, 0)]
)
def test_sparse_leaves_the_same_number_of_zeros_in_each_column(sparsity, fan_out, zeros):
    """A column holds the weights that leave one input; the number is rounded up, as torch's."""
    spec, fans = f"sparse({sparsity}, std=1)", (300, fan_out)
    weight = drawn(spec, fans)
    assert ((weight == 0).sum(dim=0) == zeros).all()
    assert promised(spec, fans).variance == pytest.approx(1 - zeros / fan_out, rel=1e-14)
    if zeros > 0:
        rows = (weight == 0).sum(dim=1)
        assert rows.unique().numel() > 1  # which ones is drawn anew for each column


def test_a_layer_that_is_wholly_zero_is_no_division_by_zero():
    assert torch.equal(drawn("sparse(0.9)", (5, 3)), torch.zeros(3, 5))
    assert promised("sparse(0.9)", (5, 3)).variance == 0


@pytest.mark.parametrize(("spec", "value"), [("zeros", 0), ("ones", 1), ("constant(-0.5)", -0.5), ("constant(3)", 3)])
def test_constants_are_constant(spec, value):
    assert torch.equal(drawn(spec), torch.full((WIDE[1], WIDE[0]), float(value)))
    promise = promised(spec)
    assert (promise.mean, promise.variance, promise.coupling) == (value, 0, "shared")


@pytest.mark.parametrize("activation", [entry.name for entry in ACTIVATIONS])
def test_moment_keeps_the_second_moment_at_one(activation):
    """n·Var(w)·E[phi(z)²] = 1, z ~ N(0, 1), by the trapezoidal rule (wrong by 1e-6 at a kink at most)."""
    z = np.linspace(-12, 12, 240_001)
    square = (ACTIVATIONS.make(activation).value(z) ** 2 * np.exp(-(z**2) / 2)).sum() * 1e-4 / math.sqrt(2 * math.pi)
    promise = promised("moment", activation=activation)
    assert FAN_IN * promise.variance * square == pytest.approx(1, rel=1e-6)


def test_moment_on_published_gains():
    assert promised("moment").variance == pytest.approx(1.593**2 / FAN_IN, rel=1e-3)
    assert promised("moment", activation="relu").variance == pytest.approx(2 / FAN_IN, rel=1e-12)


def test_kumar_on_the_papers_examples():
    """Kumar 2017: 3.6/sqrt(n) for the sigmoid (rounded), 1/sqrt(n) for tanh, sqrt(2/n) for ReLU."""
    assert promised("kumar", activation="sigmoid").variance == pytest.approx(12.8 / FAN_IN, rel=1e-12)
    assert math.sqrt(FAN_IN * promised("kumar", activation="sigmoid").variance) == pytest.approx(3.6, abs=0.05)
    assert promised("kumar").variance == pytest.approx(1 / FAN_IN, rel=1e-12)
    assert promised("kumar", activation="relu").variance == pytest.approx(2 / FAN_IN, rel=1e-12)


def test_critical_follows_the_networks_bias_variance():
    """Schoenholz et al. 2017: 1.76 for tanh at 0.05, and 1 without biases."""
    assert promised("critical", bias_variance=0.05).variance == pytest.approx(1.76 / FAN_IN, rel=3e-3)
    assert promised("critical", bias_variance=0.0).variance == pytest.approx(1 / FAN_IN, rel=1e-12)
    assert promised("critical", activation="relu", bias_variance=0.0).variance == pytest.approx(2 / FAN_IN, rel=1e-12)


# --- refusals ------------------------------------------------------------------------------------------------------


def test_critical_refuses_softplus_with_the_reason():
    for refuse in (promised, drawn):
        with pytest.raises(UsageError) as caught:
            refuse("critical", activation="softplus", bias_variance=0.0)
        assert str(caught.value) == (
            "softplus has no critical weight variance at bias variance 0: wherever chi_1 = 1, E[z²] grows from layer to"
            " layer and has no fixed point"
        )


def test_kumar_refuses_a_function_without_a_slope_at_zero():
    """The squared rectifier."""
    squared = Activation(lambda z: z.clamp(min=0) ** 2, kinks=(0.0,), flat=True, spec="relu_squared")
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make("kumar").promise(Setting(Layer(1, 3, 3), squared))
    assert str(caught.value) == "kumar: relu_squared has slope 0 at 0, so no weight variance keeps its variance there"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("normal(std=-1)", "normal: std must be 0 or more, not -1"),
        ("uniform(bound=-0.5)", "uniform: bound must be 0 or more, not -0.5"),
        ("truncated_normal(std=-1)", "truncated_normal: std must be 0 or more, not -1"),
        ("sparse(1)", "sparse: sparsity must be at least 0 and below 1, not 1"),
        ("sparse(-0.1)", "sparse: sparsity must be at least 0 and below 1, not -0.1"),
        ("sparse(0.5, std=-1)", "sparse: std must be 0 or more, not -1"),
        ("orthogonal(gain=-1)", "orthogonal: gain must be 0 or more, not -1"),
        ("identity(gain=-2)", "identity: gain must be 0 or more, not -2"),
        ("variance_scaling(scale=-1)", "variance_scaling: scale must be 0 or more, not -1"),
        ("variance_scaling(mode=fan_it)",
         "variance_scaling: unknown mode 'fan_it'; did you mean 'fan_in' or 'fan_out'?"),
        ("variance_scaling(mode=width)",
         "variance_scaling: unknown mode 'width'; accepted: fan_in, fan_out, fan_avg"),
        ("variance_scaling(distribution=gauss)",
         "variance_scaling: unknown distribution 'gauss'; accepted: normal, uniform, truncated_normal"),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused_in_one_line(spec, message):
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make(spec)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2
