"""The stacked propagation against its twin: one plain nn.Sequential, autograd, float64."""

import math

import pytest
import torch
from torch import nn

from initbench.activations import ACTIVATIONS
from initbench.core.records import Network
from initbench.engine.propagate import propagate
from initbench.engine.stack import Stack, draw_biases, draw_projection, draw_weights, member
from initbench.initializers import INITIALIZERS
from initbench.initializers.bases import NORMAL

TAPERED = Network(widths=(12, 20, 7, 16), bias_variance=0.1)
SEED = 3
REALIZED = ("weight_variance", "update_ratio")
"""These rest on the draw's variance, which is summed up in float32."""
INITS = ["xavier_normal", "normal(std=0.5)", "torch_default", "orthogonal"]


class Elementwise(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, z):
        return self.function(z)


def inputs_of(batch, features, dtype=torch.float64):
    return torch.randn(batch, features, generator=torch.Generator().manual_seed(0)).to(dtype)


def stacked(inits, activation, network, inputs, seed=SEED):
    activation = ACTIVATIONS.make(activation)
    made = [INITIALIZERS.make(init) for init in inits]
    members = tuple(member(init, init.promises(activation, network), seed) for init in made)
    draws = {m.source: draw_weights(m.basis, network, seed, torch.device("cpu")) for m in members}
    return propagate(Stack(activation, network, members), draws, {seed: inputs})


def plain(init, activation, network, inputs, seed=SEED):
    """The same network as anyone would write it, with the columns as DESIGN.md defines them."""
    made, activation = INITIALIZERS.make(init), ACTIVATIONS.make(activation)
    scales = member(made, made.promises(activation, network), seed)
    draws = draw_weights(made.basis, network, seed, torch.device("cpu"))
    biases = draw_biases(scales.bias_basis, network, seed)
    kept, a, weights = [], inputs, []
    for number, layer in enumerate(network.layers):
        linear = nn.Linear(layer.fan_in, layer.fan_out).double()
        with torch.no_grad():
            linear.weight.copy_(draws[number].weight.double() * scales.weight_scales[number])
            linear.bias.copy_(biases[number].double() * scales.bias_scales[number])
        z = linear(a)
        a = Elementwise(activation.function)(z)
        z.retain_grad()
        a.retain_grad()
        kept.append((z, a))
        weights.append(linear.weight)
    (a * draw_projection(inputs.shape[0], network.widths[-1], seed)).sum().backward()
    rows = []
    for (z, a), weight in zip(kept, weights, strict=True):
        pairs = nn.functional.cosine_similarity(z[:, None], z[None], dim=-1)
        off = ~torch.eye(len(z), dtype=torch.bool)
        row = {
            "z_variance_units": z.var(dim=1, correction=0).mean(),
            "cosine": pairs[off].mean(),
            "grad_z_second_moment": z.grad.square().mean(),
            "grad_a_second_moment": a.grad.square().mean(),
            "grad_w_second_moment": weight.grad.square().mean(),
            "update_ratio": weight.grad.norm() / weight.norm(),
            "weight_variance": weight.var(correction=0),
        }
        for name, t in (("z", z), ("a", a)):
            row[f"{name}_second_moment"] = t.square().mean()
            row[f"{name}_mean"] = t.mean()
            row[f"{name}_variance"] = t.var(correction=0)
            row[f"{name}_variance_batch"] = t.var(dim=0).mean()
        rows.append({name: float(value.detach()) for name, value in row.items()})
    return rows


@pytest.mark.parametrize("activation", [entry.name for entry in ACTIVATIONS])
def test_every_column_equals_the_plain_network(activation):
    inputs = inputs_of(9, TAPERED.widths[0])
    for init, rows in zip(INITS, stacked(INITS, activation, TAPERED, inputs), strict=True):
        for row, twin in zip(rows, plain(init, activation, TAPERED, inputs), strict=True):
            exact = {name: twin[name] for name in twin if name not in REALIZED}
            assert row == pytest.approx({**row, **exact}, rel=1e-9, abs=1e-14)
            assert [row[name] for name in REALIZED] == pytest.approx([twin[name] for name in REALIZED], rel=1e-6)


