"""The inputs of one batch drift apart: the density of their levels, where first order in 1/n is not enough.

Where d log E[phi²] / d log q is above 1 (SiLU, GELU and Mish, between their two straight ends), a louder input gets
louder still, until a few of a batch hold all its mean square. Of the inputs of one network, the level ξ = log E[z²]
goes each its own way,

    ξ' = H(ξ) + what all share + N(0, v(ξ))        v = log variance of one input's level less the covariance of two

so their density is followed on a grid, for each network, and at every layer is laid where a batch has the mean that was
measured. Of B levels drawn from it, q = exp ξ, the Laplace transform psi(s) = E[exp(-s q)] gives

    E log(mean of q)         = integral over t of (exp(-t) - psi(t/B)^B) / t
    E[sum q² / (sum q)²]     = B integral over s of s E[q² exp(-s q)] psi(s)^(B-1)

at any inequality. Both integrands are smooth in log t and vanish at its ends, where sums over equal steps are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from initbench.core.records import InputMoments
from initbench.theory.fluctuation import Layer, drawn_input, forward
from initbench.theory.networks import Networks
from initbench.theory.response import Local

Real = NDArray[np.float64]

QUIET = 10.0
"""How far the grid reaches below the batch's mean square, in its logarithm: what is quieter adds nothing to it."""
LOUD = 5.0
"""How far it reaches beyond the loudest that a batch of this mean can hold: others of its density are louder."""
TABLE = 0.25
"""The steps of ξ at which an activation's averages are known; between, they are interpolated."""
LONGEST = 800
"""Nodes of a grid: networks that are further from each other than it reaches are left to first order."""
TIME, TIMES = 0.5, (-12.0, 14.0)
"""Of log t, in units of the mean: its step and its range. Errors are below 1e-5."""


@dataclass(frozen=True)
class Coming:
    """What a batch's levels let expect of the next layer's z_second_moment, an entry a network."""

    log: Real
    """E of its logarithm, before the layers' units add their own."""
    variance: Real
    """Of the logarithm: by the layers' units, and by what batches of one mean differ in."""
    unsteady: Real
    """The latter's share. A batch stays what it is from layer to layer, so that this is no independent chance."""


