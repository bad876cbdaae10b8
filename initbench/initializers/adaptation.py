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
from initbench.core.records import Layer

IMAGES = 256
"""Of the training split, those that weights of a training adapt to, at most: the first."""

NORM_EPSILON = 1e-5
"""What batch normalization adds to the variance, as torch's does."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of outputs and targets, `batch classes` each: one number for each of the batch."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of networks that are not trained."""
    return F.cross_entropy(outputs, targets, reduction="none")


@dataclass(frozen=True)
class Drawn:
    """One network before it is adapted, first layer to last."""

    activation: Activation
    weights: Sequence[Tensor]
    """`fan_out fan_in`, float64."""
    biases: Sequence[Tensor]
    """`fan_out`, float64."""
    residual: int = 0
    """Layers of a residual branch; 0 where there are none."""
    batch_norm: bool = False
    seed: int = 0
    """Whose draws these are: what an initializer draws beside them is keyed by it, too."""
    labels: Tensor | None = None
    """Of the batch, one an input; None where it has none."""
    loss: Loss = cross_entropy
    """What training minimizes."""

    def onward(self, z: Tensor, given: Sequence[Tensor]) -> Tensor:
        """What the next layer is given, `batch units`, by a layer's pre-activations and what all up to it were given.

        `given` begins with the batch. A branch of one layer is added after the activation, a longer one before it.
        """
        if self.batch_norm:
            # torch's own has two derivatives, and learning a scale asks for three
            z = (z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + NORM_EPSILON).sqrt()
        layer = Layer(len(given), given[-1].shape[1], z.shape[1])
        if not self.residual or layer.place_in_branch(self.residual) < self.residual:
            return self.activation.function(z)
        trunk = given[-self.residual]
        return trunk + self.activation.function(z) if self.residual == 1 else self.activation.function(trunk + z)


Adapt = Callable[[Drawn, Tensor], list[float]]
"""Factors on the weights, one a layer, from a network and a batch, `batch features` in float64."""


@torch.no_grad()
def factors(adapt: Adapt, drawn: Drawn, batch: Tensor | None) -> list[float]:
    """What `adapt` says, of one network alone: no other is looked at. Raises `UsageError` without a batch."""
    if batch is None:
        raise UsageError("weights that adapt to data cannot be made without any")
    return adapt(drawn, batch.to(drawn.weights[0]))


def of_training(
    adapt: Adapt,
    cell: Cell,
    parameters: Sequence[tuple[Tensor, Tensor]],
    images: Tensor | None,
    labels: Tensor | None = None,
    loss: Loss = cross_entropy,
) -> list[float]:
    """The factors of a cell's network, given weights and biases of each layer, the training images and their labels.

    On the CPU, so that weights do not depend on the device.
    """
    weights, biases = zip(*([part.detach().cpu().double() for part in layer] for layer in parameters), strict=True)
    seen = None if labels is None else labels[:IMAGES].cpu()
    drawn = Drawn(ACTIVATIONS.make(cell.activation), weights, biases, int(cell.residual), cell.batch_norm, cell.seed,
                  seen, loss)  # fmt: skip
    return factors(adapt, drawn, None if images is None else images[:IMAGES])
