"""The distributions that initializers scale, each with unit mean square."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from initbench.core.records import Layer, Promise
from initbench.initializers.record import Basis, Initializer

DRAWN: Any = {"dtype": torch.float32, "device": "cpu"}
"""Of every draw: the caller's default dtype and device must not change it."""
TRUNCATED_VARIANCE = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
"""Variance of N(0, 1) cut at ±2, 0.7737: 1 - 2·2 pdf(2) / (cdf(2) - cdf(-2))."""
TRUNCATED_KURTOSIS = (3 * TRUNCATED_VARIANCE - 4 * (1 - TRUNCATED_VARIANCE)) / TRUNCATED_VARIANCE**2 - 3
"""Excess kurtosis of N(0, 1) cut at ±2, -0.63: its fourth moment is 3 Var - 2·2³ pdf(2) / (cdf(2) - cdf(-2))."""


def _normal(layer: Layer, generator: Generator) -> Tensor:
    return torch.randn(layer.fan_out, layer.fan_in, generator=generator, **DRAWN)


def _uniform(layer: Layer, generator: Generator) -> Tensor:
    bound = math.sqrt(3.0)
    return torch.rand(layer.fan_out, layer.fan_in, generator=generator, **DRAWN).mul_(2 * bound).sub_(bound)


def _truncated_normal(layer: Layer, generator: Generator) -> Tensor:
    weight = torch.empty(layer.fan_out, layer.fan_in, **DRAWN)
    # torch's bounds are absolute, so the cut is made at unit variance and the scale follows
    torch.nn.init.trunc_normal_(weight, 0.0, 1.0, -2.0, 2.0, generator=generator)
    return weight.div_(math.sqrt(TRUNCATED_VARIANCE))


def _orthogonal(layer: Layer, generator: Generator) -> Tensor:
    weight = torch.empty(layer.fan_out, layer.fan_in, **DRAWN)
    torch.nn.init.orthogonal_(weight, generator=generator)
    return weight.mul_(math.sqrt(max(weight.shape)))  # min(m, n) unit vectors among m·n entries


def _ones(layer: Layer, generator: Generator) -> Tensor:
    return torch.ones(layer.fan_out, layer.fan_in, **DRAWN)


def _eye(layer: Layer, generator: Generator) -> Tensor:
    return torch.eye(layer.fan_out, layer.fan_in, **DRAWN).mul_(math.sqrt(max(layer.fan_out, layer.fan_in)))


def _eye_mean(layer: Layer) -> float:
    return 1 / math.sqrt(max(layer.fan_out, layer.fan_in))


def _zero(layer: Layer, generator: Generator) -> Tensor:
    return torch.from_numpy(_signs(layer)).to(**DRAWN) if _widens(layer) else _eye(layer, generator)


def _zero_mean(layer: Layer) -> float:
    return float(_signs(layer).mean()) if _widens(layer) else _eye_mean(layer)


def _zero_coupling(layer: Layer) -> str:
    return "structured" if _widens(layer) else "diagonal"


def _widens(layer: Layer) -> bool:
    return layer.fan_out > layer.fan_in


def _signs(layer: Layer) -> NDArray[np.int8]:
    """The first rows and columns of Sylvester's Hadamard matrix: -1 where i and j share an odd number of bits."""
    rows, columns = np.arange(layer.fan_out)[:, None], np.arange(layer.fan_in)
    return 1 - 2 * (np.bitwise_count(rows & columns) % 2).astype(np.int8)


def _sinusoidal(layer: Layer, generator: Generator) -> Tensor:
    units, inputs = np.arange(1, layer.fan_out + 1)[:, None], np.arange(layer.fan_in)
    waves = np.sin(2 * np.pi * (units * inputs % layer.fan_in / layer.fan_in + units / layer.fan_out))
    return torch.from_numpy(waves / math.sqrt(_square_of_waves(layer))).to(**DRAWN)


def _square_of_waves(layer: Layer) -> float:
    return (1 - _harmonic(layer, 2).real) / 2


def _harmonic(layer: Layer, order: int) -> complex:
    """The mean of exp(i·order·angle) over all waves: one sums up to 0 unless it is the same at each input."""
    units = np.arange(1, layer.fan_out + 1)
    constant = units[order * units % layer.fan_in == 0]
    return complex(np.exp(2j * np.pi * order * constant / layer.fan_out).sum() / layer.fan_out)


