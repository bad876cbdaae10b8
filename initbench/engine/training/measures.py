"""What a stack of networks is worth and what goes on in it: losses, accuracies, statistics of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from initbench.engine import statistics
from initbench.engine.training.network import StackedMLP
from initbench.recipe.losses import Loss
from initbench.recipe.samples import Samples

ROWS = 256
"""Images that are evaluated at once: enough for a fast product, few enough for the caches."""


@torch.no_grad()
def evaluate(network: StackedMLP, samples: Samples, loss: Loss, classes: int) -> tuple[list[float], list[float]]:
    """Each model's mean loss and accuracy over all of `samples`, exact whatever the chunks; NaN where it diverged."""
    models = len(network.weights[0])
    total = torch.zeros(models, dtype=torch.float64, device=samples.images.device)
    right = torch.zeros(models, dtype=torch.int64, device=samples.images.device)
    for images, labels in zip(samples.images.split(ROWS), samples.labels.split(ROWS), strict=True):
        outputs = network(images)
        losses = loss.of(outputs.transpose(1, 2), one_hot(labels, classes, outputs.dtype))
        total += losses.sum(dim=1, dtype=torch.float64)
        right += (outputs.max(dim=1).indices == labels).sum(dim=1)  # argmax is 15 times as slow here
    means, shares = total / len(samples), right.double() / len(samples)
    lost = ~means.isfinite()
    return means.masked_fill(lost, math.nan).tolist(), shares.masked_fill(lost, math.nan).tolist()


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Targets `batch classes`: 1 at the label. In memory as the outputs are, classes first."""
    return (labels == torch.arange(classes, device=labels.device)[:, None]).to(dtype).t()


MEASURED = ("a_second_moment", "saturated_fraction", "dead_fraction", "grad_w_second_moment", "update_to_weight",
            "weight_second_moment", "distinct_units")  # fmt: skip
"""What a `LayerRecord` tells of a layer; of the output, which has no activation, not the first three."""


class LayerRecord:
    """Statistics of one update, layer by layer, one number a model; looks at tensors and changes none."""

    def __init__(self, network: StackedMLP) -> None:
        self._network = network
        self._before = [weight.detach().clone() for weight in network.weights]
        self._hidden: list[statistics.Columns] = []

    def observe(self, z: Tensor) -> None:
        """The pre-activations of the next hidden layer."""
        activation = self._network.activation
        a, slope = activation.value_and_slope(z.detach().transpose(1, 2))
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
            columns["weight_second_moment"] = statistics.mean_square(weight.double())
            columns["distinct_units"] = statistics.distinct_units(weight, self._network.biases[number])
            tables.append(statistics.as_rows(columns))
        return [list(rows) for rows in zip(*tables, strict=True)]
