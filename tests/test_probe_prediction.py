"""E[z²] from a layer's input, against the mean over many draws of its weights."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import initbench as ib
from initbench.activations import ACTIVATIONS
from initbench.grid.probe import keeping_gain, reservation

DRAWS = 60
LAYERS = {
    "linear": (nn.Linear(20, 30), (4, 20)),
    "linear of sequences": (nn.Linear(20, 30), (4, 7, 20)),
    "zero padding": (nn.Conv2d(4, 8, 5, padding=2), (2, 4, 6, 6)),
    "stride, dilation, groups": (nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=2, groups=2), (2, 4, 9, 9)),
    "circular padding": (nn.Conv1d(4, 8, 3, padding=1, padding_mode="circular"), (2, 4, 9)),
    "same padding": (nn.Conv3d(2, 4, 3, padding="same"), (2, 2, 4, 4, 4)),
    "transposed": (nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 4, 5, 5)),
    "transposed once": (nn.ConvTranspose1d(3, 8, 4), (2, 3, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_the_mean_over_draws_whatever_the_padding(name):
    layer, size = LAYERS[name]
    source = torch.Generator().manual_seed(3)
    # louder on one side, and not of mean 0: nothing averages out by itself
    x = (torch.randn(size, generator=source) + 0.5) * torch.linspace(0.2, 3, size[-1])
    found = ib.probe(layer, x, seeds=DRAWS).layers
    ratio = found.z_second_moment / found.predicted_z_second_moment
    error = ratio.std() / DRAWS**0.5
    assert abs(ratio.mean() - 1) < 4 * error
    assert error < 0.05


def test_what_normalizes_and_what_is_looked_up():
    module = nn.Sequential(nn.Embedding(50, 64), nn.LayerNorm(64), nn.Linear(64, 8))
    nn.init.normal_(module[0].weight, std=0.3, generator=torch.Generator().manual_seed(0))
    nn.init.constant_(module[1].weight, 2.0)
    nn.init.constant_(module[1].bias, 1.0)
    found = ib.probe(module, torch.arange(50)[None]).layers
    assert found.predicted_z_second_moment.tolist()[:2] == pytest.approx([found.z_second_moment[0], 5.0], rel=1e-5)
    assert found.z_second_moment[1] == pytest.approx(5.0, rel=1e-3)


def test_running_statistics_are_not_predicted():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    tables = [ib.probe(module, x, train=mode).layers for mode in (True, False)]
    trained, running = (table.iloc[1] for table in tables)
    assert [(*table.role, table.normalized_by[0]) for table in tables] == [("weights", "normalization", "1"),
                                                                           ("weights", "other", "")]  # fmt: skip
    assert trained.predicted_z_second_moment == pytest.approx(trained.z_second_moment, rel=1e-3)
    assert np.isnan(running.predicted_z_second_moment)
    assert "running statistics" in running.note


def test_the_variance_that_keeps_the_signal():
    module = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20), nn.SELU(),
                           nn.ConvTranspose1d(1, 6, 4, stride=2), nn.Sigmoid(), nn.Conv1d(6, 2, 3), nn.Hardsigmoid(),
                           nn.Linear(40, 5))  # fmt: skip
    x = torch.randn(4, 1, 10, generator=torch.Generator().manual_seed(0))
    found = ib.probe(module, x).layers
    gains = found.kept_variance * found.terms
    # He; 1 at the critical point, as E[z²] = 1 would multiply the gradient by 1.18; Klambauer
    assert gains[:3].tolist() == pytest.approx([2, 1, 1], rel=1e-6)
    assert found.terms.tolist() == [10, 20, 20, 2, 18, 40]
    assert gains[5] == 1


def propagated(activation, gain, depth, level):
    """E[z²] of each layer, and the mean factor of gradient² a layer, of one wide plain network."""
    width, source = 2048, torch.Generator().manual_seed(0)
    x = torch.randn(1, width, generator=source) * level**0.5
    found, z = [], x.requires_grad_()
    for _ in range(depth):
        z = activation(z) @ (torch.randn(width, width, generator=source) * (gain / width) ** 0.5)
        found.append(z.square().mean().item())
    (gradient,) = torch.autograd.grad((z * torch.randn(1, width, generator=source)).sum(), x)
    return found, gradient.square().mean().item() ** (1 / depth)


@pytest.mark.parametrize("name", ["silu", "gelu", "hardswish"])
def test_a_level_that_repels_is_not_told_as_kept(name):
    activation = ACTIVATIONS.make(name)
    told = reservation(activation)
    rate = float(told.removeprefix("only near E[z²] = 1: what it is off by grows ×").removesuffix(" a layer"))
    z = torch.randn(4_000_000, generator=torch.Generator().manual_seed(0))
    above, below = (activation.function(z * q**0.5).square().mean().item() for q in (1.05, 0.95))
    assert keeping_gain(activation) * (above - below) / 0.1 == pytest.approx(rate, rel=0.01)
    assert propagated(activation.function, keeping_gain(activation), 30, 2)[0][-1] > 10


def test_what_else_a_variance_does_not_keep_is_told():
    softplus, tanh, sigmoid, relu = (ACTIVATIONS.make(name) for name in ("softplus", "tanh", "sigmoid", "relu"))
    levels, factor = propagated(softplus.function, keeping_gain(softplus), 8, 1)
    assert levels[-1] == pytest.approx(1, rel=0.2)
    assert reservation(softplus) == "forward alone: gradient² goes ×0.318 a layer"
    assert factor == pytest.approx(0.318, rel=0.1)
    levels, _ = propagated(tanh.function, keeping_gain(tanh), 20, 1)
    assert reservation(tanh) == "E[z²] falls, ever more slowly"
    assert levels[0] / levels[1] > 1.3 > 1.1 > levels[-2] / levels[-1] > 1
    assert reservation(sigmoid) == "E[z²] settles at 45.6"
    assert propagated(sigmoid.function, keeping_gain(sigmoid), 12, 1)[0][-1] == pytest.approx(45.6, rel=0.15)
    assert reservation(relu) == ""


def test_the_diagnosis_and_the_code_say_what_is_not_kept():
    module = nn.Sequential(*(part for _ in range(12) for part in (nn.Linear(64, 64, bias=False), nn.SiLU())))
    probed = ib.probe(module, torch.randn(16, 64, generator=torch.Generator().manual_seed(0)), seeds=1)
    told = "only near E[z²] = 1: what it is off by grows ×1.17 a layer"
    assert f"Var(w) = 2.81/fan_in before silu would keep it, but {told}" in probed.diagnosis.cause[0]
    assert f'"0.weight": 2.81076 / 64,  # {told}' in probed.suggestion


SEEN = {
    "padding": (nn.Conv2d(4, 8, 5, padding=2), (2, 4, 3, 3)),
    "stride, dilation, groups": (nn.Conv2d(4, 8, 3, stride=2, padding=2, dilation=2, groups=2), (2, 4, 5, 5)),
    "circular padding": (nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular"), (2, 4, 3, 3)),
    "transposed": (nn.ConvTranspose2d(4, 8, 4, stride=2, padding=1, groups=2), (2, 4, 3, 3)),
    "without a batch": (nn.Conv1d(4, 8, 5, padding="same"), (4, 3)),
}


@pytest.mark.parametrize("name", SEEN)
def test_the_variance_knows_how_many_products_meet_no_padding(name):
    """Of an input of ones under weights of ones, an output without a bias is their number."""
    layer, size = SEEN[name]
    found = ib.probe(nn.Sequential(layer, nn.ReLU()), torch.randn(size)).layers.iloc[0]
    layer = copy.deepcopy(layer)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    assert found.kept_variance == pytest.approx(2 / layer(torch.ones(size)).mean().item())


def test_a_stack_of_padded_convolutions_keeps_its_signal_on_small_images():
    module = nn.Sequential(*(part for _ in range(20) for part in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())))
    images, namespace = torch.randn(8, 64, 4, 4, generator=torch.Generator().manual_seed(0)), {}
    exec(ib.probe(module, images).suggestion, namespace)
    torch.manual_seed(0)
    namespace["initialize"](module)
    with torch.no_grad():
        level = [module[: 2 * depth + 1](images).square().mean().item() for depth in (0, 19)]
    assert 0.2 < level[1] / level[0] < 5  # 2/fan_in would leave (25/36)^19, a thousandth
