"""LSUV: held to one written with plain modules and hooks, in measuring, in training and in theory."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from initbench import audit, jacobian, predict, propagate, reference
from initbench.activations import ACTIVATIONS
from initbench.analysis.verdicts import failures, verdicts
from initbench.cli import main
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import InputMoments, Network
from initbench.datasets import Data
from initbench.engine import jacobian as engine_jacobian
from initbench.engine.propagate import propagate as measured
from initbench.engine.stack import Stack, draw_biases, draw_weights, member
from initbench.engine.training.network import StackedMLP
from initbench.engine.training.trainer import METRICS, train
from initbench.grid.plan import plan
from initbench.grid.residuals import residuals
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import open_inputs, resolve
from initbench.initializers import INITIALIZERS
from initbench.initializers.adaptation import Drawn, factors
from initbench.initializers.bases import ORTHOGONAL, parameters
from initbench.recipe.samples import split

CPU = torch.device("cpu")
LSUV = INITIALIZERS.make("lsuv")
SEED = 3


@torch.no_grad()
def lsuv(network, batch, tolerance=1e-12, most=10):
    """Algorithm 1 of Mishkin & Matas 2016 for any module: a layer's output, seen by a hook, is made of variance 1."""
    for layer in [module for module in network.modules() if isinstance(module, nn.Linear)]:
        seen = []
        hook = layer.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        for _ in range(most):
            seen.clear()
            network(batch)
            variance = float(seen[0].var(correction=0))
            if abs(variance - 1) < tolerance:
                break
            layer.weight.data /= math.sqrt(variance)
        hook.remove()
    return network


