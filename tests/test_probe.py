"""What a probe measures, against autograd, our own stacks of networks, and arithmetic by hand."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import initbench as ib
from initbench.core.columns import COLUMNS
from initbench.core.errors import UsageError, WorkError
from initbench.engine.stack import draw_projection
from initbench.grid.variance_study import open_inputs, resolve

MEASURED = ["weight_variance", "z_second_moment", "z_mean", "z_variance", "z_variance_batch", "z_variance_units",
            "a_second_moment", "a_mean", "a_variance", "a_variance_batch", "cosine", "saturated_fraction",
            "dead_fraction", "grad_z_second_moment", "grad_a_second_moment", "grad_w_second_moment",
            "update_ratio"]  # fmt: skip


def normal(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def rows(module, batch, **options):
    return ib.probe(module, batch, **options).layers


def mean_square(parts):
    return torch.cat([part.flatten() for part in parts]).square().mean().item()


def mlp(activation, depth=4, width=32):
    return nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(width, width), activation())))


@pytest.mark.parametrize(("init", "name", "activation"), [("he_normal", "relu", nn.ReLU), ("xavier", "tanh", nn.Tanh),
                                                          ("torch_default", "gelu", nn.GELU)])  # fmt: skip
def test_an_mlp_has_the_numbers_of_our_own_stacks(init, name, activation):
    options = {"init": init, "activation": name, "depth": 4, "width": 32, "batch": 16, "seeds": 1}
    truth = ib.propagate(**options)
    batch = open_inputs(resolve(**options), None, False).batch(0, 16, 32)
    found = rows(mlp(activation), batch, init=init)
    assert found.activation.tolist() == [name] * 4
    for column in (*MEASURED, "fan_in", "fan_out"):
        assert found[column].tolist() == pytest.approx(truth[column].tolist(), rel=2e-4, nan_ok=True), column


def test_every_column_is_declared():
    for column in rows(mlp(nn.ReLU), normal(4, 32)):
        tables = COLUMNS.make(column).tables
        assert "probe" in tables or tables.startswith("all but"), column


def convolutions(inplace):
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace), nn.Dropout(0.5),
                         nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))  # fmt: skip


@pytest.mark.parametrize("inplace", [False, True])
def test_second_moments_and_gradients_are_those_of_autograd(inplace):
    module, batch = convolutions(inplace).eval(), normal(4, 3, 8, 8)
    z = [module[0](batch)]
    for part in module[1:]:
        part = nn.ReLU() if isinstance(part, nn.ReLU) else part
        z.append(part(z[-1]))
    weights = [module[i].weight for i in (0, 1, 4, 6)]
    loss = (z[-1] * draw_projection(4, 5, 0)).sum()
    told = torch.autograd.grad(loss, [z[0], z[1], z[4], z[6], *weights])
    found = rows(module, batch)
    assert found.module.tolist() == ["0", "1", "4", "6"]
    assert found.z_second_moment.tolist() == pytest.approx([z[i].square().mean().item() for i in (0, 1, 4, 6)])
    gradients = [*found.grad_z_second_moment, *found.grad_w_second_moment]
    assert gradients == pytest.approx([t.square().mean().item() for t in told], rel=1e-4)
    assert found.a_second_moment[1] == pytest.approx(z[2].square().mean().item())
    assert found.saturated_fraction[1] == pytest.approx((z[1] <= 0).float().mean().item())
    assert found.activation.tolist() == ["relu", "relu", "", ""]
    assert found.role.tolist() == ["weights", "other", "weights", "weights"]  # in this mode it does not normalize


@pytest.mark.parametrize(("called", "spec"), [
    (F.relu, "relu"), (torch.relu_, "relu"), (lambda z: z.clamp(min=0), "relu"), (nn.ReLU6(), "relu6"),
    (F.gelu, "gelu"), (lambda z: F.gelu(z, approximate="tanh"), "gelu(approximate=tanh)"), (nn.SiLU(True), "silu"),
    (lambda z: F.leaky_relu(z, 0.2), "leaky_relu(slope=0.2)"), (nn.Softplus(), "softplus"), (torch.sin, "sin"),
    (nn.Hardswish(), "hardswish"), (nn.CELU(0.5), "celu(alpha=0.5)"), (nn.Softsign(), "softsign"),
    (lambda z: F.dropout(z, 0.0).view(4, 2, 8).tanh(), "tanh"), (lambda z: z, ""),
    (nn.PReLU(), "leaky_relu(slope=0.25)"),
])  # fmt: skip
def test_the_activation_that_follows_is_found(called, spec):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.phi = nn.Linear(8, 16), called

        def forward(self, x):
            return self.phi(self.layer(x))

    assert rows(Network(), normal(4, 8)).activation[0] == spec


class Twice(nn.Module):
    """One layer that runs twice, and a head that shares its weight."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)
        self.head.weight = self.layer.weight

    def forward(self, x):
        return self.head(self.layer(torch.tanh(self.layer(x))))


