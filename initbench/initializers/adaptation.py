"""What an initializer that looks at data is given, and what it says: factors on the weights of a network as drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.cell import Cell
from initbench.core.errors import UsageError

IMAGES = 256
"""Of the training split, those that weights of a training adapt to, at most: the first."""


@dataclass(frozen=True)
class Drawn:
    """One network before it is adapted, first layer to last."""

    activation: Activation
    weights: Sequence[Tensor]
    """`fan_out fan_in`, float64."""
    biases: Sequence[Tensor]
    """`fan_out`, float64."""
    residual: bool = False
    batch_norm: bool = False

    def onward(self, z: Tensor, before: Tensor) -> Tensor:
        """What the next layer is given, `batch units`, by a layer's pre-activations and what it was given itself."""
        if self.batch_norm:
            z = F.batch_norm(z, None, None, training=True)
        a = self.activation.function(z)
        return before + a if self.residual and before.shape == a.shape else a


Adapt = Callable[[Drawn, Tensor], list[float]]
"""Factors on the weights, one a layer, from a network and a batch, `batch features` in float64."""


@torch.no_grad()
def factors(adapt: Adapt, drawn: Drawn, batch: Tensor | None) -> list[float]:
    """What `adapt` says, of one network alone: no other is looked at. Raises `UsageError` without a batch."""
    if batch is None:
        raise UsageError("weights that adapt to data cannot be made without any")
    return adapt(drawn, batch.to(drawn.weights[0]))


def of_training(
    adapt: Adapt, cell: Cell, parameters: Sequence[tuple[Tensor, Tensor]], images: Tensor | None
) -> list[float]:
    """The factors of a cell's network, given weights and biases of each layer and the training images.

    On the CPU, so that weights do not depend on the device.
    """
    weights, biases = zip(*([part.detach().cpu().double() for part in layer] for layer in parameters), strict=True)
    drawn = Drawn(ACTIVATIONS.make(cell.activation), weights, biases, cell.residual, cell.batch_norm)
    return factors(adapt, drawn, None if images is None else images[:IMAGES])
