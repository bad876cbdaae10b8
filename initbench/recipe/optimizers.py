"""The catalogue of optimizers: torch.optim's own, told which settings of a cell they read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import signature
from typing import Any

import torch

from initbench.core.catalogue import Catalogue
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, WorkError, require
from initbench.core.plugins import blamed
from initbench.recipe.stepping import is_elementwise, power_of_gradient

BOTH = frozenset({"cpu", "cuda"})
"""The types of devices that torch has fused steps for."""
LIKE = 0.1
"""How far a step may be from following the gradient's size as SGD's does, or not at all: eps is felt."""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of torch.optim.

    One that works element by element steps a whole stack of networks: each network, or run of networks with equal
    settings, is a parameter group. Of another each network has one of its own.
    """

    make: Callable[..., torch.optim.Optimizer]
    """Called with parameter groups, and with `fused` where that is offered."""
    reads: frozenset[str] = frozenset()
    """Which of momentum and nesterov it reads; lr is read by all."""
    decays: bool = True
    """Whether it has weight decay."""
    fused: frozenset[str] = frozenset()
    """The types of devices on which torch, from 2.9 on, offers it as one pass over memory."""
    capturable: bool = False
    """Whether a CUDA graph may hold its step: no number of it is on the CPU, if it is told so."""
    spec: str = ""

    @cached_property
    def elementwise(self) -> bool:
        """Whether it works element by element, as found by trying it."""
        with blamed(f"optimizer '{self.spec}'", self.make):
            return is_elementwise(self.over)

    @cached_property
    def normalizes(self) -> bool | None:
        """Whether it divides by the gradient's size, as Adam does, or steps in proportion to it, as SGD does.

        Found by trying it; None where it is like neither, or does not work element by element.
        """
        power = power_of_gradient(self.over) if self.elementwise else math.nan
        return next((is_so for is_so, of in ((True, 0), (False, 1)) if abs(power - of) < LIKE), None)

    def settings(self, cell: Cell, rate: float = 1.0) -> dict[str, Any]:
        """What a parameter group of `cell` holds, `rate` times as fast as its learning rate says.

        The weight decay is divided by `rate`, as in the authors' mup.optim: lr·weight_decay, the share that decoupled
        decay takes of the weights, is the same in all groups. Nesterov's step needs a momentum; without one it is
        plain. Raises `UsageError` for a weight decay that it does not have.
        """
        require(self.decays or not cell.weight_decay, f"optimizer '{cell.optimizer}' has no weight decay; leave it 0")
        told = {"lr": cell.lr * rate, "weight_decay": cell.weight_decay / rate}
        if "momentum" in self.reads:
            told["momentum"] = cell.momentum
        if "nesterov" in self.reads:
            told["nesterov"] = cell.nesterov and cell.momentum > 0
        return told

    def over(self, groups: Iterable[dict[str, Any]], device: torch.device | None = None) -> torch.optim.Optimizer:
        """The torch optimizer of these parameter groups: its fastest form on `device`, without one its plain form."""
        kind = device.type if device else ""
        told = {
            "fused": kind in self.fused,
            "capturable": kind == "cuda" and self.capturable and "capturable" in signature(self.make).parameters,
        }
        return self.make(list(groups), **{name: True for name, so in told.items() if so})

    def step(self, made: torch.optim.Optimizer) -> None:
        """One update by what `over` gave. Raises `WorkError`, of one line, where it fails."""
        try:
            with blamed(f"optimizer '{self.spec}'", type(made).step):
                made.step()
        except UsageError as error:  # known no sooner than at work
            raise WorkError(str(error)) from None


OPTIMIZERS: Catalogue[Optimizer] = Catalogue("optimizer", "initbench.optimizers")
_register = OPTIMIZERS.register


@_register("sgd", formula="w -= lr·v, v = momentum·v + g (nesterov: g + momentum·v)",
           source="Robbins & Monro 1951; Sutskever et al. 2013",
           summary="Gradient descent, with momentum if not 0.")  # fmt: skip
def sgd() -> Optimizer:
    return Optimizer(torch.optim.SGD, frozenset({"momentum", "nesterov"}), fused=BOTH, capturable=True)


@_register("adam", formula="w -= lr·m̂/(sqrt(v̂) + eps)", summary="Momentum and step size by running moments of g.",
           source="Kingma & Ba 2015, algorithm 1")  # fmt: skip
def adam(beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    _positive("adam", eps=eps)
    betas = _betas("adam", beta1, beta2)
    return Optimizer(partial(torch.optim.Adam, betas=betas, eps=eps), fused=BOTH, capturable=True)


@_register("adamw", formula="as adam, and w -= lr·weight_decay·w", summary="Adam with decoupled weight decay.",
           source="Loshchilov & Hutter 2019, algorithm 2")  # fmt: skip
def adamw(beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    _positive("adamw", eps=eps)
    betas = _betas("adamw", beta1, beta2)
    return Optimizer(partial(torch.optim.AdamW, betas=betas, eps=eps), fused=BOTH, capturable=True)


@_register(
    "nadam", formula="adam with Nesterov's look ahead", summary="Adam with Nesterov momentum.", source="Dozat 2016"
)
def nadam(beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, momentum_decay: float = 4e-3) -> Optimizer:
    betas = _betas("nadam", beta1, beta2)
    _positive("nadam", eps=eps, momentum_decay=momentum_decay)
    return Optimizer(partial(torch.optim.NAdam, betas=betas, eps=eps, momentum_decay=momentum_decay), capturable=True)


@_register("rmsprop", formula="w -= lr·g/(sqrt(v) + eps), v = alpha·v + (1 - alpha)·g²",
           summary="Step size by a running mean of g².", source="Tieleman & Hinton 2012, lecture 6.5")  # fmt: skip
def rmsprop(alpha: float = 0.99, eps: float = 1e-8) -> Optimizer:
    require(0 <= alpha < 1, f"rmsprop: alpha must be at least 0 and below 1, not {alpha:g}")
    _positive("rmsprop", eps=eps)
    return Optimizer(partial(torch.optim.RMSprop, alpha=alpha, eps=eps), frozenset({"momentum"}), capturable=True)


@_register("adagrad", formula="w -= lr·g/(sqrt(sum of g²) + eps)", summary="Step size by the sum of all g².",
           source="Duchi et al. 2011")  # fmt: skip
def adagrad(eps: float = 1e-10) -> Optimizer:
    _positive("adagrad", eps=eps)
    return Optimizer(partial(torch.optim.Adagrad, eps=eps), fused=frozenset({"cpu"}))


def _betas(name: str, beta1: float, beta2: float) -> tuple[float, float]:
    for key, value in (("beta1", beta1), ("beta2", beta2)):
        require(0 <= value < 1, f"{name}: {key} must be at least 0 and below 1, not {value:g}")
    return beta1, beta2


def _positive(name: str, **values: float) -> None:
    for key, value in values.items():
        require(value > 0, f"{name}: {key} must be above 0, not {value:g}")
