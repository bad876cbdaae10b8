"""The columns of one tensor of any rank: its batch is one axis, its units another, and all else is either."""

from __future__ import annotations

import math

from torch import Tensor

from initbench.activations import Activation
from initbench.engine import statistics
from initbench.engine.probe.functions import square
from initbench.engine.propagate import RESOLVED

Numbers = dict[str, float]
FLAT = ("saturated_fraction", "dead_fraction")
FEWEST = 8
"""Values of a unit, below which that all of them are on a flat part means nothing: of a rectifier's, 1 in 256 are."""


def moments(tensor: Tensor, name: str, batch: int = 0) -> Numbers:
    """Second moment, mean and variances of `tensor`, whose axis `batch` is the inputs'."""
    found = statistics.as_rows(statistics.spread(_by_input(tensor, batch), name))[0]
    found[f"{name}_second_moment"] = square(tensor)  # NaN where it is out of range, and never a false 0
    unresolved = found[f"{name}_variance_batch"] <= RESOLVED.get(tensor.dtype, 0) * found[f"{name}_second_moment"]
    return found | ({f"{name}_variance_batch": math.nan} if unresolved else {})


def likeness(tensor: Tensor, channels: int, batch: int = 0) -> Numbers:
    """The mean cosine of two inputs, and the variance over units, which is 0 where all of them are equal."""
    by_input, by_unit = _by_input(tensor, batch), _by_unit(tensor, channels)
    cosine = float(statistics.mean_cosine(by_input)) if by_input.shape[1] > 1 else math.nan
    return {"cosine": cosine, "z_variance_units": float(statistics.variance_over_units(by_unit))}


def flatness(tensor: Tensor, activation: Activation, channels: int) -> Numbers:
    """How much of it `activation` is flat at: of the values, and of the units at all of their values."""
    slope = activation.value_and_slope(tensor)[1]
    by_unit = _by_unit(slope, channels)
    found = statistics.as_rows(statistics.flatness(by_unit, activation.steepest))[0]
    return found | ({"dead_fraction": math.nan} if by_unit.shape[1] < FEWEST else {})


def _by_input(tensor: Tensor, batch: int) -> Tensor:
    """As `models batch units`."""
    return tensor.detach().movedim(batch, 0).flatten(1)[None] if tensor.dim() > 1 else tensor.detach().view(1, -1, 1)


def _by_unit(tensor: Tensor, channels: int) -> Tensor:
    """As `models samples units`: places and times are samples of a unit as inputs are."""
    if tensor.dim() < 2:
        return tensor.detach().view(1, 1, -1)
    return tensor.detach().movedim(channels, -1).flatten(0, -2)[None]
