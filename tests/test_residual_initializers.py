"""Fixup, SkipInit and ReZero: residual branches of one layer and of two, and the scalars that multiply them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from initbench import reference
from initbench.activations import ACTIVATIONS
from initbench.analysis.results import Results
from initbench.api import predict, propagate
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Layer, Network
from initbench.datasets import DATASETS
from initbench.engine.training.network import StackedMLP
from initbench.engine.training.trainer import train
from initbench.grid.factors import levels
from initbench.grid.landscape import landscape_work
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training
from initbench.grid.training_plan import identity, plan_training
from initbench.initializers import INITIALIZERS, Setting
from initbench.recipe.samples import split

CPU = torch.device("cpu")
FEATURES, WIDTH, CLASSES = 20, 12, 4
DIGITS = DATASETS.make("digits").load(None, False)
SCALED = ["skipinit", "rezero", "fixup"]
BASE = Cell(depth=5, width=WIDTH, residual=2, seed=3)


def images(count=9, features=FEATURES):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def stack(*cells):
    return StackedMLP(cells, FEATURES, CLASSES, CPU, torch.float64)


def plain(init, **change):
    return reference.MLP(dataclasses.replace(BASE, init=init, **change), FEATURES, CLASSES).double()


def digits(dtype=torch.float64):
    return split(DIGITS, "standardize", 0.2, 0).to(CPU, dtype)


# --- branches ------------------------------------------------------------------------------------------------------


class BasicBlock(nn.Module):
    """The residual block of He et al. 2016, fig. 2, with the multiplier of Zhang et al. 2019, fig. 1."""

    def __init__(self, first, second, scale, phi):
        super().__init__()
        self.first, self.second, self.scale, self.phi = first, second, nn.Parameter(scale), phi

    def forward(self, x):
        return self.phi(x + self.scale * self.second(self.phi(self.first(x))))


class OneLayer(nn.Module):
    """Bachlechner et al. 2021, eq. 1, F a layer."""

    def __init__(self, layer, scale, phi):
        super().__init__()
        self.layer, self.scale, self.phi = layer, nn.Parameter(scale), phi

    def forward(self, x):
        return x + self.scale * self.phi(self.layer(x))


def published(network, number, residual, phi):
    """Model `number` of a stack, of torch's own layers."""
    layers = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        layer = nn.Linear(weight.shape[2], weight.shape[1]).double()
        layer.weight.data, layer.bias.data = weight[number].detach().clone(), bias[number].detach().clone()
        layers.append(layer)
    first, *within, last = layers
    scales = [scale[number].detach().clone() for scale in network.branch_scales]
    if residual == 2:
        blocks = [BasicBlock(*pair, s, phi) for *pair, s in zip(within[::2], within[1::2], scales, strict=True)]
    else:
        blocks = [OneLayer(layer, scale, phi) for layer, scale in zip(within, scales, strict=True)]
    return nn.Sequential(first, nn.Tanh(), *blocks, last), blocks


@pytest.mark.parametrize("residual", [True, 2])
def test_branches_are_the_published_ones(residual):
    """Outputs, and gradients of the scalars, of networks whose scalars are not at their start."""
    cell = dataclasses.replace(BASE, activation="tanh", residual=residual, init="skipinit", bias_variance=0.1)
    network, x = stack(cell, dataclasses.replace(cell, seed=4)), images()
    for place, scale in enumerate(network.branch_scales):
        scale.data.copy_(torch.tensor([[0.3 + place], [-0.7]]))
    outputs = network(x)
    gradients = torch.autograd.grad(outputs.square().sum(), network.branch_scales)
    for number in (0, 1):
        twin, blocks = published(network, number, residual, torch.tanh)
        torch.testing.assert_close(outputs[number].t(), twin(x), rtol=1e-12, atol=1e-12)
        twin(x).square().sum().backward()
        for gradient, block in zip(gradients, blocks, strict=True):
            torch.testing.assert_close(gradient[number], block.scale.grad, rtol=1e-10, atol=1e-12)


