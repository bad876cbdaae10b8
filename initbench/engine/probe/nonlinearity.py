"""The activation that a call of torch is: the catalogue's, found by its values, or the call itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initbench.activations import ACTIVATIONS, Activation
from initbench.activations.kinks import kinks
from initbench.core.errors import UsageError
from initbench.engine.probe.nested import tensors

GRID = np.linspace(-12.0, 12.0, 193)
"""Past the kinks of all that is catalogued; 0 and they are on it."""
SAME = 1e-8
"""torch's softplus turns linear, the catalogue's does not: they differ by less on the grid."""


def activation_of(function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    """The activation that ``function(z, *args, **kwargs)`` is; None where its parameters are learned, or random.

    One that no entry of the catalogue is has the call for its spec.
    """
    settings = {key: value for key, value in kwargs.items() if key != "inplace"}
    if any(True for _ in tensors([*args, *settings.values()])):
        return None

    def phi(z: Tensor) -> Tensor:
        return function(z.clone(), *args, **settings)  # some functions write into what they are given

    values, again = (phi(torch.from_numpy(GRID)).numpy() for _ in range(2))
    if not np.array_equal(values, again):
        return None
    numbers = [value for value in (*args, *settings.values()) if isinstance(value, float)]
    for spec in _candidates(numbers):
        try:
            known = ACTIVATIONS.make(spec)
        except UsageError:  # a number that is none of this entry's
            continue
        if np.allclose(known.value(GRID), values, rtol=SAME, atol=SAME):
            return known
    given = ", ".join([*map(str, args), *(f"{key}={value}" for key, value in settings.items())])
    name = function.__name__.rstrip("_")
    return Activation(phi, kinks=kinks(phi), spec=f"{name}({given})" if given else name)


def _candidates(numbers: list[float]) -> list[str]:
    """Every entry as it is, and with each of the call's numbers."""
    plain = [entry.name for entry in ACTIVATIONS if entry.complete]
    return plain + [f"{entry.name}({number!r})" for entry in ACTIVATIONS for number in numbers]