class Elementwise(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.function = ACTIVATIONS.make(activation).function

    def forward(self, z):
        return self.function(z)


def plain(activation, widths, batch, seed=SEED):
    """A plain network on the orthonormal draws of this seed, adapted."""
    layers = []
    for place in Network(tuple(widths)).layers:
        layer = nn.Linear(place.fan_in, place.fan_out).double()
        layer.weight.data.copy_(ORTHOGONAL.weights(place, seed))
        layer.bias.data.zero_()
        layers += [layer, Elementwise(activation)]
    return lsuv(nn.Sequential(*layers), batch)


def weights_of(network):
    return [layer.weight.detach() for layer in network if isinstance(layer, nn.Linear)]


def batch_of(samples, features, seed=0):
    return torch.randn(samples, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows_of(inits, activation, widths, inputs, seed=SEED):
    """The rows of a stack of these initializers."""
    phi, network = ACTIVATIONS.make(activation), Network(tuple(widths))
    made = [INITIALIZERS.make(init) for init in inits]
    members = tuple(member(init, init.promises(phi, network), seed) for init in made)
    draws = {m.source: draw_weights(m.basis, network, seed, CPU) for m in members}
    return measured(Stack(phi, network, members), draws, {seed: inputs})


# --- measuring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [entry.name for entry in ACTIVATIONS])
def test_a_measured_network_is_that_of_plain_modules_and_hooks(activation):
    widths, inputs = (12, 20, 7, 16), batch_of(9, 12)
    network = plain(activation, widths, inputs)
    (rows,) = rows_of(["lsuv"], activation, widths, inputs)
    h = inputs
    with torch.no_grad():
        for row, (linear, phi) in zip(rows, zip(network[::2], network[1::2], strict=True), strict=True):
            z = linear(h)
            h = phi(z)
            assert row["z_variance"] == pytest.approx(1, rel=1e-9)
            assert row["z_second_moment"] == pytest.approx(float(z.square().mean()), rel=1e-9)
            assert row["a_second_moment"] == pytest.approx(float(h.square().mean()), rel=1e-9)
            # the draw's variance is summed up in float32
            assert row["weight_variance"] == pytest.approx(float(linear.weight.var(correction=0)), rel=1e-6)


def test_neighbours_do_not_matter_bit_for_bit():
    widths, inputs = (16, 16, 16, 16), batch_of(10, 16).float()
    (alone,) = rows_of(["lsuv"], "tanh", widths, inputs)
    together = rows_of(["orthogonal", "lsuv", "scaled_orthogonal"], "tanh", widths, inputs)[1]
    assert [row["weight_variance"] for row in alone] == [row["weight_variance"] for row in together]


def test_float32_adapts_as_float64():
    widths, inputs = (30,) * 6, batch_of(20, 30).float()
    (coarse,), (fine,) = (rows_of(["lsuv"], "relu", widths, x) for x in (inputs, inputs.double()))
    assert [row["weight_variance"] for row in coarse] == [row["weight_variance"] for row in fine]


def test_a_signal_that_float32_does_not_resolve_is_adapted_once():
    """Sigmoid: inputs become one, and the network runs again in float64."""
    widths, inputs = (64,) * 14, batch_of(16, 64)
    (coarse,), (fine,) = (rows_of(["lsuv"], "sigmoid", widths, x) for x in (inputs.float(), inputs.float().double()))
    for row, twin in zip(coarse, fine, strict=True):
        assert row["z_variance"] == pytest.approx(1, rel=1e-4)
        assert row["weight_variance"] == pytest.approx(twin["weight_variance"], rel=1e-12)


def test_a_layer_in_which_nothing_varies_keeps_its_weights():
    """A rectifier behind it gives 0 for good: the layers after it are kept, too."""
    weights = [torch.eye(3, dtype=torch.float64), -torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 2).double()]
    drawn = Drawn(ACTIVATIONS.make("relu"), weights, [torch.zeros(len(weight)).double() for weight in weights])
    x = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 6.0]]).double()
    first, second, third = factors(LSUV.adapt, drawn, x)
    assert first == pytest.approx(1 / np.std([1, 2, 3, 0, 0, 6]), rel=1e-12)
    assert (second, third) == (1, 1)  # each input's sum is the same, and then all are 0


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_jacobian_is_that_of_the_adapted_network(activation):
    phi, widths, batch = ACTIVATIONS.make(activation), (10, 14, 12), batch_of(8, 10)
    drawn = engine_jacobian.draw(LSUV, LSUV.promises(phi, Network(widths)), phi, SEED, CPU, batch=batch)
    for mine, twin in zip(drawn.weights, weights_of(plain(activation, widths, batch)), strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-9, atol=0)


def test_jacobians_of_a_study_are_of_networks_that_saw_its_batch():
    """A linear network of orthogonal layers: each squares to 1/(fan_in Var), so that the whole has |x|² = n."""
    found = jacobian(init="lsuv", activation="identity", depth=3, width=24, seeds=2, batch=16, spectrum=True)
    layers = propagate(init="lsuv", activation="identity", depth=3, width=24, seeds=2, batch=16)
    whole = found[found.scope == "network"].squared_singular_value.to_numpy()
    squares = (24 * layers.weight_variance).groupby(layers.seed).prod().to_numpy()
    np.testing.assert_allclose(whole, squares, rtol=5e-3)  # weight_variance is without the mean's square


# --- training ------------------------------------------------------------------------------------------------------

TRAINED = Cell(depth=2, width=12, batch_size=16, steps=100, record_every=25, lr=0.05, seed=SEED, init="lsuv")


def some_split(images=300, features=20, classes=4, dtype=torch.float64):
    drawn = torch.Generator().manual_seed(0)
    x = torch.rand(2 * images, features, generator=drawn)
    y = (x @ torch.randn(features, classes, generator=drawn)).argmax(1)
    data = Data(x[:images], y[:images], x[images:], y[images:], shape=(1, 4, 5), classes=classes)
    return split(data, TRAINED.normalization, TRAINED.validation, TRAINED.order_seed).to(CPU, dtype)


