"""The theory's own error of a residual, against networks simulated in plain torch."""

from __future__ import annotations

import numpy as np
import torch

from initbench.activations import ACTIVATIONS
from initbench.core.records import InputMoments, Network
from initbench.initializers import INITIALIZERS
from initbench.theory.moments import GaussianMoments
from initbench.theory.residuals import residuals

WIDTH, DEPTH, BATCH, MANY, SEEDS = 64, 20, 32, 120, 10


def simulated(activation):
    """E[z²] and squared gradients, `networks layers inputs`, for He's weights and independent gradients at the end."""
    source = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)  # noqa: E731
    a, weights, levels, slopes = draw(MANY, BATCH, WIDTH), [], [], []
    for _ in range(DEPTH):
        weights.append(draw(MANY, WIDTH, WIDTH) * (2 / WIDTH) ** 0.5)
        z = a @ weights[-1]
        a, slope = activation.value_and_slope(z)
        levels.append((z**2).mean(-1))
        slopes.append(slope)
    gradient, squares = draw(MANY, BATCH, WIDTH), []
    for weight, slope in zip(reversed(weights), reversed(slopes), strict=True):
        gradient = gradient * slope
        squares.append((gradient**2).mean(-1))
        gradient = gradient @ weight.mT
    return torch.stack(levels, 1).numpy(), torch.stack(squares[::-1], 1).numpy()


def test_what_a_batch_moves_by_its_own_inequality_is_within_the_stated_error():
    """SiLU with He's weights, where inputs drift apart by more than their mean: a mean over ten networks is not wrong.

    What inequality moves is known of each simulated batch: the mean of E[phi'²] at each input's level, weighted by the
    gradient that comes to it, over E[phi'²] at the batch's mean level.
    """
    phi = ACTIVATIONS.make("silu")
    q, gradients = simulated(phi)
    promises = INITIALIZERS.make("he_normal").promises(phi, Network((WIDTH,) * (DEPTH + 1)))
    found = residuals(phi, promises, InputMoments(batch=BATCH), q.mean(-1), gradients.mean(-1))
    kept = GaussianMoments(phi).slope_second_moment
    coming = gradients[:, 1:] / gradients[:, 1:].mean(-1, keepdims=True)
    moved = np.log((coming * kept(q[:, :-1])).mean(-1) / kept(q[:, :-1].mean(-1)))
    step = np.log(gradients.mean(-1)[:, :-1] / gradients.mean(-1)[:, 1:] / 2 / kept(q[:, :-1].mean(-1)))
    in_deviations = moved.std(0) * found.backward.std(0)[:-1] / step.std(0)
    doubt = found.backward_doubt.mean(0)[:-1]
    middle = slice(6, 13)
    assert (in_deviations[middle] > 0.3).all()  # there is something to state
    assert (doubt[middle] > in_deviations[middle] / SEEDS**0.5).all()


def test_of_a_rectifier_nothing_is_in_doubt():
    phi = ACTIVATIONS.make("relu")
    promises = INITIALIZERS.make("he_normal").promises(phi, Network((WIDTH,) * 4))
    some = np.array([[2.0, 1.5, 1.7]])
    found = residuals(phi, promises, InputMoments(batch=BATCH), some, some)
    np.testing.assert_allclose(found.backward_doubt, 0, atol=1e-8)
