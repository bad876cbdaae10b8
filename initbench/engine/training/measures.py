"""What a stack of networks is worth and what goes on in it: losses, accuracies, statistics of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from initbench.engine import statistics
from initbench.engine.training.network import StackedMLP
from initbench.recipe.losses import Loss
from initbench.recipe.samples import Samples

CHUNK = 2**24
"""Bytes of a layer's activations in evaluation: enough rows for a fast product, few enough for the caches."""
FEWEST_ROWS = 256


@torch.no_grad()
def evaluate(network: StackedMLP, samples: Samples, loss: Loss, classes: int) -> tuple[list[float], list[float]]:
    """Each model's mean loss and accuracy over all of `samples`, exact whatever the chunks; NaN where it diverged."""
    models = len(network.weights[0])
    widest = max(models * weight.shape[1] for weight in network.weights) * samples.images.element_size()
    rows = max(FEWEST_ROWS, CHUNK // widest)
    total = torch.zeros(models, dtype=torch.float64, device=samples.images.device)
    right = torch.zeros(models, dtype=torch.int64, device=samples.images.device)
    for images, labels in zip(samples.images.split(rows), samples.labels.split(rows), strict=True):
        outputs = network(images)
        total += loss.of(outputs, one_hot(labels, classes, outputs.dtype)).sum(dim=1, dtype=torch.float64)
        right += (outputs.argmax(dim=2) == labels).sum(dim=1)
    losses = (total / len(samples)).tolist()
    shares = (right.double() / len(samples)).tolist()
    known = [math.isfinite(each) for each in losses]
    return (
        [each if here else math.nan for each, here in zip(losses, known, strict=True)],
        [each if here else math.nan for each, here in zip(shares, known, strict=True)],
    )


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Targets `batch classes`: 1 at the label."""
    return F.one_hot(labels, classes).to(dtype)


class LayerRecord:
    """Statistics of one update, layer by layer, one number a model; looks at tensors and changes none."""

    def __init__(self, network: StackedMLP) -> None:
        self._network = network
        self._before = [weight.detach().clone() for weight in network.weights]
        self._hidden: list[statistics.Columns] = []

    def observe(self, z: Tensor) -> None:
        """The pre-activations of the next hidden layer."""
        activation = self._network.activation
        a, slope = activation.value_and_slope(z.detach())
        self._hidden.append(
            {"a_second_moment": statistics.mean_square(a.double()), **statistics.flatness(slope, activation.steepest)}
        )

    @torch.no_grad()
    def rows(self, gradients: Sequence[Tensor]) -> list[list[dict[str, float]]]:
        """For each model a row a layer, the output's last, after the update; `gradients` start with the weights'."""
        tables = []
        for number, (weight, before) in enumerate(zip(self._network.weights, self._before, strict=True)):
            columns = dict(self._hidden[number]) if number < len(self._hidden) else {}
            # squares of what float32 holds may be beyond it
            columns["grad_w_second_moment"] = statistics.mean_square(gradients[number].double())
            moved, size = (statistics.mean_square(t.double()) for t in (weight - before, before))
            columns["update_to_weight"] = torch.where(size > 0, moved / size, torch.nan).sqrt()
            tables.append(statistics.as_rows(columns))
        return [list(rows) for rows in zip(*tables, strict=True)]