def test_what_runs_twice_has_two_rows_with_gradients_of_their_own():
    found = rows(Twice(), normal(4, 8))
    assert list(zip(found.module, found.call, strict=True)) == [("layer", 1), ("layer", 2), ("head", 1)]
    module = Twice()
    copies = [module.layer.weight.detach().clone().requires_grad_() for _ in range(3)]
    bias, x = module.layer.bias, normal(4, 8)
    out = F.linear(F.linear(torch.tanh(F.linear(x, copies[0], bias)), copies[1], bias), copies[2])
    truth = torch.autograd.grad((out * draw_projection(4, 8, 0)).sum(), copies)
    told = rows(module, x).grad_w_second_moment
    assert told.tolist() == pytest.approx([t.square().mean().item() for t in truth], rel=1e-5)


class Block(nn.Module):
    """A transformer's block with a tied head."""

    def __init__(self, width=32, vocabulary=50):
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(16, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token.weight

    def forward(self, tokens):
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(mixed)
        x = x + self.mlp(self.norm2(x))
        return {"tokens": tokens, "logits": self.head(x), "loss": None}


def tokens(*size):
    return torch.randint(50, size, generator=torch.Generator().manual_seed(0))


def test_a_transformers_block_from_tokens_to_a_tied_head():
    found = rows(Block(), tokens(3, 16))
    assert found.kind.tolist() == [
        "Embedding", "Embedding", "LayerNorm", "Linear", "attention", "Linear", "residual sum", "LayerNorm", "Linear",
        "Linear", "residual sum", "Linear"]  # fmt: skip
    assert found.module[11] == "head"
    assert found.parameters[11] == "head.weight"
    assert found.branch.tolist()[6] == "out.weight"
    assert found.branch.tolist()[10] == "mlp.2.weight"
    assert found.grad_z_second_moment.notna().all()
    assert found.x_second_moment[:2].isna().all()


def test_a_residual_sum_tells_the_branch_from_the_trunk():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 64)

        def forward(self, x):
            branch = self.layer(x)
            branch += x
            return branch

    module, x = Residual(), normal(8, 64)
    found = rows(module, x).iloc[1]
    branch = module.layer(x).square().mean().item()
    assert found.kind == "residual sum"
    assert found.branch_to_trunk == pytest.approx(branch / x.square().mean().item())
    assert found.predicted_z_second_moment == pytest.approx(branch + x.square().mean().item())
    assert found.z_second_moment == pytest.approx((module.layer(x) + x).square().mean().item())


def test_recurrent_layers_and_attention_are_one_row_each_with_all_their_weights():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.attention = nn.LSTM(6, 8, 2, batch_first=True), nn.MultiheadAttention(8, 2)

        def forward(self, x):
            states, (_, _) = self.lstm(x)
            return self.attention(states, states, states)

    module, x = Both(), normal(3, 5, 6)
    found = rows(module, x)
    assert found.kind.tolist() == ["LSTM", "MultiheadAttention"]
    assert found.note.str.contains("theory does not reach").all()
    weights = [parameter for name, parameter in module.lstm.named_parameters() if "weight" in name]
    assert found.weight_second_moment[0] == pytest.approx(mean_square(weights))
    output = module(x)[0]
    told = torch.autograd.grad((output * draw_projection(3, 40, 0).view(3, 5, 8)).sum(), weights)
    assert found.grad_w_second_moment[0] == pytest.approx(mean_square(told))


