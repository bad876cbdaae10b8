"""The columns that one `batch units` tensor gives, as float64 numbers.

No variance is a difference of moments: each is a mean of squares about its own mean, so small ones keep their digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from initbench.core.records import FLAT_SLOPE

Row = dict[str, float]


def mean_square(t: Tensor) -> float:
    """The mean of t² over all entries."""
    flat = t.reshape(-1)
    return float(torch.dot(flat, flat)) / flat.numel()


def spread(t: Tensor, name: str) -> Row:
    """Mean, second moment and the variances of `t`, `batch units`, named after `name`."""
    batch = t.shape[0]
    unit_mean = t.mean(dim=0)
    within = mean_square(t - unit_mean)
    unit_mean = unit_mean.double()
    return {
        f"{name}_second_moment": within + float(unit_mean.square().mean()),
        f"{name}_mean": float(unit_mean.mean()),
        f"{name}_variance": within + float(unit_mean.var(correction=0)),
        f"{name}_variance_batch": within * batch / (batch - 1) if batch > 1 else float("nan"),
    }


def variance_over_units(t: Tensor) -> float:
    """The variance over the units, averaged over the batch."""
    return mean_square(t - t.mean(dim=1, keepdim=True))


def mean_cosine(t: Tensor) -> float:
    """The mean cosine over all pairs of rows that are not 0; NaN where there is no pair."""
    length = torch.linalg.vector_norm(t, dim=1)
    rows = int(torch.count_nonzero(length))
    if rows < 2:
        return float("nan")
    # the sum over all pairs is the squared length of the sum of the unit vectors
    total = torch.where(length > 0, 1 / length, 0) @ t
    return (float(total.double().square().sum()) - rows) / (rows * (rows - 1))


def flatness(slope: Tensor, steepest: float) -> Row:
    """How much of phi'(z) is on a flat part: of the entries, and of the units on every input."""
    flat = slope.abs() < FLAT_SLOPE * steepest
    return {
        "saturated_fraction": int(torch.count_nonzero(flat)) / flat.numel(),
        "dead_fraction": int(torch.count_nonzero(flat.all(dim=0))) / flat.shape[1],
    }
