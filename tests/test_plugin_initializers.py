"""A plain function as an initializer: its draws, what is promised of them, and what theory takes them for."""

import math
import random

import numpy as np
import pandas as pd
import pytest
import torch
from plugin_catalogues import lent_catalogues

import initbench as ib
from initbench.activations import ACTIVATIONS
from initbench.battery.initializers import coupling as coupling_law
from initbench.core.errors import UsageError
from initbench.core.records import Layer
from initbench.initializers import INITIALIZERS, Initializer, Setting
from initbench.initializers.bases import UNIFORM, parameters
from initbench.initializers.structure import coupling_of

FANS = (120, 80)
SMALL = {"depth": 4, "width": 32, "batch": 16, "seeds": 3}


@pytest.fixture(autouse=True)
def _lent():
    with lent_catalogues():
        yield


def scaled(tensor, scale=1.5):
    return torch.nn.init.normal_(tensor, 0, (scale / tensor.shape[1]) ** 0.5)


def promise(spec, fans=FANS):
    return INITIALIZERS.make(spec).promise(Setting(Layer(1, *fans), ACTIVATIONS.make("relu")))


def drawn(spec, fans=FANS, seed=7):
    return parameters(INITIALIZERS.make(spec), promise(spec, fans), seed)[0]


def in_place(tensor):
    tensor.normal_()


def handed_a_generator(tensor, generator=None):
    return torch.randn(tensor.shape, generator=generator)


def by_numpy(tensor):
    return torch.from_numpy(np.random.standard_normal(tensor.shape).astype(np.float32))  # noqa: NPY002


def by_random(tensor):
    return torch.tensor([random.gauss(0, 1) for _ in range(tensor.numel())]).view(tensor.shape)


@pytest.mark.parametrize("function", [scaled, in_place, handed_a_generator, by_numpy, by_random])
def test_a_seed_is_a_draw_whatever_the_global_generators_are_at(function):
    ib.initializer(name="mine", variance=lambda: 1.0, coupling="independent", excess_kurtosis=0.0)(function)
    draws = []
    for state in (0, 1):
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002
        random.seed(state)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        draws.append(drawn("mine"))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
        assert random.getstate() == before[2]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], drawn("mine", seed=8))


def test_normal_draws_are_those_of_the_catalogue_times_a_scale():
    """Common random numbers: a function of torch's normal numbers is compared draw by draw."""
    ib.initializer(name="mine")(scaled)
    ib.initializer(name="told", variance=lambda fan_in: 1.5 / fan_in)(scaled)
    for name, error in (("mine", 1e-6), ("told", 1e-6)):
        torch.testing.assert_close(drawn(name), drawn("variance_scaling(scale=1.5)"), rtol=error, atol=0)
    torch.testing.assert_close(drawn("mine(scale=6)"), 2 * drawn("mine"), rtol=1e-6, atol=0)


def test_parameters_with_defaults_are_the_specs():
    @ib.initializer
    def mine(w, generator=None, scale=2, gain: float = 1, slow=False, by="n", at=None):
        return w

    assert INITIALIZERS.entry("mine").signature == "mine(scale=2, gain=1, slow=false, by=n)"
    assert INITIALIZERS.canonical("mine(scale=2.5, by='a b', slow=true)") == "mine(scale=2.5, slow=true, by='a b')"
    assert INITIALIZERS.canonical(INITIALIZERS.canonical("mine(by='a b')")) == "mine(by='a b')"
    with pytest.raises(UsageError, match="scale must be a number, not big"):
        INITIALIZERS.make("mine(scale=big)")


def test_functions_of_torch_are_initializers_as_they_are():
    ib.initializer(name="mine")(torch.nn.init.kaiming_normal_)
    assert INITIALIZERS.entry("mine").signature == "mine(a=0, mode=fan_in, nonlinearity=leaky_relu)"
    spec = "mine(mode=fan_out, nonlinearity=relu)"
    torch.testing.assert_close(drawn(spec), drawn("he_fan_out_normal"), rtol=1e-6, atol=0)


def test_a_factory_of_the_full_interface_is_one_too():
    @ib.initializer(formula="Var(w) = scale/fan_out")
    def mine(scale: float = 1.0) -> Initializer:
        return Initializer(UNIFORM, lambda s: scale / s.fan_out)

    assert promise("mine(scale=2)").variance == 2 / FANS[1]


def test_what_is_promised_is_what_theory_reads():
    @ib.initializer(variance=lambda fan_in, fan_out, scale: scale / (fan_in + fan_out))
    def mine(tensor, scale=2.0):
        return tensor.normal_(0, (scale / sum(tensor.shape)) ** 0.5)

    assert promise("mine").variance == 2 / sum(FANS)
    assert promise("mine(scale=3)").variance == 3 / sum(FANS)
    ib.initializer(name="fixed", variance=0.01)(lambda tensor: tensor.normal_(0, 0.1))
    assert promise("fixed").variance == 0.01