@pytest.mark.parametrize(("layer", "size"), [
    (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 9, 9)),
    (nn.ConvTranspose2d(4, 6, 4, stride=2, groups=2), (2, 4, 5, 5)),
    (nn.Conv1d(4, 6, 5), (2, 4, 9)), (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)), (nn.Linear(7, 3), (2, 7)),
])  # fmt: skip
def test_fans_are_torchs(layer, size):
    found = rows(layer, normal(*size)).iloc[0]
    assert (found.fan_in, found.fan_out) == nn.init._calculate_fan_in_and_fan_out(layer.weight)


@pytest.mark.parametrize(("size", "product"), [
    ((6, 5), lambda x, w: x @ w), ((6, 5), lambda x, w: torch.addmm(torch.zeros(5), x, w)), ((6,), lambda x, w: x @ w),
    ((3, 6, 5), lambda x, w: x @ w),
])  # fmt: skip
def test_products_with_a_parameter_are_layers(size, product):
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(normal(*size, seed=1))

        def forward(self, x):
            return product(x, self.weight)

    module, x = Product(), normal(400, 6)
    probed = ib.probe(module, x)
    found = probed.layers.iloc[0]
    assert (found.kind, found.terms) == ("Product", 6)
    assert found.z_second_moment == pytest.approx(product(x, module.weight).square().mean().item())
    assert found.predicted_z_second_moment == pytest.approx(6 * module.weight.square().mean().item(), rel=0.1)
    drawn = ib.probe(module, x, init="constant(value=0.5)")
    expected = 0.25 if len(size) == 2 else found.weight_second_moment
    assert drawn.layers.weight_second_moment[0] == pytest.approx(expected)
    assert drawn.notes == (() if len(size) < 3 else ("left as found: weight",))


class Returns(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.layer, self.wrap = nn.Linear(8, 4), wrap

    def forward(self, x):
        return self.wrap(self.layer(x))


@pytest.mark.parametrize("wrap", [
    lambda z: z, lambda z: (None, z.argmax(1), z), lambda z: {"a": [None], "b": {"c": z}}, lambda z: [z[0], z],
    lambda z: z.sum(), lambda z: z.max(1),
])  # fmt: skip
def test_outputs_of_any_shape(wrap):
    assert rows(Returns(wrap), normal(5, 8)).grad_z_second_moment[0] > 0


def test_outputs_without_a_gradient_are_told():
    for wrap in (lambda z: z.argmax(1), lambda z: z.detach(), lambda z: None):
        probed = ib.probe(Returns(wrap), normal(5, 8))
        assert "only the way forward is measured" in probed.notes[0]
        assert probed.layers.grad_z_second_moment.isna().all()
        assert probed.layers.z_second_moment[0] > 0


def test_frozen_layers_pass_gradients_on_and_have_none():
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    module[0].requires_grad_(False)
    found = rows(module, normal(4, 8))
    assert found.note.tolist() == ["frozen", ""]
    assert found.grad_z_second_moment.gt(0).all()
    assert found.grad_w_second_moment.isna().tolist() == [True, False]


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_run_once_for_us(reentrant):
    class Saved(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return self.second(checkpoint(self.first, x, use_reentrant=reentrant))

    found = rows(Saved(), normal(4, 8))
    assert found.module.tolist() == ["first", "second"]
    assert found.grad_z_second_moment.notna().tolist() == [not reentrant, True]
    assert ("no gradient is seen" in found.note[0]) == reentrant


def test_activations_within_a_checkpoint_are_measured():
    """What measuring one saves for its derivative is not the checkpoint's to count."""
    block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh())

    class Saved(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, x):
            return checkpoint(self.block, x, use_reentrant=False)

    here, plain = rows(Saved(), normal(4, 8)), rows(block, normal(4, 8))
    assert here.activation.tolist() == ["relu", "tanh"]
    for column in ("saturated_fraction", "grad_z_second_moment", "grad_w_second_moment", "grad_a_second_moment"):
        assert here[column].tolist() == pytest.approx(plain[column].tolist(), rel=1e-6)


def test_a_part_under_no_grad_is_told():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            with torch.no_grad():
                x = self.body(x)
            return self.head(x)

    found = rows(Backbone(), normal(4, 8))
    assert "no_grad" in found.note[0]
    assert found.z_second_moment.gt(0).all()
    assert found.grad_w_second_moment.notna().tolist() == [False, True]


def test_weights_that_are_computed_from_parameters_belong_to_their_module():
    module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), nn.Tanh(),
                           nn.utils.parametrizations.spectral_norm(nn.Linear(8, 4)))  # fmt: skip
    found = rows(module, normal(4, 8))
    assert found.module.tolist() == ["0", "2"]
    assert found.grad_w_second_moment.gt(0).all()


