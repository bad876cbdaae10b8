"""Signals at any scale: products run on numbers near 1, everything elementwise at the true scale.

Where a signal leaves `SAFE`, it is held as (tensor) × 2^exponent, and its true values in float64. Powers of 2 change
no digit, so nothing shows where the limits are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

SAFE = (1e-13, 1e13)
"""Root mean squares that float32 squares and adds up without under- or overflow, outliers included."""
LARGEST_EXPONENT = 1000
"""So that 2^exponent and its inverse are numbers."""


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


def product(signals: Signals, weights: Sequence[tuple[Tensor, slice]]) -> Tensor:
    """The signals times their draws' matrices: one large product a draw, for all the models that share it."""
    models, batch, units = signals.tensor.shape
    result = signals.tensor.new_empty(models, batch, weights[0][0].shape[1])
    for weight, where in weights:
        rows = signals.tensor[where].reshape(-1, units)
        torch.mm(rows, weight, out=result[where].view(len(rows), -1))
    return result


def at_scale(products: Tensor, signals: Signals, scales: Sequence[float], terms: int) -> Tensor:
    """The products of `signals`, in their place, at their true scale, by what `terms` independent terms come to.

    In float64 for all models if float32 might not hold the values or squares of one: to split a stack costs more.
    """
    sizes = [scale * (terms * square) ** 0.5 for scale, square in zip(scales, signals.squares, strict=True)]
    safe = all(size == 0 or SAFE[0] < size < SAFE[1] for size in sizes)
    factors = [scale * 2.0**exponent for scale, exponent in zip(scales, signals.exponents, strict=True)]
    true = products if safe else products.double()
    return true.mul_(_column(factors, true))


def from_true(tensor: Tensor, squares: Sequence[float], dtype: torch.dtype) -> Signals:
    """A tensor at its true scale, as the products take it; `squares` are its models' mean squares."""
    if tensor.dtype == dtype:
        return Signals(tensor, (0,) * len(tensor), tuple(squares))
    exponents = tuple(_exponent(largest) for largest in tensor.abs().amax(dim=(1, 2)).tolist())
    near_1 = tensor * _column([2.0**-exponent for exponent in exponents], tensor)
    return Signals(near_1.to(dtype), exponents, tuple(squares))


def drowned(tensor: Tensor, signals: Signals) -> list[int]:
    """The models in which an input's whole signal is too small for the dtype to hold it beside the largest's.

    `signals` is what `from_true` made of `tensor`.
    """
    if signals.tensor.dtype == tensor.dtype:
        return []
    tiny = torch.finfo(signals.tensor.dtype).tiny
    lost = (signals.tensor.abs().amax(dim=2) < tiny) & (tensor != 0).any(dim=2)
    return lost.any(dim=1).nonzero().flatten().tolist()


def part(tensor: Tensor, kept: Sequence[int]) -> Tensor:
    """The tensor of these models: itself, uncopied, where they are all."""
    return tensor if len(kept) == len(tensor) else tensor[list(kept)]


def _column(factors: Sequence[float], like: Tensor) -> Tensor:
    """A factor a model."""
    return torch.tensor(factors, dtype=like.dtype, device=like.device)[:, None, None]


def _exponent(largest: float) -> int:
    if largest == 0 or not math.isfinite(largest):
        return 0
    return max(-LARGEST_EXPONENT, min(LARGEST_EXPONENT, math.frexp(largest)[1]))


def grams(signals: Signals) -> Signals:
    """t t' of each model, `models batch batch`."""
    # one by one: torch's batched product takes three times as long in float64
    tensor = torch.stack([model @ model.t() for model in signals.tensor])
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


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """Numbers too small for the dtype's own exponent count as 0 meanwhile: they make products up to 100 times slower.

    Where they would matter, a signal is held in float64 or with an exponent of its own. The mode is each thread's own,
    and only the caller's is set and set back. torch's helper threads keep the mode that the caller had at their first
    work: started in here they flush for as long as they live, started before they do not flush in here.
    """
    # torch sets the mode but does not tell it
    before = float(torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
