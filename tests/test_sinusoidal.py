"""Sinusoidal weights: values by hand from the paper's formula, its variance, and what it does to square layers."""

import math

import numpy as np
import pytest
import torch

from initbench import predict, propagate, reference
from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Layer, Network
from initbench.datasets import Data
from initbench.engine.training.trainer import METRICS, train
from initbench.initializers import INITIALIZERS, Setting
from initbench.initializers.bases import parameters
from initbench.recipe.samples import split

SINUSOIDAL = INITIALIZERS.make("sinusoidal")
RELU = ACTIVATIONS.make("relu")
SHAPES = [(784, 100), (100, 10), (64, 64), (63, 63), (5, 40), (40, 5), (3, 1), (1, 3), (2, 3), (4, 2), (2, 4)]


def promise(fan_in, fan_out):
    return SINUSOIDAL.promise(Setting(Layer(1, fan_in, fan_out), RELU))


def weights(fan_in, fan_out, seed=0):
    return parameters(SINUSOIDAL, promise(fan_in, fan_out), seed)[0].double().numpy()


def test_four_inputs_and_three_units_by_hand():
    """Angles 120° + 90° j, 240° + 180° j, 360° + 270° j; the squares' mean is 7/12, their variance 2/7."""
    r = math.sqrt(3) / 2
    waves = np.array([[r, -0.5, -r, 0.5], [-r, r, -r, r], [0, -1, 0, 1]])
    np.testing.assert_allclose(weights(4, 3), math.sqrt(24) / 7 * waves, atol=1e-7)
    assert promise(4, 3).variance == pytest.approx(2 / 7, rel=1e-14)
    assert promise(4, 3).mean == pytest.approx(0, abs=1e-16)


def test_two_inputs_and_three_units_by_hand():
    """120° + 180° j, 240° twice, 0°: mean -r/3 and variance 5/12 of the waves."""
    r = math.sqrt(3) / 2
    waves, amplitude = np.array([[r, -r], [-r, -r], [0, 0]]), math.sqrt(24) / 5
    np.testing.assert_allclose(weights(2, 3), amplitude * waves, atol=1e-7)
    found = promise(2, 3)
    assert (found.mean, found.variance) == pytest.approx((-r / 3 * amplitude, 2 / 5), rel=1e-14)


@pytest.mark.parametrize(("fan_in", "fan_out"), SHAPES)
def test_every_weight_is_the_formulas_and_the_variance_glorots(fan_in, fan_out):
    waves = np.array([[math.sin(2 * math.pi * math.fmod(i * j / fan_in + i / fan_out, 1)) for j in range(fan_in)]
                      for i in range(1, fan_out + 1)])  # fmt: skip
    expected = waves * math.sqrt(2 / (fan_in + fan_out) / waves.var())
    np.testing.assert_allclose(weights(fan_in, fan_out), expected, atol=2e-7)
    found = promise(fan_in, fan_out)
    assert found.variance == pytest.approx(2 / (fan_in + fan_out), rel=1e-12)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-12)


def test_the_amplitude_is_two_over_the_root_of_both_fans_where_no_wave_is_constant():
    """sin² is 1/2 on average over whole turns: a²/2 = 2/(fan_in + fan_out)."""
    found = weights(784, 100)
    assert np.sqrt(2 * np.square(found).mean(axis=1)) == pytest.approx(np.full(100, 2 / math.sqrt(884)), rel=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.zeros(100), abs=1e-5)


@pytest.mark.parametrize(("width", "silent"), [(64, 2), (63, 1)])
def test_on_square_layers_half_of_the_units_are_the_others_negatives(width, silent):
    found = weights(width, width)
    np.testing.assert_allclose(found[: width - 1], -found[: width - 1][::-1], atol=1e-7)
    assert np.linalg.matrix_rank(found, tol=1e-4) == (width - 1) // 2
    assert (np.abs(found).max(axis=1) < 1e-7).sum() == silent


def test_every_seed_has_the_same_and_no_law_is_about_it():
    assert (weights(30, 20, seed=0) == weights(30, 20, seed=9)).all()
    assert (promise(30, 20).coupling, promise(30, 20).random) == ("structured", False)
    table = predict(init="sinusoidal", activation="tanh", depth=3, width=16)
    assert table.z_second_moment.isna().all()
    assert set(table[table.law == "mean_field"].note) == {
        "weights that hang together in a way that no law is about"}  # fmt: skip


def test_a_linear_layer_of_it_is_measured():
    """Of E[x²] = 1, each of 100 units of 784 inputs has 784 · 2/884."""
    z = propagate(init="sinusoidal", activation="identity", widths=[784, 100], seeds=40, batch=16).z_second_moment
    assert z.mean() == pytest.approx(2 * 784 / 884, abs=4 * z.std() / math.sqrt(len(z)))


def test_a_stack_trains_as_the_plain_loop_does():
    drawn = torch.Generator().manual_seed(0)
    images, labels = torch.rand(200, 12, generator=drawn), torch.randint(3, (200,), generator=drawn)
    data = split(Data(images, labels, images, labels, shape=(1, 3, 4), classes=3), "standardize", 0.2, 0)
    data = data.to(torch.device("cpu"), torch.float64)
    cell = Cell(init="sinusoidal", activation="tanh", depth=3, width=12, lr=0.02, steps=50)
    (outcome,), twin = train([cell], data), reference.train(cell, data)
    assert [outcome.metrics[name] for name in METRICS] == pytest.approx([twin[name] for name in METRICS], rel=1e-9)


@pytest.mark.parametrize(("fan_in", "fan_out"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_layers_whose_waves_are_all_zero_are_refused_in_one_line(fan_in, fan_out):
    with pytest.raises(UsageError) as caught:
        SINUSOIDAL.promises(RELU, Network((fan_in, fan_out)))
    assert str(caught.value) == f"sinusoidal: all waves of a layer of {fan_in} inputs and {fan_out} units are 0"
