"""Laws of optimizers: networks of a stack move as each alone, by the learning rate that they are given."""

from __future__ import annotations

import torch
from torch import Tensor

from initbench import reference
from initbench.battery.holding import from_two_states, hold
from initbench.core.cell import Cell
from initbench.datasets import DATASETS
from initbench.engine.training.trainer import METRICS, train
from initbench.recipe.optimizers import Optimizer
from initbench.recipe.samples import split

START = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
STEPS, RATE = 3, 0.01
TWIN = Cell(depth=1, width=6, dataset="copies", batch_size=16, steps=25, lr=RATE, seed=3)
AGREED = 1e-9


def stepped(optimizer: Optimizer, rate: float, start: Tensor = START) -> Tensor:
    """A parameter after a few updates by the gradient of its squares."""
    parameter = start.clone()
    made = optimizer.over([{"params": [parameter], "lr": rate, "weight_decay": 0.0}])
    for _ in range(STEPS):
        parameter.grad = 2 * parameter.detach().clone()
        made.step()
    return parameter


def certain(optimizer: Optimizer) -> str:
    """No chance in it."""
    one, other = from_two_states(lambda: stepped(optimizer, RATE))
    hold(torch.equal(one, other), "the same gradients gave other steps with the global generators at another state")
    return "the same each time"


def finite(optimizer: Optimizer) -> str:
    """Steps, by gradients that are 0 too."""
    hold(bool(stepped(optimizer, RATE).isfinite().all()), "a step is not finite")
    still = stepped(optimizer, RATE, torch.zeros(2, dtype=torch.float64))
    hold(bool(still.isfinite().all()), "a step by gradients of 0 is not finite")
    return "steps, by gradients of 0 too"


def rate(optimizer: Optimizer) -> str:
    """It is what the parameter group says."""
    slow, fast = stepped(optimizer, RATE), stepped(optimizer, 2 * RATE)
    hold(not torch.equal(slow, START), "the parameters did not move")
    hold(not torch.equal(slow, fast), "twice the learning rate moved them as far: it is not read from the group")
    return "read from the parameter group"


def twin(optimizer: Optimizer) -> str:
    """Trained in a stack as alone by the plain loop, in float64."""
    cells = [Cell(**{**vars(TWIN), "optimizer": optimizer.spec, "lr": rate}) for rate in (RATE, 2 * RATE)]
    data = split(DATASETS.make(TWIN.dataset).load(None, False), TWIN.normalization, TWIN.validation, TWIN.order_seed)
    there = data.to(torch.device("cpu"), torch.float64)
    worst = 0.0
    for cell, outcome in zip(cells, train(cells, there), strict=True):
        alone = reference.train(cell, there)
        hold(outcome.status == alone["status"], f"in a stack it is {outcome.status}, alone {alone['status']}")
        worst = max([worst, *(abs(outcome.metrics[name] - alone[name]) for name in METRICS)])
    hold(worst <= AGREED, f"a stack's results are off by {worst:.2g} from those of networks trained alone")
    one_for_all = "element by element, one for a stack" if optimizer.elementwise else "one for each network"
    return f"a stack and the plain loop agree to {max(worst, 1e-16):.0e}; {one_for_all}"


LAWS = {
    "no chance": certain,
    "finite": finite,
    "learning rate": rate,
    "twin": twin,
}