CHANGES = [{}, {"residual": True}, {"batch_norm": True}, {"residual": True, "batch_norm": True}, {"depth": 4},
           {"activation": "gelu"}, {"width": 20, "residual": True}, {"bias_variance": 0.3}, {"depth": 0}]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_trained_network_starts_as_plain_modules_and_hooks_have_it(change):
    """By hooks on a twin whose weights were orthonormal; the first 256 images of the training split."""
    cell, data = dataclasses.replace(TRAINED, **change), some_split()
    images = data.train.images
    assert len(images) < 256 or len(images) == 240
    mine = reference.MLP(cell, 20, data.classes, images).double()
    twin = reference.MLP(dataclasses.replace(cell, init="orthogonal"), 20, data.classes).double()
    for layer in [*twin.hidden, twin.output]:
        layer.bias.data.zero_()
    order = [*twin.hidden, twin.output]
    for number, layer in enumerate(order):
        seen = []
        hook = layer.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        with torch.no_grad():
            twin.train()(images)
        hook.remove()
        layer.weight.data /= seen[0].std(correction=0)
        own = [*mine.hidden, mine.output][number].weight
        torch.testing.assert_close(own, layer.weight, rtol=1e-5, atol=1e-7)  # weights are made in float32
        assert not [*mine.hidden, mine.output][number].bias.any()


@pytest.mark.parametrize("change", CHANGES)
def test_the_stack_trains_it_as_the_plain_loop_does(change):
    data = some_split()
    cells = [dataclasses.replace(TRAINED, **change, init=init) for init in ("lsuv", "he_normal", "zeros")]
    for cell, outcome in zip(cells, train(cells, data), strict=True):
        twin = reference.train(cell, data)
        assert [outcome.metrics[name] for name in METRICS] == pytest.approx(
            [twin[name] for name in METRICS], rel=1e-9, abs=1e-9, nan_ok=True)  # fmt: skip


def test_only_the_first_256_images_of_the_training_split_are_looked_at():
    images = some_split(images=600).train.images
    assert len(images) > 256
    later = images.clone()
    later[256:] += 5
    first, same = (StackedMLP([TRAINED], 20, 4, CPU, torch.float64, images=seen).weights for seen in (images, later))
    later[255] += 5
    changed = StackedMLP([TRAINED], 20, 4, CPU, torch.float64, images=later).weights
    assert all(torch.equal(one, other) for one, other in zip(first, same, strict=True))
    assert not torch.equal(first[0], changed[0])


def test_learning_rates_beside_each_other_start_from_the_same_weights_as_alone():
    images = some_split().train.images
    cells = [dataclasses.replace(TRAINED, lr=lr, seed=seed) for lr in (0.1, 0.01) for seed in (0, 1)]
    stack = StackedMLP(cells, 20, 4, CPU, torch.float64, images=images).weights
    for number, cell in enumerate(cells):
        alone = StackedMLP([cell], 20, 4, CPU, torch.float64, images=images).weights
        assert all(torch.equal(together[number], one[0]) for together, one in zip(stack, alone, strict=True))


def test_a_network_without_images_is_refused_in_one_line():
    with pytest.raises(UsageError) as caught:
        reference.MLP(TRAINED, 20, 4)
    assert str(caught.value) == "weights that adapt to data cannot be made without any"


# --- the promise, and the verdict ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "sigmoid", "softplus", "sin"])
def test_theory_has_the_variance_that_adaptation_leads_to(activation):
    seeds = 40
    network = {"init": "lsuv", "activation": activation, "widths": [100, 200, 120, 120]}
    rows = propagate(**network, seeds=seeds, batch=64)
    logs = np.log(rows.pivot(index="seed", columns="layer", values="weight_variance"))
    promised = predict(**network, laws="mean_field").weight_variance.to_numpy()
    error = logs.std(ddof=1).to_numpy() / math.sqrt(seeds)
    # E log is off log E by half the variance, and a second moment is 1 + the mean's square: of order 1/n
    np.testing.assert_allclose(logs.mean(), np.log(promised), rtol=0, atol=(4 * error + 3 / 100).max())
    assert predict(**network, laws="mean_field").z_second_moment.to_numpy() == pytest.approx(np.ones(3), rel=1e-9)