class Levels:
    """The density of an input's level in the batch of each network, `networks grid`, from layer to layer."""

    def __init__(self, network: Networks, expected: list[Layer], measured: Real, inputs: InputMoments) -> None:
        """`measured` is log z_second_moment, `networks layers`; `expected` stands in where it is NaN.

        `network` is the one pairing that all are of.
        """
        self._batch = inputs.batch
        self._measured = np.where(np.isfinite(measured), measured, [layer.z.mean.item() for layer in expected])
        # loud inputs share more than most do, and it is they who count: those half a log variance above the mean square
        given, cosine = drawn_input(network.layers[0].layer, inputs)
        louder = np.minimum([_own(layer.z.spread) for layer in expected], np.log(inputs.batch)) / 2
        self._counting = self._measured + louder[:, 0]
        self._layers = forward(network, given, cosine, self._counting.mean(axis=0)[:, None])
        own = [_own(layer.passing(layer.local) + after.by_units) for layer, after in pairwise(self._layers)]
        self._step = max(float(min(own, default=np.zeros(1)).item()), 0.0) ** 0.5
        low, high = self._measured.min(axis=0), self._measured.max(axis=0)
        self._centre, apart = (low + high) / 2, (high - low).max() / 2
        self._log_time = np.arange(TIMES[0] - apart, TIMES[1] + apart, TIME)
        low, high = low - QUIET, high + np.log(inputs.batch) + LOUD
        self.known = bool(self._step > 0 and (high - low).max() < LONGEST * self._step)
        """Whether they can be followed."""
        if self.known:
            self._table = np.arange(low.min(), high.max() + TABLE, TABLE)
            self._local = Local(network.activations.kinds[0], np.exp(self._table))
            self._grids = [np.arange(*ends, self._step) for ends in zip(low, high, strict=True)]
            spread = max(_own(self._layers[0].z.spread).item(), self._step**2 / 4)
            self._lay(0, np.exp(-((self._grids[0] - self._measured[:, :1]) ** 2) / 2 / spread))

    def steepness(self, number: int) -> Real:
        """|d log E[phi'²] / dξ| at the level of the inputs that hold most of a batch's mean square."""
        loud = self._measured[:, number] + np.log(self._batch * self.shares)
        return np.interp(loud, self._table, np.abs(self._local.returned.slope))

    def onward(self, number: int) -> Coming:
        """From the layer `number`, where the levels are, to the next."""
        grid, before = self._grids[number], self._measured[:, number]
        to, own, shared = self._passing(self._layers[number], self._layers[number + 1])
        to, own = np.interp(grid, self._table, to), np.interp(grid, self._table, own)
        shared = np.interp(self._counting[:, number], self._table, shared)
        log, shares = batch_mean(self._density, to - self._centre[number + 1], self._batch, self._log_time)
        log += self._centre[number + 1]
        # an input that grows by less than its batch takes from the mean what it holds of it
        gain = np.exp(grid - to)
        kept, ratio = (shares @ gain**power for power in (0, 1, 2)), np.exp(log - before)
        unsteady = sum(factor * of for factor, of in zip((1, -2 * ratio, ratio**2), kept, strict=True))
        variance = shared + shares @ own + unsteady
        # binning and laying widen by a quarter of a squared step
        spread: Real = np.sqrt(np.maximum(own - self._step**2 / 4, self._step**2 / 16))
        ends = self._grids[number + 1][1:] - self._step / 2
        below = ndtr((ends - (to - own / 2)[:, None]) / spread[:, None])
        kernel = np.diff(below, axis=1, prepend=0, append=1)
        self._lay(number + 1, self._density @ kernel)
        return Coming(log, variance, unsteady / variance)

    def _passing(self, layer: Layer, after: Layer) -> tuple[Real, Real, Real]:
        """On the table: log E of an input's next level; its log variance that is its own, and that two share."""
        level, promises = self._local.passed, after.promises
        weights = promises.layer.fan_in * promises.variance * level.value * np.exp(level.curvature * layer.noise())
        total = weights + promises.bias_variance
        spread = (weights / total) ** 2 * layer.passing(self._local) + after.by_units
        return np.log(total), np.maximum(_own(spread), 0.0), spread[2]

    def _lay(self, number: int, density: Real) -> None:
        """Lay a density where the mean of a batch is as measured."""
        density = density / density.sum(axis=1, keepdims=True)
        centre, nodes = self._centre[number], density.shape[1]
        log, shares = batch_mean(density, self._grids[number] - centre, self._batch, self._log_time)
        whole, part = np.divmod((self._measured[:, number] - centre - log) / self._step, 1)
        below = np.pad(density.cumsum(axis=1), ((0, 0), (1, 1)), constant_values=(0, 1))
        place = np.arange(1, nodes + 1) - whole[:, None].astype(np.intp)
        left, right = (np.take_along_axis(below, np.clip(at, 0, nodes + 1), axis=1) for at in (place - 1, place))
        moved = part[:, None] * left + (1 - part[:, None]) * right
        moved[:, -1] = 1
        self._density = np.diff(moved, axis=1, prepend=0.0)
        self.shares = shares.sum(axis=1)
        """E[sum q² / (sum q)²] of each network: one over the number of inputs that count."""


def batch_mean(density: Real, log_q: Real, batch: int, log_time: Real) -> tuple[Real, Real]:
    """E log(mean of q) over a batch, and E[sum q² / (sum q)²] by which q of the grid it comes from, `networks grid`.

    Of `batch` values that each have the probabilities `density`, `networks grid`, of being exp `log_q`.
    """
    q, t = np.exp(log_q), np.exp(log_time)
    falling = np.exp(-np.outer(t / batch, q))
    psi = density @ falling.T
    log = (np.exp(-t) - psi**batch).sum(axis=1) * TIME
    return log, (psi ** (batch - 1) * (t**2 * TIME / batch)) @ falling * density * q**2


def _own(spread: Real) -> Real:
    """What one input's level varies by that another's does not, of `fixed same pair`."""
    return spread[1] - spread[2]
