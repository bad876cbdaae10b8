"""Metainit and gradinit: held to plain autograd, to differences, and to the published algorithms on plain tensors."""

import dataclasses
import io
import math
from itertools import pairwise

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch.autograd import grad
from torch.nn import functional as F

from initbench import jacobian, propagate, reference
from initbench.activations import ACTIVATIONS
from initbench.cli import main
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.randomness import generator
from initbench.datasets import Data
from initbench.engine.training.trainer import METRICS, train
from initbench.initializers import INITIALIZERS, learned
from initbench.initializers.adaptation import Drawn, factors
from initbench.recipe import LOSSES
from initbench.recipe.samples import split

SEED = 5
WIDTHS = (10, 12, 12, 12, 5)


def drawn_network(activation="tanh", widths=WIDTHS, gain=1.0, biases=0.0, **more):
    """Gaussian weights of variance gain/fan_in."""
    source = torch.Generator().manual_seed(SEED)
    weights, shifts = [], []
    for fan_in, fan_out in pairwise(widths):
        weights.append(torch.randn(fan_out, fan_in, generator=source).double() * (gain / fan_in) ** 0.5)
        shifts.append(biases * torch.randn(fan_out, generator=source).double())
    return Drawn(ACTIVATIONS.make(activation), weights, shifts, seed=SEED, **more)


def batch_of(samples, features=WIDTHS[0], classes=WIDTHS[-1]):
    source = torch.Generator().manual_seed(1)
    return (
        torch.randn(samples, features, generator=source).double(),
        torch.randint(classes, (samples,), generator=source),
    )


def outputs_of(drawn, weights, biases, x):
    """As plain layers have it: no activation after the last."""
    given = [x]
    for weight, bias in zip(weights, biases, strict=True):
        z = given[-1] @ weight.t() + bias
        given.append(drawn.onward(z, given))
    return z


def plain_quotient(drawn, weights, biases, x, y):
    """GQ by two plain passes back, every gradient formed."""
    parameters = [*weights, *biases]
    g = grad(F.cross_entropy(outputs_of(drawn, weights, biases, x), y), parameters, create_graph=True)
    product = grad(sum(part.square().sum() for part in g) / 2, parameters, create_graph=True)
    g, product = (torch.cat([part.flatten() for part in parts]) for parts in (g, product))
    sign = torch.where(g >= 0, torch.ones_like(g), -torch.ones_like(g))
    return ((g - product) / (g + 1e-5 * sign) - 1).abs().mean()


def fresh(tensors):
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


# --- the gradient quotient -----------------------------------------------------------------------------------------

NETWORKS = [{}, {"residual": 1}, {"residual": 2}, {"batch_norm": True}, {"residual": 1, "batch_norm": True}]


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_quotient_and_its_slope_are_those_of_plain_autograd(activation, network):
    drawn, (x, y) = drawn_network(activation, biases=0.2, **network), batch_of(7)
    scales = torch.tensor([0.8, 1.2, 0.9, 1.1]).double().requires_grad_()
    found = learned.gradient_quotient(drawn, scales, x, y)
    other = scales.detach().clone().requires_grad_()
    weights = [scale * weight for scale, weight in zip(other, drawn.weights, strict=True)]
    twin = plain_quotient(drawn, weights, fresh(drawn.biases), x, y)
    assert float(found.detach()) == pytest.approx(float(twin.detach()), rel=1e-10)
    torch.testing.assert_close(grad(found, scales)[0], grad(twin, other)[0], rtol=1e-8, atol=1e-8)


def test_the_quotient_says_how_much_a_small_step_changes_the_gradient():
    """(g(w - eta g) - g(w))/eta is - H g: the definition, by a difference."""
    drawn, (x, y), eta = drawn_network(), batch_of(7), 1e-6

    def gradient(parameters):
        half = len(parameters) // 2
        return grad(F.cross_entropy(outputs_of(drawn, parameters[:half], parameters[half:], x), y), parameters)

    here = fresh([*drawn.weights, *drawn.biases])
    g = gradient(here)
    moved = gradient(fresh([part - eta * slope for part, slope in zip(here, g, strict=True)]))
    g, moved = (torch.cat([part.flatten() for part in parts]) for parts in (g, moved))
    eps = 1e-5 * torch.where(g >= 0, 1.0, -1.0).double()
    expected = ((g - (g - moved) / eta) / (g + eps) - 1).abs().mean()
    scales = torch.ones(4).double().requires_grad_()
    assert float(learned.gradient_quotient(drawn, scales, x, y).detach()) == pytest.approx(float(expected), rel=1e-4)


