"""The catalogue of losses: what a network's outputs and the targets come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from initbench.core.catalogue import Catalogue


@dataclass(frozen=True)
class Loss:
    """``of(outputs, targets)`` is one number for each sample: `... classes` and `... classes` -> `...`.

    Targets are probabilities: labels as 0 and 1, or softened (mixup, label smoothing).
    """

    of: Callable[[Tensor, Tensor], Tensor]
    spec: str = ""


LOSSES: Catalogue[Loss] = Catalogue("loss")


@LOSSES.register("cross_entropy", formula="log(sum_c exp(y_c)) - sum_c t_c y_c", source="torch.nn.CrossEntropyLoss",
                 summary="Of the softmax of the outputs.")  # fmt: skip
def cross_entropy() -> Loss:
    return Loss(lambda outputs, targets: outputs.logsumexp(dim=-1) - (outputs * targets).sum(dim=-1))


@LOSSES.register("mean_squared_error", formula="mean_c (y_c - t_c)²", source="torch.nn.MSELoss",
                 summary="Of the outputs against the labels as 0 and 1.")  # fmt: skip
def mean_squared_error() -> Loss:
    return Loss(lambda outputs, targets: (outputs - targets).square().mean(dim=-1))
