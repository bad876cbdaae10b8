"""Laws of initializers: what is drawn is what was promised, and nothing else decides it than the seed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from initbench.activations import ACTIVATIONS
from initbench.battery.holding import from_two_states, hold, leaves_global_generators
from initbench.core.plugins import load
from initbench.core.records import Layer, Promise
from initbench.initializers import INITIALIZERS, Initializer, Setting
from initbench.initializers.bases import parameters
from initbench.initializers.plain import STRUCTURED
from initbench.initializers.structure import coupling_of

FANS = ((200, 150), (150, 200), (64, 64))
DRAWS = 32
SURE = 1e-6
"""How improbable a deviation must be to be one."""
ROUNDING = 1e-5
"""Relative: what float32 does to a mean square."""


def promise_of(initializer: Initializer, fans: tuple[int, int]) -> Promise:
    """Of a layer of these fans, before a rectifier."""
    return initializer.promise(Setting(Layer(1, *fans), ACTIVATIONS.make("relu")))


def weights(initializer: Initializer, fans: tuple[int, int], seed: int = 0) -> Tensor:
    """As a network has them."""
    return parameters(initializer, promise_of(initializer, fans), seed)[0]


def shape(initializer: Initializer) -> str:
    """Those of nn.Linear."""
    for fans in FANS:
        found, twin = weights(initializer, fans), nn.Linear(*fans).weight
        hold(found.shape == twin.shape, f"the shape is {tuple(found.shape)}, not {tuple(twin.shape)}")
        hold(found.dtype == torch.float32, f"the dtype is {found.dtype}, not float32")
    return f"float32, fan_out fan_in, for {_told(FANS)}"


def finite(initializer: Initializer) -> str:
    """Numbers, all of them."""
    for fans in FANS:
        hold(bool(weights(initializer, fans).isfinite().all()), f"weights of {_told([fans])} are not finite")
    return "all weights"


def seed(initializer: Initializer) -> str:
    """One seed is one draw, whatever the global generators are at, each time, and in the next process."""
    for fans in FANS:
        one, other = from_two_states(lambda fans=fans: weights(initializer, fans, seed=7))  # type: ignore[misc]
        hold(torch.equal(one, other), "one seed gave two draws: they rest on more than the generators, such as an"
             " unseeded generator of its own")  # fmt: skip
    several = [weights(initializer, fans, seed=7) for _ in range(DRAWS)]
    hold(all(torch.equal(one, each) for each in several), "one seed gave two draws, of many: they rest on more than the"
         " generators, such as an unseeded generator of its own")  # fmt: skip
    again = weights(_loaded_again(initializer), fans, seed=7)
    hold(torch.equal(one, again), "one seed gives another draw when the file is run again: what it draws as it is"
         " loaded needs a seed of its own")  # fmt: skip
    return "one seed, one draw, whatever the global generators are at"


def _loaded_again(initializer: Initializer) -> Initializer:
    origin = INITIALIZERS.entry(initializer.spec.partition("(")[0]).origin
    if origin:
        load(Path(origin.path))
    return INITIALIZERS.make(initializer.spec)


def seeds(initializer: Initializer) -> str:
    """Another seed is another draw, where there is anything to draw."""
    fans = FANS[0]
    promise = promise_of(initializer, fans)
    fixed = not promise.random or promise.variance == 0
    same = torch.equal(weights(initializer, fans, 1), weights(initializer, fans, 2))
    either = promise.coupling == STRUCTURED  # drawn, or a table
    hold(either or same == fixed, "two seeds gave one draw" if same else "two seeds gave two draws of fixed weights")
    return "fixed: every seed has the same weights" if same else "another seed, another draw"


def untouched(initializer: Initializer) -> str:
    """The global generators."""
    return leaves_global_generators(lambda: weights(initializer, FANS[0]))


def variance(initializer: Initializer) -> str:
    """Mean and variance over draws, by Student's t: a draw is a number, however its entries hang together."""
    told = []
    for fans in FANS:
        promise = promise_of(initializer, fans)
        draws = [weights(initializer, fans, number).double().numpy() for number in range(DRAWS)]
        size = math.sqrt(promise.variance + promise.mean**2)
        spreads = np.array([np.square(draw - promise.mean).mean() for draw in draws])
        told.append(f"{promise.variance:.4g} ({spreads.mean():.4g})")
        means = np.array([draw.mean() for draw in draws])
        where = f"for {_told([fans])}"
        seen = f"promised is the variance {promise.variance:.4g}, {DRAWS} draws have {spreads.mean():.4g} {where}"
        hold(_fits(spreads, promise.variance, ROUNDING * size**2), seen)
        seen = f"promised is the mean {promise.mean:.4g}, {DRAWS} draws have {means.mean():.4g} {where}"
        hold(_fits(means, promise.mean, ROUNDING * size), seen)
    return f"promised (drawn): {', '.join(told)} for {_told(FANS)}"


def coupling(initializer: Initializer) -> str:
    """Whether entries hang together as theory takes them to."""
    fans = (64, 64)
    told = promise_of(initializer, fans).coupling
    found, why = coupling_of([weights(initializer, fans, number) for number in range(DRAWS)])
    if not found and told == STRUCTURED:
        return f"{told}, so that no law is about them: {why}"
    hold(found == told, f"theory takes weights for {told}; the draws are {found or f'not: {why}'}")
    return told


def _fits(found: np.ndarray, expected: float, rounding: float) -> bool:
    if not np.isfinite(found).all():
        return False
    if abs(found.mean() - expected) <= rounding:
        return True
    spread = found.std(ddof=1) / math.sqrt(len(found))
    return bool(spread > 0 and 2 * stats.t.sf(abs(found.mean() - expected) / spread, len(found) - 1) > SURE)


def _told(several: object) -> str:
    return ", ".join(f"{fan_in} -> {fan_out}" for fan_in, fan_out in several)  # type: ignore[attr-defined]


LAWS = {
    "shape and dtype": shape,
    "finite": finite,
    "one seed, one draw": seed,
    "another seed": seeds,
    "global generators": untouched,
    "promised variance": variance,
    "coupling": coupling,
}