def test_a_layer_that_theory_does_not_know_is_a_row():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.full((8,), 2.0))

        def forward(self, x):
            return x * self.scale

    found = rows(nn.Sequential(nn.Linear(8, 8), Scale()), normal(4, 8)).iloc[1]
    assert (found.kind, found.note) == ("Scale", "a layer that theory does not know")
    assert found.z_second_moment == pytest.approx(4 * found.x_second_moment)
    assert found.grad_w_second_moment > 0


@pytest.mark.parametrize("gain", [1e-4, 1e4])
def test_scales_beyond_float32_are_told_truly(gain):
    module = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(30)))
    for layer in module:
        layer.weight.data.copy_(gain * torch.eye(8))
    x = normal(4, 8)
    found = rows(module, x)
    assert found.z_second_moment.tolist() == pytest.approx(
        [x.square().mean().item() * gain ** (2 * n) for n in range(1, 31)], rel=1e-5)  # fmt: skip
    last = draw_projection(4, 8, 0).square().mean().item()
    assert found.grad_z_second_moment.tolist() == pytest.approx([last * gain ** (2 * n) for n in range(29, -1, -1)])


def test_scales_beyond_float64_are_missing_and_never_zero():
    module = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(12)))
    for layer in module:
        layer.weight.data.copy_(1e-30 * torch.eye(4))
    probed = ib.probe(module, normal(4, 4))
    z, grad = probed.layers.z_second_moment, probed.layers.grad_z_second_moment
    assert z.notna().sum() == 5
    assert (z.dropna() > 0).all()
    assert (grad.dropna() > 0).all()
    assert grad.isna().any()
    assert any("beyond float64" in note for note in probed.notes)


def test_a_compiled_module_is_measured_as_it_was_written():
    module, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), normal(4, 8)
    found, truth = rows(torch.compile(module), x), rows(module, x)
    assert found.module.tolist() == ["_orig_mod.0", "_orig_mod.2"]
    assert found.grad_w_second_moment.tolist() == truth.grad_w_second_moment.tolist()


def test_sparse_gradients_are_counted():
    table = nn.Embedding(10, 4, sparse=True)
    dense = nn.Embedding(10, 4, _weight=table.weight.detach().clone())
    told = [rows(each, torch.tensor([[1, 1, 3]])).grad_w_second_moment[0] for each in (table, dense)]
    assert told[0] == told[1] > 0


def test_half_precision_is_measured_in_float32():
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    truth = rows(module, normal(4, 8))
    found = rows(module.bfloat16(), normal(4, 8).bfloat16())
    assert found.z_second_moment.tolist() == pytest.approx(truth.z_second_moment.tolist(), rel=0.05)


def test_seeds_draw_anew_and_repeat():
    module, x = mlp(nn.ReLU), normal(8, 32)
    found = rows(module, x, seeds=3)
    assert found.groupby("seed").z_second_moment.first().nunique() == 3
    assert found.init.unique().tolist() == ["reset_parameters"]
    torch.manual_seed(99)
    assert rows(module, x, seeds=3).equals(found)
    variance = found.weight_variance.mean()
    assert variance == pytest.approx(1 / (3 * 32), rel=0.1)


def test_an_initializer_leaves_normalizations_alone_and_zeroes_biases():
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=4))
    module[1].weight.data.fill_(3.0)
    probed = ib.probe(module, normal(4, 3, 8, 8), init="he_normal", seeds=4)
    found = probed.layers.groupby("layer").mean(numeric_only=True)
    assert found.weight_variance.tolist() == pytest.approx([2 / 27, 0, 2 / 36], rel=0.15)
    assert found.weight_second_moment.tolist()[1] == 9
    assert found.predicted_z_second_moment.tolist()[0] == pytest.approx(2, rel=0.2)


def test_an_initializer_is_asked_for_the_activation_that_follows():
    module = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.SELU(), nn.Linear(64, 64), nn.Tanh())
    found = rows(module, normal(4, 64), init="moment", seeds=2).groupby("layer").weight_variance.mean()
    assert found[1] == pytest.approx(1 / 64, rel=0.1)
    assert found[3] == pytest.approx(2.536 / 64, rel=0.1)
    module = nn.Sequential(nn.Linear(8, 8), nn.Softplus())
    with pytest.raises(UsageError, match=r"^0: softplus has no critical weight variance"):
        ib.probe(module, normal(4, 8), init="critical")


