"""A stack: networks of one shape and one activation that share one draw of weights and differ by its scale alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initbench.activations import Activation
from initbench.core.randomness import generator
from initbench.core.records import Layer, Network
from initbench.initializers import Basis, Initializer, Setting
from initbench.initializers.bases import NORMAL

Scales = tuple[float, ...]


@dataclass(frozen=True)
class Member:
    """One network of a stack: the factors on the unit draws, one a layer."""

    weight_scales: Scales
    """sqrt(E[w²])."""
    bias_scales: Scales
    bias_basis: Basis


@dataclass(frozen=True)
class Stack:
    """`members` networks on one basis, one activation and one shape."""

    basis: Basis
    activation: Activation
    network: Network
    members: tuple[Member, ...]

    def only(self, kept: Sequence[int]) -> Stack:
        """The stack of the members at these positions."""
        return Stack(self.basis, self.activation, self.network, tuple(self.members[i] for i in kept))


def member(initializer: Initializer, activation: Activation, network: Network) -> Member:
    """`initializer` as a member of a stack. Raises `UsageError` where it cannot serve the activation."""
    settings = [Setting(layer, activation, network.bias_variance) for layer in network.layers]
    return Member(
        weight_scales=tuple(float(initializer.mean_square(setting)) ** 0.5 for setting in settings),
        bias_scales=tuple(initializer.promise(setting).bias_variance ** 0.5 for setting in settings),
        bias_basis=initializer.bias_basis or NORMAL,
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
