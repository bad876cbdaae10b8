"""How an optimizer steps, found by trying it on a few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Make = Callable[..., torch.optim.Optimizer]
"""Called with parameter groups."""
RATE, STEPS = 0.1, 3
TOLERANCE = 1e-9
LARGER = 8.0
"""Times the gradient, to see how a step follows it: a power of 2, so that nothing is rounded."""
STARTS = [torch.linspace(-1.0, 1.0, math.prod(shape), dtype=torch.float64).view(shape) for shape in ((2, 3, 4), (2, 5))]
"""Weights and biases of two networks, `models ...`."""


def stepped_alone(make: Make) -> list[Tensor]:
    """Where each network's weights, and biases, end in an optimizer of their own. Raises what the optimizer does."""
    return [torch.stack([stepped(make, part) for part in start]) for start in STARTS]


def is_elementwise(make: Make) -> bool:
    """Whether parameters of several networks, stepped as one tensor, end where they do alone."""
    alone = stepped_alone(make)
    try:
        together = [stepped(make, start) for start in STARTS]
    except Exception:  # of any kind: it takes what one network has, and not a stack
        return False
    return all(
        torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        for one, other in zip(together, alone, strict=True)
    )


def power_of_gradient(make: Make) -> float:
    """p, where the first step grows as |g|^p: 1 of SGD and its like, 0 of Adam's; NaN where there is no step."""
    start = STARTS[0][0]
    small, large = (float((stepped(make, start, 1, size) - start).norm()) for size in (1.0, LARGER))
    return math.log(large / small, LARGER) if 0 < small < math.inf and 0 < large < math.inf else math.nan


def stepped(make: Make, start: Tensor, steps: int = STEPS, size: float = 1.0) -> Tensor:
    """The parameter after some updates by a gradient of this size that depends on it."""
    parameter = start.clone()
    made = make([{"params": [parameter], "lr": RATE, "weight_decay": 0.0}])
    for step in range(1, steps + 1):
        parameter.grad = size * torch.sin(step * parameter + 2) * start
        made.step()
    return parameter
