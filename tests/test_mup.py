"""mup: held to the authors' package mup, in variances, learning rates and training; and what it is for."""

import dataclasses
import itertools
import math

import mup
import pytest
import torch
from test_training_twin import BASE, check, prepared
from torch import nn

import initbench as ib
from initbench import reference
from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Network, shape_of
from initbench.datasets import DATASETS
from initbench.engine.training.network import StackedMLP
from initbench.engine.training.trainer import train
from initbench.engine.training.updates import Updates
from initbench.initializers import INITIALIZERS
from initbench.recipe import LOSSES, OPTIMIZERS
from initbench.recipe.samples import split

BASE_WIDTH, FEATURES, CLASSES, DEPTH = 64, 20, 4, 3
WIDTHS = [64, 128, 256, 1024]
PACKAGE = {"sgd": mup.MuSGD, "adam": mup.MuAdam, "adamw": mup.MuAdamW}
"""The package's form of an optimizer of the catalogue."""


class Theirs(nn.Module):
    """The MLP of a cell as the package has it: the output layer is its `MuReadout`, which divides by the width."""

    def __init__(self, width, depth=DEPTH, batch_norm=False):
        super().__init__()
        fans = [FEATURES, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(fans))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) if batch_norm else nn.Identity() for _ in self.hidden)
        self.output = mup.MuReadout(fans[-1], CLASSES)

    def forward(self, x):
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            x = norm(linear(x)).relu()
        return self.output(x)

    def layers(self):
        return [*self.hidden, self.output]


def theirs(width, **options):
    """With the package's marks: which dimensions grow with the width, and how many times they have."""
    model = Theirs(width, **options)
    mup.set_base_shapes(model, Theirs(BASE_WIDTH, **options), delta=Theirs(2 * BASE_WIDTH, **options))
    return model.double()


def a_cell(width, **changes):
    return Cell(init=f"mup(base_width={BASE_WIDTH})", depth=DEPTH, width=width, **changes)


def ours(cell):
    return reference.MLP(cell, FEATURES, CLASSES).double()


def layers(model):
    return [*model.hidden, model.output]


def by_parameter(groups):
    """Learning rate and weight decay of each parameter."""
    return {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("width", WIDTHS)
def test_variances_are_the_packages(width):
    cell, model = a_cell(width), theirs(width)
    promises = INITIALIZERS.make(cell.init).promises(ACTIVATIONS.make("relu"), shape_of(cell, FEATURES, CLASSES))
    torch.manual_seed(0)
    for layer, promise in zip(model.layers(), promises, strict=True):
        mup.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        multiplier = 1 / layer.width_mult() if layer is model.output else 1.0
        found = float((multiplier * layer.weight.detach()).var())
        assert found == pytest.approx(promise.variance, rel=5 * math.sqrt(2 / layer.weight.numel()))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("optimizer", PACKAGE)
@pytest.mark.parametrize("width", WIDTHS)
def test_learning_rates_are_the_packages(width, optimizer, batch_norm):
    """Its output weights are ours times n, the width over the base's: of them a step of SGD is n² shorter in ours."""
    cell = a_cell(width, optimizer=optimizer, lr=0.1, weight_decay=0.01, batch_norm=batch_norm)
    model, twin = ours(cell), theirs(width, batch_norm=batch_norm)
    rates = by_parameter(reference.parameter_groups(model, OPTIMIZERS.make(optimizer)))
    published = by_parameter(PACKAGE[optimizer](twin.parameters(), lr=0.1, weight_decay=0.01).param_groups)
    power = 2 if optimizer == "sgd" else 1
    assert len(rates) == len(list(model.parameters()))
    for own, their in zip(layers(model), twin.layers(), strict=True):
        factor = their.width_mult() ** power if their is twin.output else 1.0
        assert rates[id(own.weight)][0] == pytest.approx(published[id(their.weight)][0] / factor, rel=1e-12)
        assert rates[id(own.bias)] == pytest.approx(published[id(their.bias)], rel=1e-12)
    for own, their in zip(model.norms.parameters(), twin.norms.parameters(), strict=True):
        assert rates[id(own)] == pytest.approx(published[id(their)], rel=1e-12)
    assert [lr * decay for lr, decay in [*rates.values(), *published.values()]] == pytest.approx(
        [0.1 * 0.01] * 2 * len(rates), rel=1e-12)  # fmt: skip


@pytest.mark.parametrize(("optimizer", "settings"), [
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.05}),
    ("adam", {}),
    ("adamw", {"weight_decay": 0.05}),
])  # fmt: skip
@pytest.mark.parametrize("width", [64, 256])
def test_trained_it_computes_what_the_packages_network_does(width, optimizer, settings):
    cell = a_cell(width, optimizer=optimizer, lr=0.01, bias_variance=0.1, **settings)
    recipe, options = OPTIMIZERS.make(cell.optimizer), dict(settings)
    if optimizer != "sgd":  # an eps is felt more where a multiplier makes gradients small
        recipe, options = OPTIMIZERS.make(f"{optimizer}(eps=1e-30)"), {**settings, "eps": 1e-30}
    model, twin = ours(cell), theirs(width)
    with torch.no_grad():
        for own, their in zip(layers(model), twin.layers(), strict=True):
            their.weight.copy_(own.weight * (their.width_mult() if their is twin.output else 1.0))
            their.bias.copy_(own.bias)
    steppers = [recipe.over(reference.parameter_groups(model, recipe)),
                PACKAGE[optimizer](twin.parameters(), lr=cell.lr, **options)]  # fmt: skip
    data = prepared(cell).train
    for _ in range(30):
        for network, stepper in zip((model, twin), steppers, strict=True):
            stepper.zero_grad()
            nn.functional.cross_entropy(network(data.images), data.labels).backward()
            stepper.step()
    outputs = model(data.images)
    assert torch.allclose(outputs, twin(data.images), rtol=1e-9, atol=1e-9)
    assert nn.functional.cross_entropy(outputs, data.labels) < 0.8 * math.log(CLASSES)


