"""Learning rates by layer: what an initializer that sets them says, beside the variance."""

from __future__ import annotations

from typing import NamedTuple


class Rates(NamedTuple):
    """Factors on the learning rate of one layer's parameters."""

    weight: float = 1.0
    bias: float = 1.0
    """Of its biases, and of the scales and shifts of its normalization."""
