"""Signals at any scale: products run on numbers near 1, everything elementwise at the true scale.

Where a signal leaves `SAFE`, it is held as (tensor) × 2^exponent, and its true values in float64. Powers of 2 change
no digit, so nothing shows where the limits are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SAFE = (1e-13, 1e13)
"""Root mean squares that float32 squares and adds up without under- or overflow, outliers included."""
LARGEST_EXPONENT = 1000
"""So that 2^exponent and its inverse are numbers."""
Groups = list[tuple[list[int], Tensor]]
"""Models in groups, each with its tensor: those that float32 holds well, and those that need float64."""


@dataclass(frozen=True)
class Signals:
    """What the products take: tensor × 2^exponent, `models batch units` with one exponent a model."""

    tensor: Tensor
    exponents: tuple[int, ...]
    squares: tuple[float, ...]
    """The mean square of each model's signal at its true scale, as far as float64 holds it."""

    def only(self, kept: Sequence[int]) -> Signals:
        """The signals of these models."""
        exponents, squares = (self.exponents[i] for i in kept), (self.squares[i] for i in kept)
        return Signals(part(self.tensor, kept), tuple(exponents), tuple(squares))


def product(signals: Signals, weights: Sequence[tuple[Tensor, slice]], shared: bool = False) -> Tensor:
    """The signals times their bases' matrices: one large product a basis, since its members share the draw."""
    models, batch, units = signals.tensor.shape
    product = signals.tensor.new_empty(models, batch, weights[0][0].shape[1])
    for weight, where in weights:
        if shared:  # all members see one input
            product[where] = signals.tensor[0] @ weight
        else:
            rows = signals.tensor[where].reshape(-1, units)
            torch.mm(rows, weight, out=product[where].view(len(rows), -1))
    return product


def at_scale(product: Tensor, signals: Signals, scales: Sequence[float], terms: int) -> Groups:
    """The products at their true scale, by what a sum of `terms` independent terms comes to."""
    factors = [scale * 2.0**exponent for scale, exponent in zip(scales, signals.exponents, strict=True)]
    sizes = [scale * (terms * square) ** 0.5 for scale, square in zip(scales, signals.squares, strict=True)]
    safe = [i for i, size in enumerate(sizes) if size == 0 or SAFE[0] < size < SAFE[1]]
    wide = [i for i in range(len(sizes)) if i not in safe]
    groups = []
    for chosen, dtype in ((safe, product.dtype), (wide, torch.float64)):
        if chosen:
            factor = torch.tensor([factors[i] for i in chosen], dtype=torch.float64, device=product.device)
            groups.append((chosen, part(product, chosen).to(dtype) * factor.to(dtype)[:, None, None]))
    return groups


def from_groups(groups: Groups, squares: Sequence[float], dtype: torch.dtype) -> Signals:
    """Tensors at their true scale, as the products take them."""
    exponents = [0] * len(squares)
    scaled: Groups = []
    for chosen, tensor in groups:
        if tensor.dtype != dtype:
            largest = tensor.abs().amax(dim=(1, 2)).tolist()
            for i, size in zip(chosen, largest, strict=True):
                exponents[i] = _exponent(size)
            factor = torch.tensor([2.0 ** -exponents[i] for i in chosen], dtype=tensor.dtype, device=tensor.device)
            tensor = (tensor * factor[:, None, None]).to(dtype)
        scaled.append((chosen, tensor))
    return Signals(merged(scaled), tuple(exponents), tuple(squares))


def merged(groups: Groups) -> Tensor:
    """One tensor for all models, in the finest dtype among the groups."""
    if len(groups) == 1:
        return groups[0][1]
    order = torch.tensor([i for chosen, _ in groups for i in chosen]).argsort()
    finest = max((tensor.dtype for _, tensor in groups), key=lambda dtype: dtype.itemsize)
    together = torch.cat([tensor.to(finest) for _, tensor in groups])
    return together[order.to(together.device)]


def part(tensor: Tensor, chosen: Sequence[int]) -> Tensor:
    """The tensor of these models: itself, uncopied, where they are all."""
    return tensor if len(chosen) == len(tensor) else tensor[list(chosen)]


def _exponent(largest: float) -> int:
    if largest == 0 or not math.isfinite(largest):
        return 0
    return max(-LARGEST_EXPONENT, min(LARGEST_EXPONENT, math.frexp(largest)[1]))


def grams(signals: Signals) -> Signals:
    """t t' of each model, `models batch batch`."""
    tensor = signals.tensor @ signals.tensor.transpose(1, 2)
    return Signals(tensor, tuple(2 * exponent for exponent in signals.exponents), signals.squares)


def gradient_squares(grad_z: Signals, inputs: Signals) -> list[float]:
    """|grad_z' a|², from the Gram matrices of both factors: `batch batch` in place of `fan_out fan_in`."""
    totals = (grad_z.tensor.double() * inputs.tensor.double()).sum(dim=(1, 2)).clamp_(min=0).tolist()
    exponents = [one + other for one, other in zip(grad_z.exponents, inputs.exponents, strict=True)]
    return [_ldexp(total, exponent) for total, exponent in zip(totals, exponents, strict=True)]


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
