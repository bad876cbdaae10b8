"""How a law says that it does not hold, and what several kinds ask for."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from initbench.core.errors import InitbenchError
from initbench.core.global_generators import lent

T = TypeVar("T")


class BrokenError(InitbenchError):
    """A law that does not hold; the message says why."""


def hold(condition: bool, otherwise: str) -> None:
    """Raises `BrokenError` unless `condition`."""
    if not condition:
        raise BrokenError(otherwise)


def from_two_states(make: Callable[[], T]) -> tuple[T, T]:
    """What `make` gives where the global generators are in one state, and in another."""
    with lent(0):
        first = make()
    with lent(1):
        return first, make()


def leaves_global_generators(make: Callable[[], object]) -> str:
    """Calls `make`; raises `BrokenError` if a global generator was moved by that."""
    before = torch.get_rng_state(), _numpys_state(), random.getstate()
    make()
    moved = [
        name
        for name, same in (
            ("torch", torch.equal(torch.get_rng_state(), before[0])),
            ("numpy", bool((_numpys_state() == before[1]).all())),
            ("random", random.getstate() == before[2]),
        )
        if not same
    ]
    hold(not moved, f"the global generator of {' and '.join(moved)} was moved")
    return "torch, numpy and random are as they were"


def _numpys_state() -> NDArray[np.uint32]:
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