def test_what_cannot_be_initialized_is_told_and_stays():
    module = nn.Sequential(nn.Embedding(9, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), nn.PReLU())
    module[2].weight.data.fill_(0.5)
    module[2].reset_parameters = None
    batch, found = torch.arange(9), rows(module, torch.arange(9))
    kept, told = "1.parametrizations.weight, 1, 2", "as found, for want of a reset_parameters of its own"
    for options, layers in (({"init": "he_normal"}, [0, 1]), ({"seeds": 1}, [1])):
        probed = ib.probe(module, batch, **options)
        assert probed.layers.weight_variance[layers].tolist() == found.weight_variance[layers].tolist()
        left = "left as found: 0.weight, 1, whose weight is computed, 2.weight"
        assert probed.notes == (left if "init" in options else f"{told}: {kept}",)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_lost_from_their_layer_on(number):
    module = mlp(nn.ReLU)
    with torch.no_grad():
        module[2].weight.fill_(number)
    found = ib.probe(module, normal(4, 32))
    assert not found.stable
    assert found.diagnosis[["word", "starts_at"]].to_numpy().tolist() == [["lost", "2"], ["lost", "0"]]


class Chain(nn.Module):
    """Linear layers, `step(number, z)` behind each."""

    def __init__(self, width, depth, step):
        super().__init__()
        self.layers, self.step = nn.ModuleList(nn.Linear(width, width) for _ in range(depth)), step

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = self.step(number, layer(x))
        return x


def test_a_loss_between_the_layers_is_not_blamed_on_their_weights():
    """He keeps what ReLU halves; what an average over three neighbours takes away is no weight's."""
    quiet = Chain(64, 12, lambda _, z: F.avg_pool1d(F.relu(z)[:, None], 3, 1, 1)[:, 0])
    for cause in ib.probe(quiet, normal(32, 64), init="he_normal", seeds=2).diagnosis.cause:
        assert "that is not it: what stands between these layers is" in cause
        assert "would keep it" not in cause