def sparse(sparsity: float) -> Basis:
    """Normal entries, of which each column (the weights that leave one input) has a fixed share set to 0."""

    def draw(layer: Layer, generator: Generator) -> Tensor:
        zeros = zeros_a_column(sparsity, layer)
        weight = _normal(layer, generator)
        rank = torch.rand(layer.fan_out, layer.fan_in, generator=generator, **DRAWN).argsort(dim=0).argsort(dim=0)
        return weight.masked_fill_(rank < zeros, 0.0).div_(math.sqrt(1 - zeros / layer.fan_out) or 1.0)

    def kurtosis(layer: Layer) -> float:
        kept = 1 - zeros_a_column(sparsity, layer) / layer.fan_out
        return 3 / kept - 3 if kept else 0.0

    return Basis(f"sparse {sparsity!r}", draw, excess_kurtosis=kurtosis)


def noisy_identity(identity: float, noise: float) -> Basis:
    """identity·I + noise·N(0, 1/fan_in), at unit mean square; hung together as no law knows, where both are there."""

    def root_mean_square(layer: Layer) -> float:
        return math.sqrt(noisy_identity_square(identity, noise, layer)) or 1.0

    def draw(layer: Layer, generator: Generator) -> Tensor:
        weight = _normal(layer, generator).mul_(noise / math.sqrt(layer.fan_in))
        weight.diagonal().add_(identity)
        return weight.div_(root_mean_square(layer))

    coupling = "independent" if identity == 0 else "diagonal" if noise == 0 else "structured"
    mean = lambda layer: identity / max(layer.fan_in, layer.fan_out) / root_mean_square(layer)  # noqa: E731
    return Basis(f"noisy identity {identity!r} {noise!r}", draw, mean=mean, coupling=coupling)


def noisy_identity_square(identity: float, noise: float, layer: Layer) -> float:
    """E[w²]: of identity's share min(m, n) among m·n entries."""
    return identity**2 / max(layer.fan_in, layer.fan_out) + noise**2 / layer.fan_in


def zeros_a_column(sparsity: float, layer: Layer) -> int:
    """Of fan_out entries, those that are 0: rounded up, as in torch.nn.init.sparse_."""
    return math.ceil(sparsity * layer.fan_out)


NORMAL = Basis("normal", _normal)
UNIFORM = Basis("uniform", _uniform, excess_kurtosis=lambda _: -1.2)
TRUNCATED_NORMAL = Basis("truncated normal", _truncated_normal, excess_kurtosis=lambda _: TRUNCATED_KURTOSIS)
ORTHOGONAL = Basis("orthogonal", _orthogonal, coupling="orthogonal")
ONES = Basis("ones", _ones, mean=lambda _: 1.0, coupling="shared")
MINUS_ONES = Basis("minus ones", lambda *place: -_ones(*place), mean=lambda _: -1.0, coupling="shared")
EYE = Basis("eye", _eye, mean=_eye_mean, coupling="diagonal")
ZERO = Basis("zero", _zero, mean=_zero_mean, coupling=_zero_coupling)
SINUSOIDAL = Basis(
    "sinusoidal",
    _sinusoidal,
    mean=lambda layer: _harmonic(layer, 1).imag / math.sqrt(_square_of_waves(layer)),
    coupling="structured",
)

BY_DISTRIBUTION = {"normal": NORMAL, "uniform": UNIFORM, "truncated_normal": TRUNCATED_NORMAL}
"""The words that `variance_scaling` accepts."""


UnitDraw = Callable[[Basis, Layer, int], Tensor]


def parameters(
    initializer: Initializer, promise: Promise, seed: int, unit_draw: UnitDraw = Basis.weights
) -> tuple[Tensor, Tensor]:
    """Weights `fan_out fan_in` and biases `fan_out` of one layer as promised, float32 on the CPU.

    `unit_draw` gives the basis's weights of a layer for a seed: who draws for many networks may remember them.
    """
    weight = unit_draw(initializer.basis, promise.layer, seed) * (promise.variance + promise.mean**2) ** 0.5
    if promise.bias_variance == 0:
        return weight, torch.zeros(promise.layer.fan_out, **DRAWN)
    return weight, (initializer.bias_basis or NORMAL).biases(promise.layer, seed) * promise.bias_variance**0.5
