"""Initializers of other packages: what the packages do on plain modules of torch, and ours beside them."""

import itertools
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from initbench import predict, propagate, reference
from initbench.activations import ACTIVATIONS
from initbench.cli import main
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Layer, Network
from initbench.datasets import Data
from initbench.engine.training.trainer import METRICS, train
from initbench.initializers import INITIALIZERS
from initbench.initializers.adaptation import Drawn, factors
from initbench.initializers.bases import parameters
from initbench.recipe.samples import split

MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "sigmoid": nn.Sigmoid, "selu": nn.SELU, "silu": nn.SiLU}
WIDTHS, BATCH, SEED = (20, 30, 12, 25), 40, 3
ENTRIES = {"anyinit": "anyinit", "lsuv_package": "lsuv"}

with_lsuv = pytest.mark.skipif(find_spec("lsuv") is None, reason="the package lsuv is not installed")
with_anyinit = pytest.mark.skipif(find_spec("anyinit") is None, reason="the package anyinit is not installed")


def batch():
    return torch.randn(BATCH, WIDTHS[0], generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def drawn(spec, activation, **network):
    """A network before it is adapted."""
    made, phi = INITIALIZERS.make(spec), ACTIVATIONS.make(activation)
    layers = [parameters(made, promise, SEED) for promise in made.promises(phi, Network(WIDTHS))]
    weights, biases = zip(*([part.double() for part in layer] for layer in layers), strict=True)
    return Drawn(phi, weights, biases, **network)


def adapted(spec, activation, **network):
    """The factors on its weights, and these."""
    before = drawn(spec, activation, **network)
    found = factors(INITIALIZERS.make(spec).adapt, before, batch())
    return found, [weight * factor for weight, factor in zip(before.weights, found, strict=True)]


def sequential(activation, weights):
    parts = []
    for weight in weights:
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.weight.data.copy_(weight)
        layer.bias.data.zero_()
        parts += [layer, MODULES[activation]()]
    return nn.Sequential(*parts)


@torch.no_grad()
def standard_deviations(network):
    """Of each layer's pre-activations on the batch, over units and inputs, as the package has them."""
    h, found = batch(), []
    for layer, phi in zip(network[::2], network[1::2], strict=True):
        z = layer(h)
        h = phi(z)
        found.append(float(z.std()))
    return found


# --- lsuv ----------------------------------------------------------------------------------------------------------


@with_lsuv
@pytest.mark.parametrize("tolerance", [0.1, 1e-6])
@pytest.mark.parametrize("activation", MODULES)
def test_lsuv_package_gives_what_the_package_makes_of_a_plain_network(activation, tolerance):
    import lsuv

    spec = f"lsuv_package(tolerance={tolerance})"
    orthonormal = [weight * math.sqrt(min(weight.shape)) / weight.norm() for weight in drawn(spec, activation).weights]
    plain = sequential(activation, orthonormal)
    lsuv.lsuv_with_singlebatch(plain, batch(), std_tol=tolerance, do_orthonorm=False, verbose=False)
    for mine, layer in zip(adapted(spec, activation)[1], plain[::2], strict=True):
        torch.testing.assert_close(mine, layer.weight.detach(), rtol=1e-9, atol=1e-12)
    assert standard_deviations(plain) == pytest.approx([1] * 3, abs=tolerance)


@with_lsuv
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_ours_is_the_packages_to_its_end_but_for_its_divisor_of_n_less_one(activation):
    """Both make the deviation 1; theirs divides squares by n - 1, which the layers after a rectifier inherit."""
    ours, theirs = (np.array(adapted(spec, activation)[0]) for spec in ("lsuv", "lsuv_package(1e-6)"))
    share = np.array([math.sqrt(1 - 1 / (BATCH * width)) for width in WIDTHS[1:]])
    np.testing.assert_allclose(theirs / ours, share / [1, *share[:-1]], rtol=1e-6)


@with_lsuv
def test_lsuv_and_its_package_are_measured_side_by_side():
    table = propagate(init=["lsuv", "lsuv_package"], activation="tanh", depth=4, width=32, seeds=3, batch=16)
    ours, theirs = (table[table.init == init].z_variance.to_numpy() for init in ("lsuv", "lsuv_package"))
    np.testing.assert_allclose(ours, 1, rtol=1e-5)
    assert (np.abs(np.sqrt(theirs) - 1) < 0.101).all()
    laws = [predict(init=init, activation="tanh", depth=4, width=32).drop(columns="init") for init in
            ("lsuv", "lsuv_package")]  # fmt: skip
    assert laws[0].equals(laws[1])


@with_lsuv
def test_networks_in_threads_do_not_disturb_each_other():
    """The package keeps its place in the network in a global table."""
    alone = adapted("lsuv_package(1e-6)", "tanh")[0]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: adapted("lsuv_package(1e-6)", "tanh")[0], range(12)))
    assert together == [alone] * 12


