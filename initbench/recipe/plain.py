"""A class of optimizers, torch's way, as an entry of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import torch

from initbench.core import plain
from initbench.core.errors import require
from initbench.core.plugins import blamed, defined_at
from initbench.recipe.optimizers import OPTIMIZERS, Optimizer
from initbench.recipe.stepping import stepped_alone

Class = Any
OF_CELLS = ("lr", "weight_decay", "momentum", "nesterov")
"""What a cell says of its optimizer; other parameters are the spec's."""


@overload
def optimizer(of: Class, /) -> Class: ...
@overload
def optimizer(
    *, name: str = ..., aliases: tuple[str, ...] = ..., formula: str = ..., summary: str = ..., source: str = ...,
) -> Callable[[Class], Class]: ...  # fmt: skip
def optimizer(
    of: Class | None = None,
    /,
    *,
    name: str = "",
    aliases: tuple[str, ...] = (),
    formula: str = "",
    summary: str = "",
    source: str = "",
) -> Any:
    """Decorate a subclass of `torch.optim.Optimizer`, or a factory of `Optimizer`: it joins the catalogue.

    The class reads of lr, weight_decay, momentum and nesterov those that its constructor has; its other parameters are
    the spec's. One that works element by element steps a whole stack of networks, which is faster; of any other each
    network has its own. Raises `UsageError` for a name that is taken, and when it is asked for and cannot step.
    """
    about = {"aliases": aliases, "formula": formula, "summary": summary, "source": source}

    def add(given: Class) -> Class:
        build, leading = (_build, 1) if isinstance(given, type) else (_made, 0)
        return plain.register(OPTIMIZERS, given, name, build, Optimizer, leading, OF_CELLS, about)

    return add if of is None else add(of)


def _made(_name: str, factory: Callable[..., Optimizer], arguments: Mapping[str, Any]) -> Optimizer:
    return factory(**arguments)


def _build(name: str, of: Any, arguments: Mapping[str, Any]) -> Optimizer:
    called = f"optimizer '{name}'"
    what = called + defined_at(of)
    require(issubclass(of, torch.optim.Optimizer), f"{what} is no subclass of torch.optim.Optimizer")
    read = frozenset(setting for setting in OF_CELLS if plain.takes(of, setting))
    require("lr" in read, f"{what}: its constructor has no lr")

    def make(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        with blamed(called, of.__init__):
            return of(groups, lr=groups[0]["lr"], **arguments)

    made = Optimizer(make, read - {"lr", "weight_decay"}, decays="weight_decay" in read)
    with blamed(called, of.step):
        stepped_alone(made.over)
    return made