def test_of_wide_layers_the_mean_is_over_a_block_of_weights(monkeypatch):
    """Exchangeable draws: a block tells what all would, give or take; the parts that are whole stay so."""
    drawn, (x, y) = drawn_network(widths=(60, 60, 60, 60)), batch_of(40, 60, 60)
    scales = torch.ones(3).double().requires_grad_()
    whole = float(learned.gradient_quotient(drawn, scales, x, y).detach())
    monkeypatch.setattr(learned, "ENTRIES", 30)
    part = float(learned.gradient_quotient(drawn, scales, x, y).detach())
    assert part != whole
    assert math.log(part / whole) == pytest.approx(0, abs=0.5)


# --- metainit ------------------------------------------------------------------------------------------------------


def published_metainit(drawn, features, steps, lr, momentum):
    """The algorithm of the paper's appendix, on weights that are rescaled in place."""
    classes = len(drawn.weights[-1])
    source = generator(drawn.seed, "metainit", features, classes)
    weights, memory = fresh(drawn.weights), [0.0] * len(drawn.weights)
    for _ in range(steps):
        x = torch.randn(learned.INPUTS, features, generator=source, dtype=torch.float64)
        y = torch.randint(classes, (learned.INPUTS,), generator=source)
        slopes = grad(plain_quotient(drawn, weights, fresh(drawn.biases), x, y), weights)
        for number, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
            norm = weight.data.norm()
            memory[number] = momentum * memory[number] - lr * float(torch.sign((weight.data * slope).sum() / norm))
            weight.data.mul_((norm + memory[number]) / norm)
    return [float(one.data.norm() / other.norm()) for one, other in zip(weights, drawn.weights, strict=True)]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_metainit_is_the_published_algorithm(activation):
    drawn = drawn_network(activation, (10, 12, 12, 5))
    found = factors(INITIALIZERS.make("metainit(steps=12, lr=0.05)").adapt, drawn, batch_of(3)[0])
    assert found == pytest.approx(published_metainit(drawn, 10, 12, 0.05, 0.9), rel=1e-9)
    assert len({round(abs(factor - 1), 3) for factor in found}) > 1


def test_metainit_looks_at_no_data():
    drawn, adapt = drawn_network(), INITIALIZERS.make("metainit(steps=3)").adapt
    x, y = batch_of(9)
    assert factors(adapt, drawn, x) == factors(adapt, dataclasses.replace(drawn, labels=y), 100 * x[:4])


def test_metainit_makes_weights_of_a_deep_rectifier_as_large_as_hes():
    """From 1/fan_in, where each layer halves the signal."""
    depth, width = 15, 40
    drawn = drawn_network("relu", (width,) * (depth + 1))
    found = factors(INITIALIZERS.make("metainit").adapt, drawn, torch.zeros(1, width).double())
    middle = [factor**2 for factor in found[1:10]]
    assert 1.25 < math.exp(sum(map(math.log, middle)) / len(middle)) < 2.2


@pytest.mark.parametrize(("activation", "gain", "critical"), [("relu", 4.0, 2.0), ("tanh", 3.0, 1.0)])
def test_metainit_takes_too_large_weights_back_to_where_depth_does_not_explode(activation, gain, critical):
    depth, width = 10, 20
    drawn = drawn_network(activation, (width,) * (depth + 1), gain)
    found = factors(INITIALIZERS.make("metainit(steps=60)").adapt, drawn, torch.zeros(1, width).double())
    x, y = batch_of(64, width, width)
    before, after = (float(learned.gradient_quotient(drawn, scales.requires_grad_(), x, y).detach())
                     for scales in (torch.ones(depth).double(), torch.tensor(found).double()))  # fmt: skip
    assert after < before / 10
    # the geometric mean of fan_in Var(w) over the layers
    reached = gain * math.exp(2 * sum(map(math.log, found)) / depth)
    assert critical / 4 < reached < 1.3 * critical


def test_a_norm_that_would_fall_to_zero_stays():
    drawn = drawn_network(widths=(3, 2, 2))
    found = factors(INITIALIZERS.make("metainit(steps=5, lr=50)").adapt, drawn, torch.zeros(1, 3).double())
    assert min(found) > 0


# --- gradinit ------------------------------------------------------------------------------------------------------


