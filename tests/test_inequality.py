"""Inputs of one batch that drift apart: against random draws, and against networks simulated in plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from initbench.activations import ACTIVATIONS
from initbench.core.records import InputMoments, Network
from initbench.initializers import INITIALIZERS
from initbench.theory.inequality import TIME, batch_mean
from initbench.theory.residuals import residuals

WIDTH, DEPTH, BATCH, MANY = 64, 20, 32, 150


@pytest.mark.parametrize(("batch", "deviation"), [(2, 1.0), (8, 0.3), (32, 1.5)])
def test_the_mean_of_a_batch_and_the_share_of_its_loudest_by_random_draws(batch, deviation):
    grid = np.arange(-10, 10, 0.05)
    density = np.exp(-((grid / deviation) ** 2) / 2)
    log, shares = batch_mean(density[None] / density.sum(), grid, batch, np.arange(-20, 24, TIME))
    q = np.exp(deviation * np.random.default_rng(1).normal(size=(100_000, batch)))
    drawn = np.log(q.mean(axis=1)), (q**2).sum(axis=1) / q.sum(axis=1) ** 2
    for found, values in zip((log[0], shares.sum()), drawn, strict=True):
        assert abs(found - values.mean()) < 4 * values.std() / len(q) ** 0.5 + 1e-5


def test_inputs_that_are_all_the_same_have_their_own_mean_and_equal_shares():
    density, grid = np.zeros((1, 3)), np.array([-1.0, 0.7, 2.0])
    density[0, 1] = 1
    log, shares = batch_mean(density, grid, 5, np.arange(-20, 14, TIME))
    assert log[0] == pytest.approx(0.7, abs=1e-6)
    np.testing.assert_allclose(shares[0], [0, 1 / 5, 0], atol=1e-6)


def levels(activation, scale=2.0):
    """E[z²] of the batch, `networks layers`, with weights of the variance scale/fan_in."""
    source = torch.Generator().manual_seed(3)
    a, found = torch.randn(MANY, BATCH, WIDTH, generator=source), []
    for _ in range(DEPTH):
        z = a @ (torch.randn(MANY, WIDTH, WIDTH, generator=source) * (scale / WIDTH) ** 0.5)
        found.append((z.double() ** 2).mean((1, 2)))
        a = activation.value_and_slope(z)[0]
    return torch.stack(found, 1).numpy()


def residuals_of(name, z):
    phi = ACTIVATIONS.make(name)
    promises = INITIALIZERS.make("he_normal").promises(phi, Network((WIDTH,) * (DEPTH + 1)))
    return residuals(phi, promises, InputMoments(batch=BATCH), z, np.full_like(z, np.nan))


@pytest.mark.parametrize("name", ["silu", "gelu", "mish"])
def test_a_layer_is_as_expected_and_as_far_off_as_stated_however_unequal_its_inputs(name):
    """First order says nothing of GELU's last layers, and that SiLU's spread is four fifths of what it is."""
    found = residuals_of(name, levels(ACTIVATIONS.make(name)))
    assert np.isfinite(found.forward).all()
    assert (found.forward_doubt < 0.5).all()
    error = MANY**-0.5
    assert (np.abs(found.forward.mean(axis=0)) < 4 * error + found.forward_doubt.mean(axis=0)).all()
    spread = found.forward.std(axis=0)
    assert (spread < 1 + 4 * error / 2**0.5).all()
    assert (spread > 0.6).all()


def test_weights_of_another_variance_are_found_where_inputs_are_far_apart():
    """1.9/fan_in in place of 2/fan_in: log 0.95 a layer."""
    z = levels(ACTIVATIONS.make("gelu"), scale=1.9)
    deep = residuals_of("gelu", z).forward[:, 10:].mean(axis=1)
    assert deep.mean() < -0.15
    assert deep.mean() < -4 * deep.std() / MANY**0.5


def test_what_is_not_known_of_one_network_is_missing_in_it_alone():
    z = levels(ACTIVATIONS.make("silu"))[:3]
    gap = z.copy()
    gap[1, 4] = np.nan
    whole, found = residuals_of("silu", z).forward, residuals_of("silu", gap).forward
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 4], [1, 5]]
    np.testing.assert_allclose(found[[0, 2]], whole[[0, 2]], atol=0.05)