MOMENTS = [
    (torch.nn.init.normal_, 1.0, 0.0),
    (lambda tensor: tensor.uniform_(-1, 1), 1 / 3, -1.2),
    (lambda tensor: tensor.bernoulli_(0.5).sub_(0.5), 1 / 4, -2.0),
    (lambda tensor: tensor.exponential_().mul_(tensor.clone().uniform_().sub_(0.5).sign()), 2.0, 3.0),
]


@pytest.mark.parametrize(("function", "variance", "kurtosis"), MOMENTS)
def test_what_is_not_promised_is_measured(function, variance, kurtosis):
    """By at least four million weights: a relative standard error of sqrt((kurtosis + 2)/n), below 0.12 %."""
    ib.initializer(name="mine")(function)
    found = promise("mine")
    assert found.variance == pytest.approx(variance, rel=0.006)
    assert found.excess_kurtosis == pytest.approx(kurtosis, abs=0.1)
    assert (found.mean, found.coupling) == (0, "independent")


COUPLINGS = [
    (torch.nn.init.orthogonal_, "orthogonal", "orthogonal"),
    (lambda tensor: tensor.fill_(-0.3), "shared", "constant(value=-0.3)"),
    (torch.nn.init.eye_, "diagonal", "identity"),
    (torch.nn.init.zeros_, "independent", "zeros"),
    (torch.nn.init.normal_, "independent", "normal"),
]


@pytest.mark.parametrize(("function", "coupling", "twin"), COUPLINGS)
def test_how_weights_hang_together_is_found(function, coupling, twin):
    """And theory says of them what it says of the catalogue's own."""
    ib.initializer(name="mine")(function)
    assert promise("mine", (64, 64)).coupling == coupling
    options = {"activation": "tanh", "depth": 3, "width": 32, "laws": ["mean_field", "finite_width"]}
    mine, theirs = (ib.predict(init=name, **options).select_dtypes(float) for name in ("mine", twin))
    pd.testing.assert_frame_equal(mine, theirs, rtol=0.005, check_exact=False)


def shuffled_rows(tensor):
    return torch.randn(tensor.shape) * torch.linspace(0.5, 1.5, len(tensor))[:, None]


def of_low_rank(tensor):
    return torch.randn(len(tensor), 8) @ torch.randn(8, tensor.shape[1])


def biased(tensor):
    return torch.randn(tensor.shape) + 0.2


def circulant(tensor):
    row = torch.randn(tensor.shape[1])
    return torch.stack([row.roll(step) for step in range(len(tensor))])


def a_table(tensor):
    return torch.sin(torch.arange(tensor.numel())).view(tensor.shape)


STRUCTURED = {
    shuffled_rows: "the sizes of units differ",
    of_low_rank: "products between units have",
    biased: "their mean is not 0 but",
    circulant: "the sums of units spread",
    a_table: "they are not drawn: every seed has the same",
}


@pytest.mark.parametrize(("function", "why"), STRUCTURED.items(), ids=[f.__name__ for f in STRUCTURED])
def test_weights_that_no_law_is_about_are_measured_unless_the_user_says_which_to_hold_them_against(function, why):
    ib.initializer(name="mine")(function)
    assert promise("mine").coupling == "structured"
    assert why in coupling_law(INITIALIZERS.make("mine"))
    theory = ib.predict(init="mine", activation="relu", **SMALL)
    assert theory["z_second_moment"].isna().all()
    assert (theory["note"] != "").all()
    assert ib.propagate(init="mine", activation="relu", **SMALL)["z_second_moment"].gt(0).all()
    ib.initializer(name="mine", coupling="independent")(function)
    assert promise("mine").coupling == "independent"


@pytest.mark.parametrize("shape", [(64, 64), (40, 90), (90, 40)])
def test_independent_weights_are_not_called_structured(shape):
    for seed in range(8):
        source = torch.Generator().manual_seed(seed)
        assert coupling_of([torch.randn(shape, generator=source) for _ in range(32)]) == ("independent", "")


def test_networks_do_as_theory_says_of_the_measured_variance():
    ib.initializer(name="mine")(scaled)
    pair = {"activation": "relu", **SMALL}
    mine, twin = (ib.propagate(init=name, **pair) for name in ("mine", "variance_scaling(scale=1.5)"))
    pd.testing.assert_frame_equal(mine.select_dtypes(float), twin.select_dtypes(float), rtol=1e-4)


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf])
def test_a_promise_that_is_no_variance_is_refused(value):
    ib.initializer(name="mine", variance=lambda fan_in: value)(scaled)
    with pytest.raises(UsageError, match="promises the variance"):
        promise("mine")


def test_weights_that_are_all_one_number_have_no_variance_to_promise():
    with pytest.raises(UsageError, match="weights that are shared have no variance to promise"):
        ib.initializer(name="mine", coupling="shared", variance=lambda: 1.0)