def test_float32_agrees_with_float64_to_its_resolution():
    inputs = inputs_of(32, TAPERED.widths[0])
    fine = stacked(INITS, "tanh", TAPERED, inputs)
    coarse = stacked(INITS, "tanh", TAPERED, inputs.float())
    for rows, twins in zip(coarse, fine, strict=True):
        for row, twin in zip(rows, twins, strict=True):
            assert row == pytest.approx(twin, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_neighbours_and_order_do_not_matter(activation):
    inputs = inputs_of(16, TAPERED.widths[0], torch.float32)
    together = stacked(INITS, activation, TAPERED, inputs)
    turned = stacked(INITS[::-1], activation, TAPERED, inputs)[::-1]
    alone = [stacked([init], activation, TAPERED, inputs)[0] for init in INITS]
    for one, other, single in zip(together, turned, alone, strict=True):
        for a, b, c in zip(one, other, single, strict=True):
            assert a == pytest.approx(b, rel=1e-5, abs=1e-6)
            assert a == pytest.approx(c, rel=1e-5, abs=1e-6)


def test_initializers_of_one_family_differ_by_scale_alone():
    inputs = inputs_of(16, 12)
    xavier, he = stacked(["xavier_normal", "he_normal"], "identity", Network((12,) * 4), inputs)
    for layer, (one, other) in enumerate(zip(xavier, he, strict=True), start=1):
        assert other["z_second_moment"] == pytest.approx(2**layer * one["z_second_moment"], rel=1e-12)


def test_float32_range_never_shows():
    """normal(std=0.01) and GELU, width 256, depth 20: E[z²] is near 1e-44, and float64 alone agrees."""
    network, inputs = Network((256,) * 21), inputs_of(64, 256)
    for init in ("normal(std=0.01)", "normal(std=10)"):
        (fine,) = stacked([init], "gelu", network, inputs)
        (coarse,) = stacked([init], "gelu", network, inputs.float())
        for row, twin in zip(coarse, fine, strict=True):
            assert row["z_second_moment"] == pytest.approx(twin["z_second_moment"], rel=1e-4)
            assert row["grad_z_second_moment"] == pytest.approx(twin["grad_z_second_moment"], rel=1e-4)
            assert row["grad_w_second_moment"] == pytest.approx(twin["grad_w_second_moment"], rel=1e-4)
    (small,) = stacked(["normal(std=0.01)"], "gelu", network, inputs.float())
    assert 1e-46 < small[-1]["z_second_moment"] < 1e-42


def test_what_float64_cannot_hold_is_missing_and_never_zero_or_infinite():
    for init in ("normal(std=1e-30)", "normal(std=1e30)"):
        (rows,) = stacked([init], "relu", Network((64,) * 21), inputs_of(8, 64, torch.float32))
        squares = [row["z_second_moment"] for row in rows]
        assert 0 < squares[0] < math.inf
        assert math.isnan(squares[-1])
        assert not any(value in (0.0, math.inf) for value in squares)


def test_an_input_beside_one_that_is_40_decades_louder_is_not_taken_for_zero():
    """Weights of 1 and ELU: z grows 256-fold a layer where it is positive, and stays at -256 where it is not."""
    network, inputs = Network((256,) * 31), inputs_of(32, 256)
    (rows,) = stacked(["ones"], "elu", network, inputs.float())
    negative = float((inputs.sum(dim=1) < 0).double().mean())
    assert 0 < negative < 1
    assert [row["saturated_fraction"] for row in rows[1:]] == pytest.approx([negative] * 29)
    assert [row["dead_fraction"] for row in rows] == [0.0] * 30


def test_a_small_batch_variance_is_resolved_in_float64():
    """Sigmoid with small weights: inputs become one, and float32 would show the rounding of its products."""
    network, inputs = Network((128,) * 13), inputs_of(32, 128)
    (rows,) = stacked(["xavier_normal"], "sigmoid", network, inputs.float())
    (fine,) = stacked(["xavier_normal"], "sigmoid", network, inputs)
    assert fine[-1]["z_variance_batch"] < 1e-12
    for row, twin in zip(rows, fine, strict=True):
        assert row["z_variance_batch"] == pytest.approx(twin["z_variance_batch"], rel=1e-3)


@pytest.mark.parametrize("init", ["ones", "constant(-1)"])
@pytest.mark.parametrize("width", [6, 8, 12])
def test_slopes_of_saturated_units_are_resolved_in_float64(init, width):
    """1 - tanh² has few digits in float32 where tanh is near 1."""
    network, inputs = Network((width,) * 9), inputs_of(16, width)
    (rows,) = stacked([init], "tanh", network, inputs.float())
    (fine,) = stacked([init], "tanh", network, inputs)
    for row, twin in zip(rows, fine, strict=True):
        for name in ("grad_z_second_moment", "grad_a_second_moment", "grad_w_second_moment"):
            assert row[name] == pytest.approx(twin[name], rel=1e-6, abs=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(mode):
    inputs = inputs_of(8, TAPERED.widths[0], torch.float32)
    outside = stacked(INITS, "tanh", TAPERED, inputs)
    with mode():
        assert stacked(INITS, "tanh", TAPERED, inputs_of(8, TAPERED.widths[0], torch.float32)) == outside


def test_zeros_are_true():
    (rows,) = stacked(["zeros"], "sigmoid", Network((8,) * 4), inputs_of(5, 8, torch.float32))
    for row in rows:
        assert (row["z_second_moment"], row["a_mean"], row["a_variance_batch"]) == (0.0, 0.5, 0.0)
        assert math.isnan(row["update_ratio"])
    assert rows[-1]["grad_z_second_moment"] > 0
    assert rows[0]["grad_z_second_moment"] == 0
    (rows,) = stacked(["zeros"], "tanh", Network((8,) * 4), inputs_of(5, 8, torch.float32))
    assert [row["grad_w_second_moment"] for row in rows] == [0.0] * 3
    assert rows[-1]["grad_z_second_moment"] > 0


def test_a_saturated_gradient_is_not_reported_as_zero():
    (rows,) = stacked(["ones"], "tanh", Network((256,) * 5), inputs_of(5, 256, torch.float32))
    assert math.isnan(rows[0]["grad_z_second_moment"])


def test_equal_units_have_no_variance_over_units():
    (rows,) = stacked(["constant(0.1)"], "tanh", Network((16,) * 4), inputs_of(5, 16, torch.float32))
    assert all(row["z_variance_units"] < 1e-12 * row["z_second_moment"] for row in rows)


def test_dead_and_saturated_units_are_counted():
    network = Network((64, 64))
    (rows,) = stacked(["he_normal"], "relu", network, inputs_of(400, 64))
    assert rows[0]["saturated_fraction"] == pytest.approx(0.5, abs=0.05)
    assert rows[0]["dead_fraction"] == 0
    (rows,) = stacked(["normal(std=1)"], "tanh", network, inputs_of(400, 64))
    z = inputs_of(400, 64) @ draw_weights(NORMAL, network, SEED, torch.device("cpu"))[0].weight.double().t()
    flat = z.tanh().abs() > math.sqrt(0.95)  # where the slope 1 - tanh² is below 0.05 of its largest, 1
    assert rows[0]["saturated_fraction"] == pytest.approx(float(flat.double().mean()))
    assert rows[0]["dead_fraction"] == pytest.approx(float(flat.all(dim=0).double().mean()))
