"""What a probe takes for a layer's activation, however it is written, and where it gives no advice."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import initbench as ib
from initbench.core.columns import FLAT_SLOPE
from initbench.engine.stack import draw_projection

WIDTH = 64


def normal(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


class Between(nn.Module):
    """Two layers, and `phi` between them."""

    def __init__(self, phi):
        super().__init__()
        self.first, self.phi, self.last = nn.Linear(WIDTH, WIDTH), phi, nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.last(self.phi(self.first(x)))


def first(phi):
    return ib.probe(Between(phi), normal(32, WIDTH)).layers.iloc[0]


class Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * (z > 0)

    @staticmethod
    def backward(ctx, grad):
        return grad * (ctx.saved_tensors[0] > 0)


class Outside(Rectified):
    """No call of torch's makes its values."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.from_numpy(z.detach().numpy().clip(0))


def gelu_by_hand(z):
    return 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * torch.pow(z, 3.0))))


def statistic_first(z):
    z.pow(2).mean()
    return F.relu(z)


class Swish(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, z):
        return z * torch.sigmoid(self.beta * z)


WRITTEN = {
    "a mask": (lambda z: z * (z > 0), "relu"),
    "a mask of numbers": (lambda z: (z > 0).float() * z, "relu"),
    "torch.where": (lambda z: torch.where(z > 0, z, 0.1 * z), "leaky_relu(slope=0.1)"),
    "torch.where and zeros": (lambda z: torch.where(z > 0, z, torch.zeros_like(z)), "relu"),
    "the larger": (lambda z: torch.max(z, torch.zeros(z.shape)), "relu"),
    "autograd.Function": (Rectified.apply, "relu"),
    "between itself and ReLU": (lambda z: torch.lerp(z, F.relu(z), 0.5), "leaky_relu(slope=0.5)"),
    "one call that adds a product": (
        lambda z: torch.addcmul(0.1 * z, z, (z > 0).float(), value=0.9),
        "leaky_relu(slope=0.1)",
    ),
    "one call that adds a quotient": (lambda z: torch.addcdiv(torch.zeros(1), z, 1 + z.abs()), "softsign"),
    "SiLU": (lambda z: z * torch.sigmoid(z), "silu"),
    "SiLU as a quotient": (lambda z: z / (1 + torch.exp(-z)), "silu"),
    "Swish with a learned slope of 1": (Swish(), "silu"),
    "Mish": (lambda z: z * torch.tanh(F.softplus(z)), "mish"),
    "GELU": (lambda z: 0.5 * z * (1 + torch.erf(z / math.sqrt(2))), "gelu"),
    "GELU by tanh": (gelu_by_hand, "gelu(approximate=tanh)"),
    "softsign": (lambda z: z / (1 + z.abs()), "softsign"),
    "a shift that is learned": (lambda z: F.relu(z + torch.linspace(-1, 1, WIDTH)), "relu"),
    "behind an interpolation": (lambda z: F.relu(F.interpolate(z[:, None], WIDTH, mode="linear"))[:, 0], "relu"),
    "in half precision": (lambda z: F.relu(z.half()).float(), "relu"),
    "behind a statistic": (statistic_first, "relu"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_an_activation_that_is_written_by_hand_is_the_catalogues(name):
    phi, spec = WRITTEN[name]
    found = first(phi)
    assert (found.activation, found.note) == (spec, "")


MADE = {
    "PReLU": nn.PReLU(init=0.5),
    "PReLU of a unit each": nn.PReLU(WIDTH),
    "RReLU": nn.RReLU(0.2, 0.9),
    "RReLU in use": nn.RReLU(0.2, 0.9).eval(),
    "squared": lambda z: F.relu(z) ** 2,
    "LeCun's tanh": lambda z: 1.7159 * torch.tanh(2 / 3 * z),
    "scaled": lambda z: 0.3 * F.relu(z),
    "scaled by the unit": lambda z: F.relu(z) * torch.linspace(0.1, 2, WIDTH),
    "snake": lambda z: z + torch.sin(z) ** 2,
}
nn.init.uniform_(MADE["PReLU of a unit each"].weight, -0.2, 0.9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MADE)
def test_the_variance_keeps_the_second_moment_of_what_stands_between(name):
    """Held against a plain mean over many draws of z."""
    phi = MADE[name]
    found = first(phi)
    torch.manual_seed(0)
    z = normal(20_000, WIDTH, seed=1)
    with torch.no_grad():
        passed = phi(z).square().mean().item()
    assert found.kept_variance * WIDTH * passed == pytest.approx(1, rel=0.02)


class Excited(nn.Module):
    """Squeeze and excite."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)

    def forward(self, z):
        return z * torch.sigmoid(self.excite(torch.relu(self.squeeze(z))))


def halves(z):
    value, gate = z.chunk(2, -1)
    return torch.cat([value * torch.sigmoid(gate)] * 2, -1)


GATED = "its output is multiplied or divided by another signal: no variance is known to keep that"
UNSEEN = "what takes its output is no function of torch: no variance is known to keep that"
NO_FUNCTION = "{}, to which its output goes, is none that theory follows: no variance is known to keep that"
UNKNOWN = {
    "two halves": (halves, GATED),
    "squeeze and excite": (Excited(), GATED),
    "GLU": (lambda z: torch.cat([F.glu(z)] * 2, -1), NO_FUNCTION.format("glu")),
    "maxout": (lambda z: torch.cat([z.view(-1, WIDTH // 2, 2).max(-1)[0]] * 2, -1), NO_FUNCTION.format("max")),
    "softmax": (lambda z: torch.softmax(z, -1), NO_FUNCTION.format("softmax")),
    "made elsewhere": (Outside.apply, UNSEEN),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_where_theory_does_not_reach_no_variance_is_recommended(name):
    phi, note = UNKNOWN[name]
    probed = ib.probe(Between(phi), normal(32, WIDTH))
    assert math.isnan(probed.layers.kept_variance[0])
    assert probed.layers.note[0] == note
    assert '"last.weight": 1 / 64' in probed.suggestion
    assert '"first.weight"' not in probed.suggestion


def test_the_gate_of_squeeze_and_excite_is_not_its_layers_activation():
    found = ib.probe(Between(Excited()), normal(32, WIDTH)).layers.set_index("module")
    assert found.kept_variance.isna().to_dict() == {"first": True, "phi.squeeze": False, "phi.excite": True,
                                                    "last": False}  # fmt: skip


@pytest.mark.parametrize("phi", [lambda z: z * torch.sigmoid(z), F.silu])
def test_what_is_made_of_two_forms_of_an_output_is_measured_as_one(phi):
    module, x = Between(phi), normal(32, WIDTH)
    found = ib.probe(module, x).layers.iloc[0]
    z = module.first(x)
    a = phi(z)
    loss = (module.last(a) * draw_projection(32, WIDTH, 0)).sum()
    slopes = torch.autograd.functional.jvp(F.silu, z.detach(), torch.ones_like(z))[1]
    flat = (slopes.abs() < FLAT_SLOPE * slopes.max()).float().mean().item()
    assert found.a_second_moment == pytest.approx(a.square().mean().item(), rel=1e-5)
    assert found.grad_a_second_moment == pytest.approx(torch.autograd.grad(loss, a)[0].square().mean().item(), rel=1e-4)
    assert found.saturated_fraction == pytest.approx(flat, abs=0.01)


class Normalized(nn.Module):
    """A norm of a row of 64 by hand, with a gain."""

    def __init__(self, way):
        super().__init__()
        self.gain, self.way = nn.Parameter(torch.linspace(0.5, 1.5, WIDTH)), way

    def forward(self, z):
        return torch.relu(self.way(z) * self.gain)


BY_HAND = {
    "root mean square": lambda z: z * torch.rsqrt(z.pow(2).mean(-1, keepdim=True) + 1e-6),
    "standard deviation": lambda z: (z - z.mean(-1, keepdim=True)) / (z.std(-1, keepdim=True) + 1e-6),
    "variance": lambda z: (z - z.mean(-1, keepdim=True)) / torch.sqrt(z.var(-1, keepdim=True) + 1e-6),
    "length": lambda z: z / z.norm(dim=-1, keepdim=True),
}


@pytest.mark.parametrize("way", BY_HAND)
def test_a_normalization_by_hand_is_one(way):
    blocks = (part for _ in range(8) for part in (nn.Linear(WIDTH, WIDTH), Normalized(BY_HAND[way])))
    probed = ib.probe(nn.Sequential(*blocks, nn.Linear(WIDTH, 4)), normal(32, WIDTH))
    layers = probed.layers[probed.layers.kind == "Linear"]
    assert layers.normalized_by.tolist() == ["by hand"] * 8 + [""]
    assert layers.note.eq("").all()
    assert layers.activation.str.startswith("relu").tolist() == [True] * 8 + [False]
    assert "nothing normalizes" not in str(probed)


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.gate = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, z):
        return self.value(z) * torch.sigmoid(self.gate(z))


def test_a_gate_is_not_told_as_what_layers_pass_on():
    row = ib.probe(nn.Sequential(*(Gate() for _ in range(12))), normal(32, WIDTH)).diagnosis.iloc[0]
    assert row.word == "vanishing"
    assert "sigmoid" not in row.cause
    assert row.cause.endswith("nothing normalizes; no variance is known to keep it")


ODD = {
    "log": torch.log,
    "reciprocal": lambda z: 1 / z,
    "exponential of a square": lambda z: torch.exp(z**2),
    "nothing": lambda z: z.clamp(0, 0),
}


@pytest.mark.parametrize("name", ODD)
def test_what_has_no_moments_has_no_variance(name):
    found = first(ODD[name])
    assert math.isnan(found.kept_variance)
    assert found.note.endswith("is none that theory follows: no variance is known to keep that")


def test_a_step_and_a_dropout_by_hand_are_followed():
    assert first(lambda z: (z > 0).float()).kept_variance * WIDTH == pytest.approx(2)
    dropped = first(lambda z: F.relu(z) * (torch.rand_like(z) > 0.2) / 0.8)
    assert dropped.kept_variance * WIDTH == pytest.approx(2 * 0.8, rel=0.05)


def test_a_sigmoid_at_the_output_alone_has_no_level_to_settle_at():
    """Its layer is a head: 103/fan_in is for the sigmoids that another layer takes."""
    parts = [nn.Linear(WIDTH, WIDTH), nn.Sigmoid()]
    layers = ib.probe(nn.Sequential(*parts, nn.Linear(WIDTH, 8), nn.Sigmoid()), normal(32, WIDTH)).layers
    assert (layers.kept_variance * layers.terms).tolist() == pytest.approx([103.0, 1], rel=1e-3)