@pytest.mark.parametrize("optimizer", [entry.name for entry in OPTIMIZERS])
def test_in_a_stack_as_alone_beside_others(optimizer):
    cell = dataclasses.replace(BASE, init="mup(base_width=4)", optimizer=optimizer, lr=0.01)
    check(cell, *(dataclasses.replace(cell, **change) for change in (
        {"init": "he_normal"}, {"init": "mup(base_width=4, scale=1)"}, {"init": "mup(base_width=48)"}, {"lr": 0.001},
        {"momentum": 0.9}, {"weight_decay": 0.1}, {"clip_norm": 0.1})))  # fmt: skip


@pytest.mark.parametrize("schedule", ["step", "cosine", "warmup", "plateau(patience=0, factor=0.5)"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_schedules_follow_with_rates_by_layer(schedule, batch_norm):
    cell = dataclasses.replace(BASE, init="mup(base_width=4)", optimizer="adam", lr=0.02, schedule=schedule,
                               batch_norm=batch_norm, record_every=5)  # fmt: skip
    check(cell, dataclasses.replace(cell, init="he_normal"), dataclasses.replace(cell, lr=0.3))


@pytest.mark.parametrize("depth", [0, 1])
def test_networks_of_one_or_two_layers(depth):
    cell = dataclasses.replace(BASE, init="mup(base_width=4)", depth=depth)
    check(cell, dataclasses.replace(cell, init="lecun_normal"))


def test_a_linear_classifier_has_no_width():
    (rate,) = INITIALIZERS.make("mup").learning_rates(ACTIVATIONS.make("relu"), Network((20, 4), output=True), False)
    assert rate == (1.0, 1.0)


def test_networks_of_other_initializers_keep_one_group_for_equal_settings():
    cells = [dataclasses.replace(BASE, init=init) for init in ("he_normal", "xavier", "zeros")]
    wider = dataclasses.replace(BASE, init="mup(base_width=6)")
    groups = []
    for stack in (cells, [*cells, wider]):
        network = StackedMLP(stack, FEATURES, CLASSES, torch.device("cpu"), torch.float64)
        (made,) = Updates(stack, network, 10)._made
        groups.append([(group["lr"], len(group["params"]), len(group["params"][0])) for group in made.param_groups])
    lr = BASE.lr
    assert groups[0] == [(lr, 2, 3)]  # the first layer's weights, and all that is small as one
    # width 12, n = 2, by SGD: first weights and hidden biases; hidden weights and the output's biases; output weights
    assert groups[1] == [(lr, 6, 3), (2 * lr, 3, 1), (lr, 2, 1), (lr / 2, 1, 1)]


def test_an_optimizer_like_neither_sgd_nor_adam_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"^mup has learning rates for optimizers like SGD or Adam, and no other$"):
        INITIALIZERS.make("mup").learning_rates(ACTIVATIONS.make("relu"), Network((20, 8, 4), output=True), None)


@pytest.mark.parametrize(("spec", "message"), [
    ("mup(base_width=0)", "mup: base_width must be 1 or more, not 0"),
    ("mup(scale=-1)", "mup: scale must be 0 or more, not -1"),
])  # fmt: skip
def test_what_it_cannot_be_is_told(spec, message):
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make(spec)
    assert str(caught.value) == message


def digits(init, width, rates, seeds):
    """log10 of the training loss after 60 updates, mean over seeds, by learning rate."""
    cells = [Cell(init=init, depth=3, width=width, optimizer="adam", lr=lr, steps=60, seed=seed, data_seed=0)
             for lr in rates for seed in range(seeds)]  # fmt: skip
    data = split(DATASETS.make("digits").load(None, False), "standardize", 0.2, 0)
    outcomes = train(cells, data.to(torch.device("cpu"), torch.float32))
    losses = torch.tensor([outcome.metrics["train_loss"] for outcome in outcomes]).log10().view(len(rates), seeds)
    return dict(zip(rates, losses.mean(dim=1).tolist(), strict=True))


def test_the_best_learning_rate_of_a_narrow_network_is_that_of_a_wide_one():
    """Adam on digits, widths 64 and 512. He's, at the narrow one's rate, has several times the loss of its own best."""
    rates = [2.0**power for power in (-10, -8, -6, -4)]
    narrow = digits("he_normal", BASE_WIDTH, rates, seeds=2)
    tuned = min(narrow, key=narrow.get)
    assert digits("mup", BASE_WIDTH, rates, seeds=2) == narrow
    lost = {}
    for init in ("he_normal", "mup"):
        wide = digits(init, 512, rates, seeds=2)
        lost[init] = wide[tuned] - min(wide.values())
    assert lost["mup"] < 0.2
    assert lost["he_normal"] > 0.5


def test_its_outputs_move_alike_at_every_width():
    """The coordinate check: a step of SGD moves what each layer is given by the same at every width, and He's more."""
    moved = {init: [displacement(init, width) for width in (128, 512)] for init in ("mup", "he_normal")}
    narrow, wide = moved["mup"]
    assert [far / near for near, far in zip(narrow, wide, strict=True)] == pytest.approx([1.0] * (DEPTH + 1), rel=0.3)
    narrow, wide = moved["he_normal"]
    assert wide[-1] / narrow[-1] > 2.5


def displacement(init, width, seeds=4):
    """Root mean square of the change of each layer's pre-activations by a step of SGD, over seeds."""
    squares = []
    for seed in range(seeds):
        cell = Cell(init=init, depth=DEPTH, width=width, optimizer="sgd", lr=0.1, seed=seed)
        model, recipe, data = ours(cell), OPTIMIZERS.make("sgd"), prepared(BASE).train
        before = pre_activations(model, data.images)
        stepper = recipe.over(reference.parameter_groups(model, recipe))
        targets = nn.functional.one_hot(data.labels, CLASSES).double()
        LOSSES.make("cross_entropy").of(before[-1], targets).mean().backward()
        stepper.step()
        after = pre_activations(model, data.images)
        squares.append([float((new - old).detach().square().mean()) for new, old in zip(after, before, strict=True)])
    return torch.tensor(squares).mean(dim=0).sqrt().tolist()


def pre_activations(model, h):
    seen = []
    for layer in layers(model):
        seen.append(layer(h))
        h = seen[-1].relu()
    return seen


def test_a_probe_knows_the_output_layer():
    layers = [nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    plain, followed = (
        ib.probe(nn.Sequential(*parts), torch.randn(4, 16), init="mup", seeds=1).layers["weight_variance"].tolist()
        for parts in (layers, [*layers, nn.ReLU()])
    )
    assert plain == pytest.approx([2 / 16, 2 / 256, 2 / (4 * 256)], rel=0.1)  # width 256 is 4 times the base
    assert followed == pytest.approx([2 / 16, 2 / 256, 2 / 256], rel=0.1)  # the last is hidden like any other
