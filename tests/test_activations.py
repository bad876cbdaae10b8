"""The activations: slopes against differences, and kinks, flat pieces and steepest slopes against scans of phi."""

import math

import numpy as np
import pytest
import torch

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.errors import UsageError

NAMES = [entry.name for entry in ACTIVATIONS]
VARIANTS = [*NAMES, "leaky_relu(slope=0.3)", "leaky_relu(slope=-0.5)", "celu(alpha=0.4)", "celu(alpha=3)"]
STEP = 0.01
ORDER = 8
ROUNDING = 1e-9
"""An eighth difference of an analytic slope at this step is below 4e-11 (softsign, whose pole is at distance 1)."""


def away_from(points, z, distance):
    return z[[all(abs(x - point) > distance for point in points) for x in z]]


@pytest.mark.parametrize("spec", VARIANTS)
def test_slopes_equal_central_differences(spec):
    activation, h = ACTIVATIONS.make(spec), 1e-5
    z = away_from(activation.kinks, np.linspace(-10, 10, 4001), 2 * h)
    differences = (activation.value(z + h) - activation.value(z - h)) / (2 * h)
    np.testing.assert_allclose(activation.slope(z), differences, rtol=0, atol=1e-9)


@pytest.mark.parametrize("spec", VARIANTS)
def test_value_and_slope_keep_the_dtype_and_leave_the_input_alone(spec):
    activation = ACTIVATIONS.make(spec)
    z = torch.linspace(-5, 5, 102)[1:].reshape(1, 101)
    before = z.clone()
    with torch.no_grad():
        value, slope = activation.value_and_slope(z)
    assert (value.dtype, slope.dtype, value.shape, slope.shape) == (z.dtype, z.dtype, z.shape, z.shape)
    assert not any(tensor.requires_grad for tensor in (value, slope, z))
    assert torch.equal(z, before)
    away = [i for i, x in enumerate(z[0]) if all(abs(float(x) - kink) > 1e-5 for kink in activation.kinks)]
    np.testing.assert_allclose(value[0, away], activation.value(z.double().numpy())[0, away], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(slope[0, away], activation.slope(z.double().numpy())[0, away], rtol=2e-5, atol=1e-6)


def jumps(activation):
    """Windows in |z| <= 10 in which phi' is not smooth: its eighth difference is large wherever phi', phi'' or a
    derivative up to the fourth jumps, and nowhere else."""
    z = np.arange(-10, 10, STEP) + 0.37 * STEP  # no kink is on the grid
    differences = np.diff(activation.slope(z), ORDER)
    starts = z[:-ORDER][np.abs(differences) > ROUNDING]
    return [(start, start + ORDER * STEP) for start in starts]


@pytest.mark.parametrize("spec", VARIANTS)
def test_kinks_are_all_the_kinks(spec):
    activation = ACTIVATIONS.make(spec)
    windows = jumps(activation)
    for low, high in windows:
        assert any(low < kink < high for kink in activation.kinks), f"not smooth in ({low}, {high})"
    for kink in activation.kinks:
        assert any(low < kink < high for low, high in windows), f"smooth at {kink}"


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_scan_sees_kinks_in_phi_and_in_its_derivatives(power):
    found = jumps(Activation(lambda z: torch.sin(z) + 0.1 * (z - 2.0).clamp(min=0) ** power))
    assert found
    assert all(low < 2.0 < high for low, high in found)


@pytest.mark.parametrize("spec", VARIANTS)
def test_flat_is_true_exactly_where_the_slope_is_zero_on_an_interval(spec):
    activation = ACTIVATIONS.make(spec)
    slope = activation.slope(np.arange(-10, 10, STEP) + 0.37 * STEP)
    zeros = slope == 0
    assert activation.flat == bool((zeros[1:] & zeros[:-1]).any())


@pytest.mark.parametrize("spec", VARIANTS)
def test_steepest_is_the_largest_slope(spec):
    """On a finer and wider grid than its own, whose step is 0.001, at points that are not its own."""
    activation = ACTIVATIONS.make(spec)
    z = np.linspace(-50, 50, 1_000_003)
    largest = np.abs(activation.value(z[1:]) - activation.value(z[:-1])).max() / (z[1] - z[0])
    assert activation.steepest == pytest.approx(largest, rel=1e-3)


@pytest.mark.parametrize(
    ("spec", "steepest"),
    [("identity", 1), ("sigmoid", 0.25), ("tanh", 1), ("erf", 2 / math.sqrt(math.pi)), ("hardswish", 1.5),
     ("selu", 1.7580993408473766), ("gelu", 0.5 * math.erfc(-1) + math.sqrt(2) * math.exp(-1) / math.sqrt(2 * math.pi)),
     ("leaky_relu(slope=-3)", 3)],
)  # fmt: skip
def test_steepest_slopes_that_are_known(spec, steepest):
    """GELU's is at sqrt 2."""
    assert ACTIVATIONS.make(spec).steepest == pytest.approx(steepest, rel=1e-3)


@pytest.mark.parametrize("spec", VARIANTS)
def test_values_and_slopes_stay_finite_far_out(spec):
    activation = ACTIVATIONS.make(spec)
    far = np.logspace(0, 300, 301)
    z = np.concatenate([-far, far])
    assert np.isfinite(activation.value(z)).all()
    assert np.isfinite(activation.slope(z)).all()


@pytest.mark.parametrize("spec", VARIANTS)
def test_numbers_at_zero(spec):
    activation, h = ACTIVATIONS.make(spec), 1e-7
    below, at, above = activation.value(np.array([-h, 0.0, h]))
    assert activation.at_zero == at
    assert activation.slopes_at_zero == pytest.approx(((at - below) / h, (above - at) / h), abs=1e-6)


@pytest.mark.parametrize("spec", VARIANTS)
def test_an_entry_is_made_once_and_carries_its_spec(spec):
    made = ACTIVATIONS.make(spec)
    assert made is ACTIVATIONS.make(spec)
    assert made.spec == spec


def test_a_constant_is_an_activation():
    constant = Activation(lambda z: torch.full_like(z, 2.0), flat=True)
    value, slope = constant.value_and_slope(torch.linspace(-1, 1, 5))
    assert (value.tolist(), slope.tolist()) == ([2.0] * 5, [0.0] * 5)
    assert (constant.at_zero, constant.slopes_at_zero, constant.steepest) == (2.0, (0.0, 0.0), 0.0)


def test_a_slope_that_shrinks_to_zero_is_zero_there():
    """The squared rectifier: no kink in its slope, and none to divide by."""
    assert Activation(lambda z: z.clamp(min=0) ** 2, kinks=(0.0,), flat=True).slopes_at_zero == (0.0, 0.0)


@pytest.mark.parametrize("alpha", [0, -1.5])
def test_celu_needs_a_positive_alpha(alpha):
    with pytest.raises(UsageError) as caught:
        ACTIVATIONS.make(f"celu(alpha={alpha})")
    assert str(caught.value) == f"celu: alpha must be above 0, not {alpha}"


def test_aliases_name_the_entry():
    aliases = {alias: entry.name for entry in ACTIVATIONS for alias in entry.aliases}
    assert {"linear": "identity", "logistic": "sigmoid", "swish": "silu"}.items() <= aliases.items()
    for alias, name in aliases.items():
        assert ACTIVATIONS.make(alias) is ACTIVATIONS.make(name)
