"""delta_orthogonal and dirac on convolutions of all kinds: held to torch, to JAX, and to the lengths that they keep."""

import copy
import itertools
import math

import jax
import numpy as np
import pytest
import torch
from torch import nn

import initbench as ib
from initbench.core.errors import UsageError
from initbench.core.records import Layer
from initbench.engine.probe.initialization import by_initializer
from initbench.engine.probe.measure import trace
from initbench.initializers import INITIALIZERS

KINDS = {
    "Conv1d": lambda c, u, **more: nn.Conv1d(c, u, 5, **more),
    "Conv2d": lambda c, u, **more: nn.Conv2d(c, u, (3, 5), **more),
    "even kernel": lambda c, u, **more: nn.Conv2d(c, u, (4, 2), **more),
    "Conv3d": lambda c, u, **more: nn.Conv3d(c, u, 3, **more),
    "ConvTranspose1d": lambda c, u, **more: nn.ConvTranspose1d(c, u, 3, **more),
    "ConvTranspose2d": lambda c, u, **more: nn.ConvTranspose2d(c, u, 3, stride=2, **more),
}


def spatial(layer):
    return layer.weight.dim() - 2


def batch_of(layer, samples=2, side=7, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(samples, layer.in_channels, *[side] * spatial(layer), generator=drawn)


def initialized(module, batch, spec, seed=0):
    """A copy of `module` as a probe has it."""
    twin, traced = copy.deepcopy(module), trace(module, batch, 0, None)
    by_initializer(INITIALIZERS.make(spec), traced.rows, traced.activations, twin, seed)
    return twin


def weight_of(layer, spec, seed=0):
    return initialized(layer, batch_of(layer), spec, seed).weight.detach()


def centre(weight):
    return weight[(..., *(size // 2 for size in weight.shape[2:]))]


def blocks(weight, groups):
    """Of each group, the matrix at the kernel's centre."""
    return centre(weight).double().chunk(groups)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "units", "groups"), [(16, 16, 1), (4, 16, 1), (16, 4, 1), (16, 64, 4), (4, 4, 4),
                                                           (8, 8, 2)])  # fmt: skip
def test_dirac_is_torchs_bit_for_bit_where_the_root_of_the_channels_is_exact(kind, channels, units, groups):
    layer = KINDS[kind](channels, units, groups=groups)
    expected = nn.init.dirac_(torch.empty_like(layer.weight), groups)
    assert torch.equal(weight_of(layer, "dirac"), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "units", "groups"), [(3, 7, 1), (7, 3, 1), (6, 10, 2), (5, 15, 5)])
def test_dirac_is_torchs_to_float32_for_all_channels(kind, channels, units, groups):
    layer = KINDS[kind](channels, units, groups=groups)
    expected = nn.init.dirac_(torch.empty_like(layer.weight), groups)
    torch.testing.assert_close(weight_of(layer, "dirac"), expected, rtol=2**-23, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "units", "groups"), [(6, 6, 1), (3, 8, 1), (8, 3, 1), (6, 10, 2), (10, 6, 2),
                                                           (5, 5, 5)])  # fmt: skip
def test_the_kernels_centre_is_orthogonal_group_by_group_and_all_else_is_zero(kind, channels, units, groups):
    layer = KINDS[kind](channels, units, groups=groups)
    weight = weight_of(layer, "delta_orthogonal(gain=1.5)")
    for block in blocks(weight / 1.5, groups):
        gram = block.t() @ block if len(block) >= block.shape[1] else block @ block.t()
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-6)
    centre(weight).zero_()
    assert not weight.any()


@pytest.mark.parametrize("places", [1, 2, 3])
def test_the_centre_and_its_singular_values_are_those_of_jax(places):
    shape = [3] * places
    theirs = np.asarray(jax.nn.initializers.delta_orthogonal(scale=1.5)(jax.random.key(0), (*shape, 4, 6)))
    layer = [nn.Conv1d, nn.Conv2d, nn.Conv3d][places - 1](4, 6, 3)
    ours = weight_of(layer, "delta_orthogonal(1.5)").permute(*range(2, places + 2), 1, 0).numpy()
    np.testing.assert_array_equal((ours != 0).any(axis=(-1, -2)), (theirs != 0).any(axis=(-1, -2)))
    where = (ours != 0).any(axis=(-1, -2))
    for weight in (ours, theirs):
        np.testing.assert_allclose(np.linalg.svd(weight[where][0], compute_uv=False), 1.5, rtol=1e-6)


def circular(channels, units, **more):
    return nn.Conv2d(channels, units, 3, padding=1, padding_mode="circular", bias=False, **more)


@pytest.mark.parametrize("spec", ["delta_orthogonal", "dirac"])
def test_thirty_linear_convolutions_keep_every_inputs_length(spec):
    """Groups, depthwise, and channels that become more among them."""
    module = nn.Sequential(circular(6, 8), circular(8, 8, groups=2), circular(8, 16, groups=8),
                           *(circular(16, 16, groups=g) for g in (1, 2, 16) * 9))  # fmt: skip
    x = batch_of(module[0], samples=5)
    found = initialized(module, x, spec)(x).flatten(1).double().norm(dim=1)
    torch.testing.assert_close(found, x.flatten(1).double().norm(dim=1), rtol=2e-5, atol=0)


