"""The catalogue of learning-rate schedules: torch.optim.lr_scheduler's own, told how long the training is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedules

from initbench.core.catalogue import Catalogue
from initbench.core.errors import require


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes; ``make(optimizer, steps)`` is torch's scheduler, None where it never does."""

    make: Callable[[Optimizer, int], Any]
    watches_validation: bool = False
    """Whether it is stepped with each recorded validation loss, and not at each step."""
    spec: str = ""


SCHEDULES: Catalogue[Schedule] = Catalogue("schedule")
_register = SCHEDULES.register


@_register("constant", formula="lr", summary="The learning rate stays.")
def constant() -> Schedule:
    return Schedule(lambda _optimizer, _steps: None)


@_register("step", formula="lr·factor^(how many times·every of the steps are done)", source="torch StepLR",
           summary="Falls by a factor after each share `every` of the steps.")  # fmt: skip
def step(every: float = 0.3, factor: float = 0.1) -> Schedule:
    require(0 < every < 1, f"step: every is a share of the steps, above 0 and below 1, not {every:g}")
    require(0 < factor <= 1, f"step: factor must be above 0 and at most 1, not {factor:g}")
    return Schedule(lambda optimizer, steps: torch_schedules.StepLR(optimizer, max(1, round(every * steps)), factor))


@_register("cosine", formula="lr·(floor + (1 - floor)(1 + cos(pi t/steps))/2)",
           source="Loshchilov & Hutter 2017, eq. 5", summary="Falls along half a cosine, to floor·lr.")  # fmt: skip
def cosine(floor: float = 0.0) -> Schedule:
    require(0 <= floor <= 1, f"cosine: floor is a share of lr, from 0 to 1, not {floor:g}")

    def share(t: int, steps: int) -> float:
        return floor + (1 - floor) * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2

    # not CosineAnnealingLR: its recursion has one floor for all groups, and rounds
    return Schedule(lambda optimizer, steps: torch_schedules.LambdaLR(optimizer, lambda t: share(t, steps)))


@_register("warmup", formula="lr·min(1, (t + 1)/(share·steps + 1))", source="Goyal et al. 2017, sec. 2.2",
           summary="Rises linearly over the first share of the steps.")  # fmt: skip
def warmup(share: float = 0.1) -> Schedule:
    require(0 < share <= 1, f"warmup: share must be above 0 and at most 1, not {share:g}")

    def make(optimizer: Optimizer, steps: int) -> Any:
        long = max(1, round(share * steps))
        return torch_schedules.LinearLR(optimizer, start_factor=1 / (long + 1), total_iters=long)

    return Schedule(make)


@_register("plateau", formula="lr·factor after more than `patience` records without a better validation loss",
           source="torch ReduceLROnPlateau",
           summary="Falls when the validation loss stops falling; needs record_every.")  # fmt: skip
def plateau(factor: float = 0.1, patience: int = 2) -> Schedule:
    require(0 < factor < 1, f"plateau: factor must be above 0 and below 1, not {factor:g}")
    require(patience >= 0, f"plateau: patience must be 0 or more, not {patience}")
    return Schedule(
        lambda optimizer, _steps: torch_schedules.ReduceLROnPlateau(optimizer, factor=factor, patience=patience),
        watches_validation=True,
    )