def test_the_first_layer_is_promised_for_the_inputs_own_mean_square():
    promises = LSUV.promises(ACTIVATIONS.make("tanh"), Network((50, 40, 40)), input_square=0.2)
    assert promises[0].variance == pytest.approx(1 / (50 * 0.2), rel=1e-15)
    assert [promise.bias_variance for promise in LSUV.promises(ACTIVATIONS.make("tanh"), Network((5, 4), 0.3))] == [0]
    study = resolve(init="lsuv", activation="relu", depth=2, widths=(9, 8, 8))
    table = predictions(study, InputMoments((0.1, 0.3)), "mean_field")
    assert table.weight_variance.tolist() == pytest.approx([1 / (9 * 0.2), 2 / 8], rel=1e-12)


def judged(drawn, promised, activation, seeds, **network):
    """The verdicts on networks of one initializer, held to another's theory."""
    study = resolve(init=drawn, activation=activation, seeds=seeds, **network)
    told = dataclasses.replace(study, init=(promised,))
    inputs = open_inputs(study)
    planned = plan(study)
    layers = pd.concat([measure(planned, inputs, part, CPU)["layers"] for part in planned.parts])
    layers = layers.assign(init=promised)
    moments = inputs.moments(study.seeds, study.batch)
    return verdicts(layers, predictions(told, moments), residuals(told, moments, layers))


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
def test_honest_networks_are_not_called_wrong_however_many_there_are(activation):
    table = judged("lsuv", "lsuv", activation, seeds=200, depth=10, width=48, batch=16)
    assert table.agreement.tolist() == ["consistent"] * 2
    assert failures(table) == []


def test_weights_that_do_not_do_what_they_are_scaled_to_are_called_wrong():
    """The same factors on sparse Gaussian weights in place of orthonormal ones."""
    table = judged("he_uniform", "lsuv", "identity", seeds=100, depth=10, width=48, batch=16)
    assert "wrong" in table.agreement.tolist()


def test_finite_width_says_that_it_has_no_spread_to_tell():
    table = predict(init=["lsuv", "orthogonal"], activation="tanh", depth=3, width=20, laws="finite_width")
    mine, other = table[table.init == "lsuv"], table[table.init == "orthogonal"]
    assert mine.z_second_moment.isna().all()
    assert mine.z_second_moment_sd.isna().all()
    assert set(mine.note) == {
        "weights that adapt to data take out again what their draws add to each layer: no random walk"}  # fmt: skip
    assert other.z_second_moment_sd.notna().all()


# --- what is told --------------------------------------------------------------------------------------------------


def test_show_says_that_it_depends_on_data_and_on_which():
    lines = CliRunner().invoke(main, ["show", "lsuv"]).output.splitlines()
    assert lines[-1] == (
        "  data       its weights adapt to the batch that is measured, in training to the first 256 images of the"
        " training split")  # fmt: skip
    assert not any(line.startswith("  data") for line in CliRunner().invoke(main, ["show", "he"]).output.splitlines())


def test_the_audit_says_why_a_layer_alone_has_no_such_weights():
    row = audit(init="lsuv", fan_in=20, fan_out=10, seeds=1).iloc[-1]
    assert row.note == "lsuv adapts its weights to data, which a layer alone has none of"
    assert np.isnan(row.variance)


def test_biases_are_zero_whatever_the_networks_variance():
    promises = LSUV.promises(ACTIVATIONS.make("tanh"), Network((8, 8, 8), 0.5))
    assert not any(parameters(LSUV, promise, SEED)[1].any() for promise in promises)
    assert draw_biases(ORTHOGONAL, Network((8, 8)), SEED)[0].any()  # which are there to be drawn