def test_places_in_branches_by_hand():
    """Of one layer: each as wide as its input, but the output; of two: pairs after the first layer."""
    square = (12, 12, 12, 12, 12, 12)
    assert Network(square, output=True, residual=1).places == [1, 1, 1, 1, 0]
    assert Network((20, 12, 12, 12, 12), residual=1).places == [0, 1, 1, 1]
    assert Network((*square, 12), output=True, residual=2).places == [0, 1, 2, 1, 2, 0]
    assert Network(square).places == [0] * 5
    assert [Network(square, residual=length).branches for length in (0, 1, 2)] == [0, 5, 2]


def test_dropout_is_within_a_branch_of_two_layers_and_not_on_the_trunk():
    """A branch times 0 hides its dropout: what is left is the first layer's."""
    model = plain("rezero", regularizers=(("dropout", 0.5),))
    seen = []
    for layer in (*model.hidden, model.output):
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.train()(images())
    assert (seen[1] == 0).double().mean() > 0.6  # half by the rectifier
    assert all(torch.equal(trunk, seen[1]) for trunk in seen[3::2])
    assert (seen[2] == 0).double().mean() > 0.6


def test_weights_that_look_at_data_see_branches_of_two_layers():
    """By hooks: each layer of lsuv has pre-activations of standard deviation 1."""
    x = images(50).float()
    model = reference.MLP(dataclasses.replace(BASE, init="lsuv"), FEATURES, CLASSES, x).double()
    found = []
    for layer in (*model.hidden, model.output):
        layer.register_forward_hook(lambda _, given, z: found.append(float(z.detach().std(correction=0))))
    model(x.double())
    np.testing.assert_allclose(found, 1, rtol=1e-5)


# --- the start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["skipinit", "rezero"])
@pytest.mark.parametrize(("residual", "activation"), [*((True, entry.name) for entry in ACTIVATIONS), (2, "relu")])
def test_each_block_begins_as_the_identity(init, residual, activation):
    model = plain(init, residual=residual, activation=activation, bias_variance=0.3)
    seen = []
    for layer in (*model.hidden, model.output):
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(images())
    blocks = seen[1 :: int(residual)]
    assert len(blocks) == (5 if residual == 1 else 3)
    assert all(torch.equal(given, blocks[0]) for given in blocks)


@pytest.mark.parametrize(("init", "start"), [("skipinit", 0.0), ("skipinit(start=0.3)", 0.3), ("rezero", 0.0),
                                             ("fixup", 1.0)])  # fmt: skip
def test_every_branch_has_a_scalar_that_starts_as_published(init, start):
    assert [scale.tolist() for scale in plain(init).branch_scales] == [[start]] * 2
    assert [scale.tolist() for scale in stack(dataclasses.replace(BASE, init=init)).branch_scales] == [[[start]]] * 2
    assert len(plain("he_normal").branch_scales) == 0


@pytest.mark.parametrize("init", ["skipinit", "rezero"])
def test_their_weights_are_hes_draws(init):
    mine, he = (plain(name, bias_variance=0.1) for name in (init, "he_normal"))
    for layer, twin in zip([*mine.hidden, mine.output], [*he.hidden, he.output], strict=True):
        assert torch.equal(layer.weight, twin.weight)
        assert torch.equal(layer.bias, twin.bias)


@pytest.mark.parametrize("branches", [1, 2, 8])
def test_fixup_by_its_rules(branches):
    """Zhang et al. 2019, sec. 3, m = 2: the classifier and each branch's last layer 0, others of it He's / sqrt(L)."""
    change = {"depth": 1 + 2 * branches, "bias_variance": 0.3}
    mine, he = (plain(init, **change) for init in ("fixup", "he_normal"))
    first, *within = zip(mine.hidden, he.hidden, strict=True)
    assert torch.equal(first[0].weight, first[1].weight)
    for layer, twin in within[::2]:
        torch.testing.assert_close(layer.weight, twin.weight / math.sqrt(branches), rtol=3e-7, atol=0)
    assert not any(layer.weight.any() for layer in [*(layer for layer, _ in within[1::2]), mine.output])
    assert not any(layer.bias.any() for layer in [*mine.hidden, mine.output])