def test_where_channels_become_fewer_the_gradient_keeps_its_length():
    layer = circular(16, 6)
    x = batch_of(layer).requires_grad_()
    z = initialized(layer, x.detach(), "delta_orthogonal")(x)
    gradient = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    (back,) = torch.autograd.grad(z, x, gradient)
    assert float(back.norm()) == pytest.approx(float(gradient.norm()), rel=1e-6)


PADDED = {
    "zeros": nn.Conv2d(4, 8, 5, padding=2),
    "no padding": nn.Conv1d(4, 4, 3),
    "stride, dilation, groups": nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=2, groups=2),
    "circular": nn.Conv1d(4, 8, 3, padding=1, padding_mode="circular"),
    "depthwise": nn.Conv2d(4, 8, 3, padding=1, groups=4),
    "same": nn.Conv3d(2, 4, 3, padding="same"),
    "transposed": nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1),
    "transposed, groups": nn.ConvTranspose1d(6, 6, 4, groups=3),
}


@pytest.mark.parametrize("spec", ["delta_orthogonal(1.3)", "dirac"])
@pytest.mark.parametrize("name", PADDED)
def test_what_a_probe_predicts_of_one_draw_is_what_it_measures(name, spec):
    """No channel is lost, so nothing is left to the draw, whatever is louder where."""
    layer = PADDED[name]
    x = (batch_of(layer, side=9) + 0.5) * torch.linspace(0.2, 3, 9)
    found = ib.probe(layer, x, init=spec).layers.iloc[0]
    assert found.z_second_moment == pytest.approx(found.predicted_z_second_moment, rel=1e-5)


def test_where_channels_become_fewer_the_prediction_is_the_mean_over_draws():
    layer = nn.Conv2d(12, 4, 3, padding=1)
    x = (batch_of(layer, side=9) + 0.5) * torch.linspace(0.2, 3, 9) * torch.linspace(0.5, 2, 12)[:, None, None]
    found = ib.probe(layer, x, init="delta_orthogonal", seeds=40).layers
    ratio = found.z_second_moment / found.predicted_z_second_moment
    error = ratio.std() / math.sqrt(len(ratio))
    assert abs(ratio.mean() - 1) < 4 * error < 0.2


@pytest.mark.parametrize(("spec", "gain"), [("delta_orthogonal(1.5)", 1.5), ("dirac", 1)])
@pytest.mark.parametrize(("channels", "units", "groups"), [(6, 9, 1), (9, 6, 3), (4, 4, 4)])
def test_the_mean_square_over_the_whole_kernel_is_the_promised_of_a_group_over_its_places(
    spec, gain, channels, units, groups
):
    layer, fans = nn.Conv2d(channels, units, 3, groups=groups), (channels // groups, units // groups)
    found = ib.probe(layer, batch_of(layer), init=spec).layers.weight_second_moment[0]
    assert found == pytest.approx(gain**2 / max(fans) / 9, rel=1e-6)


def test_groups_and_seeds_have_draws_of_their_own():
    layer = nn.Conv2d(12, 12, 3, groups=3)
    found = [block for seed in (0, 1) for block in blocks(weight_of(layer, "delta_orthogonal", seed), 3)]
    assert not any(torch.allclose(one, other) for one, other in itertools.combinations(found, 2))


def test_layers_without_a_kernel_are_orthogonal_and_the_identity():
    module, x = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5)), torch.randn(4, 6)
    for spec, twin in (("delta_orthogonal(gain=2)", "orthogonal(gain=2)"), ("dirac", "identity")):
        mine, other = (initialized(module, x, name).state_dict() for name in (spec, twin))
        assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize(("spec", "twin"), [("delta_orthogonal(gain=1.2)", "orthogonal(gain=1.2)"),
                                            ("dirac", "identity")])  # fmt: skip
def test_in_networks_of_our_own_they_are_measured_and_predicted_as_these(spec, twin):
    options = {"activation": "tanh", "widths": [12, 20, 20, 8], "batch": 8, "seeds": 2}
    for table in (ib.propagate, lambda **all_of: ib.predict(**{k: v for k, v in all_of.items() if k != "seeds"})):
        mine, other = (table(init=name, **options).drop(columns="init") for name in (spec, twin))
        assert mine.equals(other)


def test_a_transformers_matrices_are_drawn_whole():
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    twin, traced = copy.deepcopy(module), trace(module, [torch.randn(2, 3, 8)] * 3, 0, None)
    by_initializer(INITIALIZERS.make("delta_orthogonal"), traced.rows, traced.activations, twin, 0)
    weight = twin.in_proj_weight.detach()
    scale = math.sqrt(float(weight.square().sum()) / 8)
    torch.testing.assert_close((weight / scale).t() @ (weight / scale), torch.eye(8), rtol=0, atol=1e-5)


def test_one_group_is_the_draw_of_every_other_command():
    basis, layer = INITIALIZERS.make("orthogonal").basis, Layer(3, 5, 7)
    assert torch.equal(basis.weights(layer, 2, groups=1), basis.weights(layer, 2))
    assert torch.equal(basis.weights(layer, 2, groups=2)[:7], basis.weights(layer, 2))


def test_a_negative_gain_is_refused_in_one_line():
    with pytest.raises(UsageError) as caught:
        INITIALIZERS.make("delta_orthogonal(-1)")
    assert str(caught.value) == "delta_orthogonal: gain must be 0 or more, not -1"