def published_gradinit(drawn, batch, labels, steps, lr=0.01, eta=0.1, gamma=1.0, smallest=0.01):
    """Algorithm 1 as the authors' code has it: gradients formed, an Adam of floats for each layer."""
    source = generator(drawn.seed, "gradinit", *batch.shape, len(drawn.weights[-1]))
    scales = [1.0] * len(drawn.weights)
    state = [{"steps": [0, 0], "first": [0.0, 0.0], "second": 0.0} for _ in scales]
    constrained = 0
    for _ in range(steps):
        order = torch.randperm(len(batch), generator=source)
        third = len(batch) // 3
        first, second = order[: 2 * third], order[third:]
        weights = fresh([scale * weight for scale, weight in zip(scales, drawn.weights, strict=True)])
        biases = fresh(drawn.biases)
        loss = F.cross_entropy(outputs_of(drawn, weights, biases, batch[first]), labels[first])
        g = grad(loss, [*weights, *biases], create_graph=True)
        norm = sum(part.square().sum() for part in g).sqrt()
        if steep := float(norm.detach()) > gamma:
            slopes = grad(norm, weights)
        else:
            moved = [part - (eta * slope / norm).data for part, slope in zip([*weights, *biases], g, strict=True)]
            after = outputs_of(drawn, moved[: len(weights)], moved[len(weights) :], batch[second])
            slopes = grad(F.cross_entropy(after, labels[second]) / eta, weights)
        constrained += steep
        for number, own in enumerate(state):
            slope = float((slopes[number] * drawn.weights[number]).sum())
            slope = max(min(slope, 1.0), -1.0)
            own["steps"][steep] += 1
            own["first"][steep] = 0.9 * own["first"][steep] + 0.1 * slope
            own["second"] = 0.999 * own["second"] + 0.001 * slope**2
            mean = own["first"][steep] / (1 - 0.9 ** own["steps"][steep])
            size = math.sqrt(own["second"] / (1 - 0.999 ** sum(own["steps"])))
            scales[number] = max(scales[number] - lr * mean / (size + 1e-8), smallest)
    return scales, constrained


@pytest.mark.parametrize(("activation", "gain", "gamma"), [("tanh", 3.0, 0.7), ("relu", 5.0, 1.5), ("relu", 2.0, 9.0)])
def test_gradinit_is_the_published_algorithm(activation, gain, gamma):
    x, y = batch_of(30)
    drawn = drawn_network(activation, (10, 12, 12, 5), gain, labels=y)
    found = factors(INITIALIZERS.make(f"gradinit(steps=30, lr=0.03, gamma={gamma})").adapt, drawn, x)
    twin, constrained = published_gradinit(drawn, x, y, 30, lr=0.03, gamma=gamma)
    assert found == pytest.approx(twin, rel=1e-9)
    assert constrained < 30
    assert (constrained > 0) == (gamma < 9)


def loss_after_an_update(drawn, scales, x, y, eta=0.1):
    weights = fresh([scale * weight for scale, weight in zip(scales, drawn.weights, strict=True)])
    g = grad(F.cross_entropy(outputs_of(drawn, weights, drawn.biases, x), y), weights)
    norm = sum(part.square().sum() for part in g).sqrt()
    moved = [weight - eta * slope / norm for weight, slope in zip(weights, g, strict=True)]
    return float(F.cross_entropy(outputs_of(drawn, moved, drawn.biases, x), y).detach())


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("tanh", 0.2)])
def test_gradinit_lowers_the_loss_after_one_update(activation, gain):
    x, y = batch_of(120)
    drawn = drawn_network(activation, gain=gain, labels=y)
    found = factors(INITIALIZERS.make("gradinit(steps=150)").adapt, drawn, x)
    assert loss_after_an_update(drawn, found, x, y) < loss_after_an_update(drawn, [1.0] * 4, x, y) - 0.01


def test_gradinit_brings_a_gradient_that_is_too_steep_within_its_bound():
    x, y = batch_of(90)
    drawn = drawn_network("relu", gain=8.0, labels=y)
    found = factors(INITIALIZERS.make("gradinit(steps=150)").adapt, drawn, x)
    norms = [learned.first_update(drawn, torch.tensor(scales).double().requires_grad_(), [(x, y)] * 2, 0.1)[0].item()
             for scales in ([1.0] * 4, found)]  # fmt: skip
    assert norms[0] > 3
    assert norms[1] < 1.3


def test_no_scale_falls_below_the_smallest():
    x, y = batch_of(30)
    found = factors(INITIALIZERS.make("gradinit(steps=60, lr=0.2, smallest=0.7)").adapt,
                    drawn_network("relu", gain=8.0, labels=y), x)  # fmt: skip
    assert min(found) == 0.7


# --- in networks that are measured and trained ---------------------------------------------------------------------

