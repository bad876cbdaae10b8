"""A stack: networks of one shape and one activation; those of one seed and basis share a draw, apart by scale alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initbench.activations import Activation
from initbench.core.randomness import generator
from initbench.core.records import Network, Promise
from initbench.engine.statistics import mean_square
from initbench.initializers import Basis, Initializer
from initbench.initializers.adaptation import Adapt
from initbench.initializers.bases import DRAWN, NORMAL

Scales = tuple[float, ...]
Source = tuple[str, int]
"""A basis's name and a seed: one draw."""


@dataclass(frozen=True)
class Member:
    """One network of a stack: a basis, a seed, and the factors on the unit draws, one a layer."""

    basis: Basis
    seed: int
    weight_scales: Scales
    """sqrt(E[w²])."""
    bias_basis: Basis
    bias_scales: Scales
    adapt: Adapt | None = None
    """What makes its true scales of these, given data."""

    @property
    def source(self) -> Source:
        """Which draw of weights it is made from."""
        return self.basis.name, self.seed


@dataclass(frozen=True)
class Stack:
    """`members` networks, those of one draw beside each other."""

    activation: Activation
    network: Network
    members: tuple[Member, ...]

    def only(self, kept: Sequence[int]) -> Stack:
        """The stack of the members at these positions."""
        return Stack(self.activation, self.network, tuple(self.members[i] for i in kept))

    @property
    def runs(self) -> list[tuple[Source, slice]]:
        """Each draw and where its members stand."""
        found, start = [], 0
        for source, members in itertools.groupby(self.members, key=lambda member: member.source):
            stop = start + len(list(members))
            found.append((source, slice(start, stop)))
            start = stop
        return found


def member(initializer: Initializer, promises: Sequence[Promise], seed: int) -> Member:
    """`initializer` as a member of a stack, from what it promises of each layer."""
    return Member(
        basis=initializer.basis,
        seed=seed,
        weight_scales=tuple((promise.variance + promise.mean**2) ** 0.5 for promise in promises),
        bias_basis=initializer.bias_basis or NORMAL,
        bias_scales=tuple(promise.bias_variance**0.5 for promise in promises),
        adapt=initializer.adapt,
    )


@dataclass(frozen=True)
class LayerDraw:
    """One layer's unit draw and what it realized."""

    weight: Tensor
    """`fan_out fan_in`."""
    mean_square: float
    variance: float


def draw_weights(basis: Basis, network: Network, seed: int, device: torch.device) -> list[LayerDraw]:
    """The unit draws of all layers, float32: drawn on the CPU, so the same on every device and whoever asks."""
    return [_realized(basis.weights(layer, seed).to(device)) for layer in network.layers]


def _realized(weight: Tensor) -> LayerDraw:
    square, variance = mean_square(torch.stack([weight, weight - weight.mean()])).tolist()
    return LayerDraw(weight, square, variance)


Draws = Mapping[Source, Sequence[LayerDraw]]
"""Of each draw, the layers first to last."""


def draw_biases(basis: Basis, network: Network, seed: int) -> list[Tensor]:
    """The unit draws of all layers' biases, `fan_out`, float32 on the CPU."""
    return [basis.biases(layer, seed) for layer in network.layers]


def draw_projection(batch: int, width: int, seed: int) -> Tensor:
    """The gradient of the loss at the last activation, `batch width`, i.i.d. N(0, 1), float32 on the CPU."""
    return torch.randn(batch, width, generator=generator(seed, "projection", batch, width), **DRAWN)
