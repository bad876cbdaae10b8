"""Any elementwise function as an activation: its kinks are found, and theory of it is that of the catalogue's own."""

import numpy as np
import pandas as pd
import pytest
import torch
from plugin_catalogues import lent_catalogues
from torch.nn import functional as F

import initbench as ib
from initbench.activations import ACTIVATIONS, Activation
from initbench.activations.kinks import is_flat, kinks
from initbench.core.errors import UsageError

PLACE = 1e-8
VARIANTS = [*(entry.name for entry in ACTIVATIONS), "leaky_relu(slope=-3)", "leaky_relu(slope=0)", "celu(alpha=0.1)"]


@pytest.fixture(autouse=True)
def _lent():
    with lent_catalogues():
        yield


@pytest.mark.parametrize("spec", VARIANTS)
def test_the_kinks_of_the_catalogue_are_found(spec):
    declared = ACTIVATIONS.make(spec)
    found = kinks(declared.function)
    assert found == pytest.approx(declared.kinks, abs=PLACE)
    assert is_flat(declared.function, found) is (declared.flat or spec == "leaky_relu(slope=0)")


KINKED = {
    "a jump of the value": (lambda z: torch.where(z > 1, z, 0.5 * z), (1.0,), False),
    "a jump of the slope at a number without end": (lambda z: torch.relu(3 * z - 1), (1 / 3,), True),
    "where sin has turned flat": (lambda z: torch.where(z > np.pi / 2, 1.0, torch.sin(z)), (np.pi / 2,), True),
    "a jump of phi''": (lambda z: z.clamp(min=0) ** 2, (0.0,), True),
    "a jump of phi'''": (lambda z: torch.sin(z) + (z - 2).clamp(min=0) ** 3, (2.0,), False),
    "two in one interval of the grid": (lambda z: torch.relu(z - 1) + torch.relu(z - 1.001), (1.0, 1.001), True),
    "two near 0": (lambda z: z.clamp(-1e-5, 1e-5), (-1e-5, 1e-5), True),
    "far out": (lambda z: z.clamp(-20, 150.5), (-20.0, 150.5), True),
    "steps": (lambda z: z.clamp(-2, 2).round(), (-1.5, -0.5, 0.5, 1.5), True),
    "a mirror": (lambda z: torch.tanh(z.abs()), (0.0,), False),
    "a constant": (lambda z: torch.full_like(z, 2.0), (), True),
    "a fast wave": (lambda z: torch.sin(100 * z), (), False),
    "a steep step": (lambda z: torch.tanh(1000 * z), (), False),
    "an explosion": (torch.exp, (), False),
    "a bell": (lambda z: torch.exp(-(z**2)), (), False),
    "rational": (lambda z: z / (1 + z * z), (), False),
    "tanh's GELU": (lambda z: F.gelu(z, approximate="tanh"), (), False),
}


@pytest.mark.parametrize(("function", "at", "flat"), KINKED.values(), ids=KINKED)
def test_kinks_are_found_and_none_where_there_are_none(function, at, flat):
    found = kinks(function)
    assert found == pytest.approx(at, rel=1e-12)
    assert is_flat(function, found) is flat


TWINS = {
    "relu": lambda z: z.clamp(min=0),
    "leaky_relu(slope=0.2)": lambda z: torch.where(z > 0, z, 0.2 * z),
    "elu": lambda z: torch.where(z > 0, z, torch.expm1(z.clamp(max=0))),
    "hardswish": lambda z: z * (z + 3).clamp(0, 6) / 6,
    "silu": lambda z: z * torch.sigmoid(z),
    "hardtanh": lambda z: z.clamp(-1, 1),
}


@pytest.mark.parametrize(("twin", "function"), TWINS.items(), ids=TWINS)
def test_theory_of_a_copy_is_that_of_the_catalogue(twin, function):
    ib.activation(name="copy")(function)
    network = {
        "init": ["he_normal", "orthogonal", "uniform(bound=0.2)"],
        "depth": 6,
        "width": 64,
        "bias_variance": 0.05,
    }
    copy, original = (ib.predict(activation=name, **network) for name in ("copy", twin))
    pd.testing.assert_frame_equal(copy.drop(columns="activation"), original.drop(columns="activation"), rtol=1e-9)


def test_parameters_are_the_specs_and_kinks_follow_them():
    @ib.activation
    def bent(z, at=1.0, slope=0.5):
        return torch.where(z > at, z, slope * z)

    assert ACTIVATIONS.make("bent").kinks == (1.0,)
    assert ACTIVATIONS.make("bent(at=-0.25)").kinks == (-0.25,)
    assert ACTIVATIONS.canonical("bent(1, slope=0.1)") == "bent(slope=0.1)"


def test_kinks_that_are_told_are_taken():
    ib.activation(name="told", kinks=lambda at: [-at, at], flat=True)(lambda z, at=1.0: z.clamp(-at, at))
    assert (ACTIVATIONS.make("told(at=2)").kinks, ACTIVATIONS.make("told").flat) == ((-2.0, 2.0), True)


def test_a_function_of_torch_and_a_factory_are_activations_too():
    ib.activation(name="t")(torch.tanh)
    ib.activation(name="own")(lambda: Activation(torch.tanh))
    assert ACTIVATIONS.make("t").kinks == ACTIVATIONS.make("own").kinks == ()


BAD = {
    "is not elementwise: of the shape (2, 4) it made ()": lambda z: z.sum(),
    "is not elementwise: what it makes of a number depends on the others, or on chance": lambda z: z - z.mean(),
    "returned float, not a tensor": lambda z: 0.5,
    "returned torch.float32 of torch.float64": lambda z: z.float(),
    "jumps at more than 64 points: theory does not integrate so many": torch.floor,
}


@pytest.mark.parametrize(("message", "function"), BAD.items(), ids=BAD)
def test_what_is_no_activation_is_told_in_one_line(message, function):
    ib.activation(name="bad")(function)
    with pytest.raises(UsageError) as caught:
        ACTIVATIONS.make("bad")
    assert str(caught.value).endswith(message)
    assert str(caught.value).startswith("activation 'bad'")


def test_an_error_in_a_network_says_where():
    @ib.activation
    def narrow(z):
        return z.expand(5) if z.dim() == 3 else z  # a stack of networks has three axes

    with pytest.raises(UsageError, match=r"activation 'narrow': .*test_plugin_activations.py, line \d+: RuntimeError"):
        ib.propagate(init="he_normal", activation="narrow", depth=2, width=8, batch=4, seeds=1)