SHORT = ["metainit(steps=4)", "gradinit(steps=10, lr=0.05)"]
TRAINED = Cell(depth=2, width=12, batch_size=16, steps=30, record_every=10, lr=0.05, seed=SEED)


def some_split(permuted=False):
    source = torch.Generator().manual_seed(0)
    x = torch.rand(600, 20, generator=source)
    y = (x @ torch.randn(20, 4, generator=source)).argmax(1)
    labels = y[torch.randperm(300, generator=source)] if permuted else y[:300]
    data = Data(x[:300], labels, x[300:], y[300:], shape=(1, 4, 5), classes=4)
    return split(data, TRAINED.normalization, TRAINED.validation, TRAINED.order_seed).to(
        torch.device("cpu"), torch.float64
    )


@pytest.mark.parametrize("change", [{}, {"residual": True}, {"batch_norm": True}, {"depth": 4, "residual": 2},
                                    {"loss": "mean_squared_error"}])  # fmt: skip
@pytest.mark.parametrize("init", SHORT)
def test_the_stack_trains_them_as_the_plain_loop_does(init, change):
    data, cell = some_split(), dataclasses.replace(TRAINED, init=init, **change)
    (outcome,), twin = train([cell], data), reference.train(cell, data)
    assert [outcome.metrics[name] for name in METRICS] == pytest.approx([twin[name] for name in METRICS], rel=1e-9)


def start(cell, data):
    model = reference.MLP(cell, 20, 4, data.train.images, data.train.labels)
    return model.hidden[0].weight.detach()


@pytest.mark.parametrize(("init", "looks"), [(SHORT[0], False), (SHORT[1], True)])
def test_labels_count_for_gradinit_alone(init, looks):
    cell = dataclasses.replace(TRAINED, init=init, steps=1)
    assert torch.equal(start(cell, some_split()), start(cell, some_split(permuted=True))) is not looks


def test_gradinit_minimizes_the_loss_that_is_trained():
    cell, data = dataclasses.replace(TRAINED, init=SHORT[1], steps=1), some_split()
    other = dataclasses.replace(cell, loss="mean_squared_error")
    assert "mean_squared_error" in LOSSES
    assert not torch.equal(start(cell, data), start(other, data))


@pytest.mark.parametrize("init", SHORT)
def test_neighbours_and_threads_do_not_matter(init):
    network = {"activation": "tanh", "depth": 3, "width": 16, "seeds": 2, "batch": 12}
    alone = propagate(init=init, **network).weight_variance
    together = propagate(init=["he_normal", init], **network)
    assert together[together.init == INITIALIZERS.canonical(init)].weight_variance.tolist() == alone.tolist()
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - threads if threads < 3 else 1)
    try:
        assert propagate(init=init, **network).weight_variance.tolist() == pytest.approx(alone.tolist(), rel=1e-9)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("init", SHORT)
def test_jacobians_are_of_the_networks_that_are_measured(init):
    """A linear network: what a layer does to vectors at random squares to the sum of its weights' squares."""
    network = {"init": init, "activation": "identity", "depth": 3, "width": 24, "seeds": 2, "batch": 16}
    found, layers = jacobian(**network), propagate(**network)
    squares = found[found.scope == "layer"].squared_singular_value.to_numpy()
    assert squares == pytest.approx(24 * layers.weight_variance.to_numpy(), rel=1e-2)


def test_theory_does_not_call_them_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = [part for init in SHORT for part in ("--init", init)]
    done = CliRunner().invoke(main, ["variance", *asked, "--activation", "relu", "--activation", "tanh", "--depth", "4",
                                     "--width", "32", "--seeds", "8", "--batch", "32", "--no-figures", "--format",
                                     "csv"])  # fmt: skip
    assert done.exit_code == 0, done.output
    table = pd.read_csv(io.StringIO(done.stdout))
    assert len(table) >= 4
    assert set(table.agreement) <= {"consistent", "finite-width bias"}


@pytest.mark.parametrize(("spec", "message"), [
    ("metainit(steps=0)", "metainit: steps must be at least 1, not 0"),
    ("metainit(lr=0)", "metainit: lr must be above 0, not 0"),
    ("metainit(momentum=1)", "metainit: momentum must be at least 0 and below 1, not 1"),
    ("gradinit(steps=-1)", "gradinit: steps must be at least 1, not -1"),
    ("gradinit(eta=0)", "gradinit: eta, gamma and smallest must be above 0"),
])  # fmt: skip
def test_what_cannot_be_learned_with_is_refused_in_one_line(spec, message):
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make(spec)
    assert str(caught.value) == message
