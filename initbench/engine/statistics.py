"""The columns that a stack's tensors give, `models batch units` -> one float64 number a model.

No variance is a difference of moments: each is a mean of squares about its own mean, so small ones keep their digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from initbench.core.columns import FLAT_SLOPE

Columns = dict[str, Tensor]

SAME = 1e-6
"""Relative difference below which float32 calls two units equal after many updates."""


def mean_square(t: Tensor) -> Tensor:
    """The mean of t² over batch and units."""
    flat = t.flatten(1)
    return torch.linalg.vector_norm(flat, dim=1).double().square() / flat.shape[1]


def spread(t: Tensor, name: str) -> Columns:
    """Mean, second moment and the variances of `t`, named after `name`."""
    batch = t.shape[1]
    unit_mean = t.mean(dim=1)
    within = mean_square(t - unit_mean[:, None])
    unit_mean = unit_mean.double()
    mean = unit_mean.mean(dim=1)
    between = (unit_mean - mean[:, None]).square().mean(dim=1)
    return {
        f"{name}_second_moment": within + between + mean.square(),
        f"{name}_mean": mean,
        f"{name}_variance": within + between,
        f"{name}_variance_batch": within * batch / (batch - 1) if batch > 1 else within * torch.nan,
    }


def variance_over_units(t: Tensor) -> Tensor:
    """The variance over the units, averaged over the batch."""
    return mean_square(t - t.mean(dim=2, keepdim=True))


def mean_cosine(t: Tensor) -> Tensor:
    """The mean cosine over all pairs of a batch's rows that are not 0; NaN where there is no pair."""
    length = torch.linalg.vector_norm(t, dim=2, keepdim=True)
    rows = torch.count_nonzero(length, dim=(1, 2))
    # the sum over all pairs is the squared length of the sum of the unit vectors
    inverse = torch.where(length > 0, 1 / length, 0)
    total = (inverse.transpose(1, 2) @ t).double().square().sum(dim=(1, 2))
    return torch.where(rows > 1, (total - rows) / (rows * (rows - 1)), torch.nan)


def flatness(slope: Tensor, steepest: float) -> Columns:
    """How much of phi'(z) is on a flat part: of the entries, and of the units on every input."""
    # counted in the slope's own dtype: torch adds numbers up faster than truth values
    flat_inputs = slope.abs().lt_(FLAT_SLOPE * steepest).sum(dim=1)
    return {
        "saturated_fraction": flat_inputs.double().mean(dim=1) / slope.shape[1],
        "dead_fraction": (flat_inputs == slope.shape[1]).double().mean(dim=1),
    }


def distinct_units(weight: Tensor, bias: Tensor) -> Tensor:
    """How many units, `models fan_out fan_in` and `models fan_out`, have parameters that no other has, to rounding.

    Units that are equal stay equal for ever. Told apart by the products with two vectors whose entries are unrelated:
    of one, two of a thousand units are equal by chance now and then.
    """
    angles = torch.arange(1, weight.shape[2] + 1, device=weight.device, dtype=torch.float64).square()
    shown = weight.double() @ torch.stack([angles.sin(), angles.cos()], dim=1) + bias[:, :, None]
    order = shown[:, :, 0].argsort(dim=1)
    shown = shown.take_along_dim(order[:, :, None], dim=1)
    gaps = shown.diff(dim=1).abs() > SAME * shown.abs().amax(dim=1, keepdim=True)
    return 1 + gaps.any(dim=2).sum(dim=1, dtype=torch.float64)


def as_rows(columns: Columns) -> list[dict[str, float]]:
    """The columns as one dictionary of numbers a model: one copy from the device for all."""
    values = torch.stack(list(columns.values()), dim=1).tolist()
    return [dict(zip(columns, row, strict=True)) for row in values]