def test_a_way_back_that_fails_tells_of_no_gradient():
    def overwritten(number, z):
        a = torch.sigmoid(z)
        return a.add_(1) if number == 1 else a  # the sigmoid needs its own value on the way back

    found = ib.probe(Chain(16, 4, overwritten), normal(4, 16))
    assert any("the way back failed" in note for note in found.notes)
    assert found.layers.grad_z_second_moment.isna().all()
    assert found.diagnosis.set_index("direction").word["backward"] == "lost"


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("computed", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_that_hooks_compute_stay_as_found_and_that_is_told(computed):
    module = nn.Sequential(computed(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 16))
    found = ib.probe(module, normal(4, 16), seeds=3)
    assert found.notes == ("as found, for want of a reset_parameters of its own: 0",)
    assert found.layers[found.layers.module == "0"].weight_variance.nunique() == 1
    assert found.layers[found.layers.module == "2"].weight_variance.nunique() == 3


def test_a_head_tied_to_an_embedding_stays_with_it():
    module = nn.Sequential(nn.Embedding(40, 32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 40, bias=False))
    module[3].weight = module[0].weight
    before, batch = float(module[0].weight.detach().var(correction=0)), torch.arange(40)
    found = ib.probe(module, batch, init="he_normal", seeds=2)
    assert found.layers[found.layers.module == "0"].weight_variance.tolist() == pytest.approx([before] * 2, rel=1e-6)
    assert found.notes == ("left as found: 0.weight",)


def test_a_filter_keeps_layers_by_name():
    found = rows(mlp(nn.ReLU), normal(4, 32), only=["2", "[4-6]"])
    assert found.module.tolist() == ["2", "4", "6"]
    assert found.layer.tolist() == [2, 3, 4]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
@pytest.mark.parametrize(("call", "message"), [
    (lambda: ib.probe("resnet", normal(2, 2)), "what is probed is a torch.nn.Module, not str"),
    (lambda: ib.probe(nn.Linear(2, 2), [1, 2]), "a batch is a tensor, or a tuple, list or dictionary of tensors"),
    (lambda: ib.probe(nn.Linear(2, 2), normal(2, 2), seeds=-1), "seeds must be from 0 to 1,000,000, not -1"),
    (lambda: ib.probe(nn.Linear(2, 2), normal(2, 2), seeds="3"), "seeds must be a whole number, not '3'"),
    (lambda: ib.probe(nn.Linear(2, 2), normal(2, 2), init=["he"]), "init must be a name, not ['he']"),
    (lambda: ib.probe(nn.Linear(2, 2), normal(2, 2), init="hee"), "unknown initializer 'hee'; did you mean 'he'?"),
    (lambda: ib.probe(torch.jit.script(nn.Linear(2, 2)), normal(2, 2)),
     "a scripted module shows no layers: probe the module that it was made of"),
    (lambda: ib.probe(nn.LazyLinear(2), normal(2, 2)), "a lazy module has no shapes yet: call it once, then probe it"),
    (lambda: ib.probe(nn.Sequential(nn.Linear(8, 4), nn.LazyBatchNorm1d(affine=False)), normal(2, 8)),
     "a lazy module has no shapes yet: call it once, then probe it"),
    (lambda: ib.probe(mlp(nn.ReLU), normal(0, 32)), "the batch is empty"),
    (lambda: ib.probe(mlp(nn.ReLU), normal(2, 32), only="3"), "no layer is called 3; accepted: 0, 2, 4, 6"),
])  # fmt: skip
def test_what_cannot_be_gets_one_line(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == message


def test_a_module_that_does_not_take_the_input_says_so():
    with pytest.raises(WorkError, match=r"^the module does not take this input: RuntimeError: mat1 and mat2") as caught:
        ib.probe(nn.Linear(3, 2), normal(2, 2))
    assert "\n" not in str(caught.value)
    with pytest.raises(WorkError, match=r"^no layer was seen"):
        ib.probe(nn.Flatten(), normal(2, 2))


@pytest.mark.parametrize("batch", [torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)])
def test_whole_numbers_for_a_layer_of_real_ones_get_one_line(batch):
    with pytest.raises(WorkError) as caught:
        ib.probe(nn.Sequential(nn.Linear(3, 2)), batch)
    assert str(caught.value) == f"0 takes real numbers and is given {batch.dtype}: try batch.float()"


class Casting(nn.Module):
    """Casts in its forward pass."""

    def __init__(self, cast):
        super().__init__()
        self.first, self.last, self.cast = nn.Linear(8, 8), nn.Linear(8, 8), cast

    def forward(self, x):
        return self.last(torch.relu(self.first(self.cast(x))))


@pytest.mark.parametrize("cast", [lambda x: x.half(), lambda x: x.to(torch.bfloat16), lambda x: x.to(dtype=torch.half)])
def test_a_module_that_casts_to_half_precision_is_measured_in_float32(cast):
    torch.manual_seed(0)
    module, x = Casting(cast), normal(4, 8)
    plain = Casting(lambda x: x)
    plain.load_state_dict(module.state_dict())
    for column in ("z_second_moment", "grad_z_second_moment"):
        assert rows(module, x)[column].tolist() == rows(plain, x)[column].tolist()
    assert rows(module.half(), x).z_second_moment.tolist() == pytest.approx(rows(plain, x).z_second_moment, rel=1e-2)


def test_a_module_that_makes_its_own_float32_runs_in_float64():
    """Its numbers are too small for float32."""

    def added(x):
        return x.float() + torch.zeros(x.shape) + torch.zeros(x.shape, dtype=torch.float32)

    module = Casting(added)
    with torch.no_grad():
        module.first.weight.mul_(1e-25)
        module.first.bias.zero_()
    x, before = normal(4, 8), torch.get_default_dtype()
    found = ib.probe(module, x)
    truth = (x.double() @ module.first.weight.double().T).square().mean().item()
    assert found.notes == ()
    assert found.layers.z_second_moment[0] == pytest.approx(truth)
    assert torch.get_default_dtype() is before


def test_arguments_and_names_are_passed_on():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Bilinear(4, 3, 2)

        def forward(self, a, b):
            return self.layer(a, b)

    listed, named = (normal(5, 4), normal(5, 3)), {"b": normal(5, 3), "a": normal(5, 4)}
    assert rows(Two(), listed).kind[0] == "Bilinear"
    assert rows(Two(), named).fan_in[0] == 4 * 3