def test_fixups_exponent_in_longer_branches():
    """L^(-1/(2m - 2)): 16 branches of 3 layers, Var(w) is He's / 4."""
    setting = Setting(Layer(2, 50, 50), ACTIVATIONS.make("relu"), branches=16, branch_layers=3, place_in_branch=2)
    assert INITIALIZERS.make("fixup").promise(setting).variance == pytest.approx(2 / 50 / 4, rel=1e-12)


# --- training ------------------------------------------------------------------------------------------------------


def change_of_function(init, branches, steps, lr):
    """Of the outputs for 64 images, by so many updates of plain gradient descent: root mean square over lr."""
    data, seen = digits(), {}
    x = data.train.images[:64]

    def watch(step, model):
        with torch.no_grad():
            seen[step] = model.eval()(x)

    cell = Cell(init=init, depth=1 + 2 * branches, width=24, residual=2, lr=lr, steps=steps)
    reference.train(cell, data, watch)
    return float((seen[steps] - seen[0]).square().mean().sqrt() / lr)


def test_an_update_of_fixup_changes_the_function_by_about_lr_whatever_the_depth():
    """From 2 to 32 branches: to a tenth, after 15 updates that move all layers; He's grows by 10^50 in one."""
    fixup = [change_of_function("fixup", branches, 15, 0.05) for branches in (2, 8, 32)]
    he = [change_of_function("he_normal", branches, 1, 0.05) for branches in (2, 8, 32)]
    assert max(fixup) < 1.1 * min(fixup)
    assert 1 < fixup[0] < 100
    assert he[1] > 100 * he[0]
    assert he[2] > 1e50 * he[1]


def outcomes(inits, **change):
    cell = Cell(**{"depth": 65, "width": 24, "steps": 120, "batch_size": 64, "seed": 1} | change)
    return train([dataclasses.replace(cell, init=init) for init in inits], digits(torch.float32))


def test_at_depth_65_he_diverges_and_these_train():
    deep = {"residual": 2, "lr": 0.05}
    (he,) = outcomes(["he_normal"], **deep)
    assert (he.status, he.diverged_at) == ("diverged", 2)
    for found in outcomes(SCALED, **deep):
        assert found.status == "finished"
        assert found.metrics["test_accuracy"] > 0.7


def test_branches_of_one_layer_train_at_depth_65_by_rezero_alone():
    single = {"residual": True, "lr": 0.02}
    (he,), (rezero,) = outcomes(["he_normal"], **single), outcomes(["rezero"], **single)
    assert he.status == "diverged"
    assert rezero.metrics["test_accuracy"] > 0.7


def test_scalars_are_trained_and_decay_as_other_parameters_do():
    """One step of SGD by hand: s - lr (gradient + decay s)."""
    cell = dataclasses.replace(BASE, init="skipinit(start=0.5)", lr=0.1, weight_decay=0.2, steps=1, batch_size=0)
    data, seen = digits(), []
    reference.train(cell, data, lambda step, model: seen.append([float(s.detach()) for s in model.branch_scales]))
    model = reference.MLP(cell, 64, 10).double()
    nn.functional.cross_entropy(model(data.train.images), data.train.labels).backward()
    by_hand = [0.5 - 0.1 * (float(scale.grad) + 0.2 * 0.5) for scale in model.branch_scales]
    assert seen[0] == [0.5, 0.5]
    assert seen[1] == pytest.approx(by_hand, rel=1e-9)


def test_neighbours_with_scalars_do_not_matter():
    cells = [dataclasses.replace(BASE, init=init, steps=30, lr=0.05) for init in ("skipinit(start=0.5)", *SCALED)]
    data = digits()
    together = train(cells, data)
    for cell, found in zip(cells, together, strict=True):
        (alone,) = train([cell], data)
        assert found.metrics == pytest.approx(alone.metrics, rel=1e-10)