# --- anyinit -------------------------------------------------------------------------------------------------------


@with_anyinit
@pytest.mark.parametrize("distribution", ["normal", "sinusoidal"])
@pytest.mark.parametrize("activation", MODULES)
def test_anyinit_promises_the_packages_own_scales_of_torchs_modules(activation, distribution):
    """Which it finds by its own functions of numpy, and ours by torch's; its solver leaves 1e-4 of the sigmoid's."""
    import anyinit

    parts = [part for fans in itertools.pairwise(WIDTHS) for part in (nn.Linear(*fans), MODULES[activation]())]
    report = anyinit.initialize(nn.Sequential(*parts), distribution=distribution)
    made = INITIALIZERS.make(f"anyinit(distribution={distribution})")
    found = [promise.variance for promise in made.promises(ACTIVATIONS.make(activation), Network(WIDTHS))]
    assert found == pytest.approx([layer.scale**2 for layer in report.layers], rel=1e-4)


@with_anyinit
def test_of_a_rectifier_it_is_he_and_of_gelu_not_moment():
    """gelu(g z): E[gelu²] = 1 where the moment gain's network has 1 only in front of it."""
    variances = {init: INITIALIZERS.make(init).promises(ACTIVATIONS.make(activation), Network(WIDTHS))[1].variance
                 for init, activation in (("anyinit", "relu"), ("he_normal", "relu"))}  # fmt: skip
    assert variances["anyinit"] == pytest.approx(variances["he_normal"], rel=1e-9)
    levels = predict(init="anyinit", activation="gelu", depth=6, width=64, laws="mean_field").a_second_moment
    np.testing.assert_allclose(levels, 1, rtol=1e-5)
    other = predict(init="moment", activation="gelu", depth=6, width=64, laws="mean_field").a_second_moment
    assert abs(other.iloc[-1] - 1) > 0.1


@with_anyinit
def test_its_sinusoidal_weights_are_those_of_the_package_whatever_the_seed():
    import anyinit

    linear = nn.Linear(12, 7, bias=False)
    scale = anyinit.initialize(nn.Sequential(linear), distribution="sinusoidal", seed=5).layers[0].scale
    basis = INITIALIZERS.make("anyinit(distribution=sinusoidal)").basis
    torch.testing.assert_close(basis.weights(Layer(1, 12, 7), 0), linear.weight.detach() / scale, rtol=1e-6, atol=1e-6)


@with_anyinit
@pytest.mark.parametrize(("distribution", "fourth"), [("normal", 3), ("uniform", 1.8)])
def test_its_draws_have_the_moments_of_their_distribution(distribution, fourth):
    weight = INITIALIZERS.make(f"anyinit(distribution={distribution})").basis.weights(Layer(1, 200, 150), 0).double()
    assert float(weight.square().mean()) == pytest.approx(1, rel=1e-6 + 25 / weight.numel())  # of deviation 1
    assert float(weight.mean()) == pytest.approx(0, abs=5 / math.sqrt(weight.numel()))
    eighth = {3: 105, 1.8: 9}[fourth]
    assert float(weight.pow(4).mean()) == pytest.approx(fourth, abs=5 * math.sqrt(eighth / weight.numel()))


