"""A stack: networks of one shape and one activation; those on one basis share its draw and differ by scale alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initbench.activations import Activation
from initbench.core.randomness import generator
from initbench.core.records import Layer, Network, Promise
from initbench.initializers import Basis, Initializer
from initbench.initializers.bases import NORMAL

Scales = tuple[float, ...]


@dataclass(frozen=True)
class Member:
    """One network of a stack: a basis, and the factors on its unit draws, one a layer."""

    basis: Basis
    weight_scales: Scales
    """sqrt(E[w²])."""
    bias_basis: Basis
    bias_scales: Scales


@dataclass(frozen=True)
class Stack:
    """`members` networks, those of one basis beside each other."""

    activation: Activation
    network: Network
    members: tuple[Member, ...]

    def only(self, kept: Sequence[int]) -> Stack:
        """The stack of the members at these positions."""
        return Stack(self.activation, self.network, tuple(self.members[i] for i in kept))

    @property
    def runs(self) -> list[tuple[str, slice]]:
        """Each basis's name and where its members stand."""
        found, start = [], 0
        for name, members in itertools.groupby(self.members, key=lambda member: member.basis.name):
            stop = start + len(list(members))
            found.append((name, slice(start, stop)))
            start = stop
        return found


def member(initializer: Initializer, promises: Sequence[Promise]) -> Member:
    """`initializer` as a member of a stack, from what it promises of each layer."""
    return Member(
        basis=initializer.basis,
        weight_scales=tuple((promise.variance + promise.mean**2) ** 0.5 for promise in promises),
        bias_basis=initializer.bias_basis or NORMAL,
        bias_scales=tuple(promise.bias_variance**0.5 for promise in promises),
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
    draws = []
    for layer in network.layers:
        weight = basis.draw(layer, generator(seed, "weight", layer.index, layer.fan_out, layer.fan_in, basis.name))
        fine = weight.double()
        square, variance = float(fine.square().mean()), float(fine.var(correction=0))
        draws.append(LayerDraw(weight.to(device), square, variance))
    return draws


Draws = Mapping[str, Sequence[LayerDraw]]
"""A basis's name -> its draws, first layer to last."""


def draw_biases(basis: Basis, network: Network, seed: int) -> list[Tensor]:
    """The unit draws of all layers' biases, `fan_out`, float32 on the CPU."""
    return [
        basis.draw(Layer(layer.index, 1, layer.fan_out), generator(seed, "bias", layer.index, layer.fan_out, basis.name))
        .squeeze(1)
        for layer in network.layers
    ]  # fmt: skip


def draw_projection(batch: int, width: int, seed: int) -> Tensor:
    """The gradient of the loss at the last activation, `batch width`, i.i.d. N(0, 1), float32 on the CPU."""
    return torch.randn(batch, width, generator=generator(seed, "projection", batch, width))