def test_networks_with_and_without_scalars_share_no_stack():
    cells = [dataclasses.replace(BASE, init=init, lr=lr) for init in ("he_normal", *SCALED) for lr in (0.1, 0.2, 0.3)]
    stacks = plan_training(cells, {"digits": DIGITS}).stacks
    assert sorted(map(len, stacks)) == [3, 9]
    with pytest.raises(ValueError, match="must all have trained scalars on residual branches, or none"):
        stack(cells[0], cells[-1])


# --- the factor ----------------------------------------------------------------------------------------------------


def test_levels_of_the_factor():
    """0 and 1 are what false and true were, so that ids stay."""
    found = levels("residual", [0, 1, 2, False, True], "residual")
    assert [repr(level) for level in found] == ["False", "True", "2"]
    ids = [identity(Cell(residual=level)) for level in found]
    assert ids[:2] == [identity(Cell()), identity(Cell(residual=True))]
    assert len(set(ids)) == 3
    with pytest.raises(UsageError) as caught:
        levels("residual", [3], "compare.residual")
    assert str(caught.value) == "compare.residual: input should be False, True or 2, not 3"


@pytest.mark.parametrize(("given", "stored", "kind"), [([False, True], [False, True], "bool"),
                                                       ([False, True, 2], [0, 1, 2], "int64")])  # fmt: skip
def test_tables_hold_every_level(tmp_path, given, stored, kind):
    study = Study(question="?", compare={"residual": given}, fix={"depth": 3, "width": 8, "steps": 2})
    run_training(prepare(study, device="cpu"), tmp_path / "out")
    column = Results(tmp_path / "out").runs.residual
    assert column.tolist() == stored
    assert column.dtype == kind


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": "rezero", "residual": False}, "rezero needs residual branches; set residual"),
        ({"init": "skipinit", "residual": False}, "skipinit needs residual branches; set residual"),
        ({"init": "rezero", "depth": 1}, "rezero needs residual branches; depth 1 has none"),
        ({"init": "fixup", "residual": False}, "fixup needs residual branches of 2 layers; set residual = 2"),
        ({"init": "fixup", "residual": True}, "fixup needs residual branches of 2 layers; set residual = 2"),
        ({"depth": 4}, "branches of 2 layers follow the first layer: depth 4 leaves 1 over; give 3 or 5"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(change, message):
    cell = dataclasses.replace(BASE, **change)
    plan = plan_training([cell, BASE], {"digits": DIGITS})
    assert plan.impossible == {cell: message}


@pytest.mark.parametrize("depth", [0, 1])
def test_a_network_without_branches_may_have_the_factor(depth):
    assert not plan_training([dataclasses.replace(BASE, depth=depth)], {"digits": DIGITS}).impossible


@pytest.mark.parametrize("init", SCALED)
def test_a_layer_alone_has_no_branch(init):
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make(init).alone(Setting(Layer(1, 4, 4), ACTIVATIONS.make("relu")))
    assert str(caught.value) == f"{init} is for residual branches, of which a layer alone tells nothing"


def test_a_landscape_is_of_one_set_of_parameters():
    study = {"question": "?", "compare": {"init": ["he", "rezero"]}, "fix": {"residual": True, "depth": 3}}
    with pytest.raises(UsageError) as caught:
        landscape_work(study, {"data_root": None, "download": False, "device": "cpu"})
    assert str(caught.value) == (
        "a landscape is of one set of parameters: initializers that scale residual branches have one of their own"
    )


# --- without branches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", SCALED)
def test_without_branches_each_is_measured_and_predicted_as_he(init):
    network = {"activation": "relu", "depth": 4, "width": 32}
    for work, more in ((propagate, {"seeds": 2, "batch": 8}), (predict, {})):
        mine, he = (work(init=name, **network, **more).drop(columns="init") for name in (init, "he_normal"))
        assert mine.equals(he)