@with_anyinit
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(
    ("activation", "column", "level"),
    [("relu", "a_second_moment", 1), ("gelu", "a_second_moment", 1), ("tanh", "a_variance", 0.5)],
)
def test_on_data_every_layer_has_the_level_that_the_package_aims_at(activation, column, level, distribution):
    """It is content with 0.1 % of it. The variance of tanh is 1 at most; half of that is aimed at."""
    init = f"anyinit(mode=empirical, distribution={distribution})"
    table = propagate(init=init, activation=activation, depth=4, width=32, seeds=2, batch=64)
    np.testing.assert_allclose(table[column], level, rtol=1.1e-3)


@with_anyinit
def test_on_data_it_sees_what_residual_branches_add():
    """Each branch is at 1, whatever the trunk before it has grown to."""
    made, phi = INITIALIZERS.make("anyinit(mode=empirical)"), ACTIVATIONS.make("relu")
    weights = [parameters(made, promise, SEED)[0].double() for promise in made.promises(phi, Network((16,) * 5))]
    h = torch.randn(64, 16, generator=torch.Generator().manual_seed(1)).double()
    residual = Drawn(phi, weights, [torch.zeros(16).double()] * 4, residual=1)
    for weight, factor in zip(weights, factors(made.adapt, residual, h), strict=True):
        branch = torch.relu(h @ (weight * factor).t())
        assert float(branch.square().mean()) == pytest.approx(1, rel=1.1e-3)
        h = h + branch


# --- both ----------------------------------------------------------------------------------------------------------


def data():
    source = torch.Generator().manual_seed(0)
    images, labels = torch.rand(120, 12, generator=source), torch.randint(3, (120,), generator=source)
    made = split(Data(images, labels, images, labels, shape=(1, 3, 4), classes=3), "standardize", 0.2, 0)
    return made.to(torch.device("cpu"), torch.float64)


@with_anyinit
@with_lsuv
@pytest.mark.parametrize("options", [{}, {"residual": True}, {"batch_norm": True}])
def test_a_stack_of_them_trains_as_the_plain_loop_does(options):
    specs = ("anyinit", "anyinit(mode=empirical)", "lsuv_package")
    cells = [Cell(init=spec, activation="tanh", depth=3, width=12, lr=0.02, steps=20, **options) for spec in specs]
    images = data()
    for cell, outcome in zip(cells, train(cells, images), strict=True):
        twin = reference.train(cell, images)
        assert [outcome.metrics[name] for name in METRICS] == pytest.approx([twin[name] for name in METRICS], rel=1e-9)


@with_anyinit
@with_lsuv
@pytest.mark.parametrize("spec", ["anyinit(mode=empirical)", "lsuv_package"])
def test_adapting_neither_reads_nor_moves_the_global_generators(spec):
    found = []
    for state in (0, 1):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        found.append(adapted(spec, "tanh")[0])
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ENTRIES)
def test_a_package_that_is_not_installed_is_asked_for_in_one_line(name, monkeypatch):
    monkeypatch.setitem(sys.modules, ENTRIES[name], None)
    monkeypatch.setattr(INITIALIZERS, "_made", {})
    told = f'{name} needs a package that is not installed: pip install "initbench[packages]"'
    for arguments in (["show", name], ["predict", "--init", name, "--activation", "relu"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert told in result.output
        assert "Traceback" not in result.output


def test_listing_imports_no_package():
    code = """
import sys
from initbench.cli import main
try:
    main(["list", "initializers"])
except SystemExit:
    pass
assert not {"anyinit", "lsuv"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lsuv_package" in done.stdout


@with_anyinit
@with_lsuv
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lsuv_package(tolerance=0)", "lsuv_package: tolerance must be above 0, not 0"),
        ("anyinit(mode=empiric)", "anyinit: unknown mode 'empiric'; did you mean 'empirical'?"),
        ("anyinit(distribution=gauss)",
         "anyinit: unknown distribution 'gauss'; accepted: normal, uniform, sinusoidal"),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused_in_one_line(spec, message):
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make(spec)
    assert str(caught.value) == message
