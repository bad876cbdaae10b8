"""The activation that a call of torch is: the catalogue's, found by its values, or the call itself."""

from __future__ import annotations

import re
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from initbench.activations import ACTIVATIONS, Activation
from initbench.activations.kinks import kinks
from initbench.core.errors import UsageError
from initbench.engine.probe.elementwise import Elementwise

GRID = np.linspace(-12.0, 12.0, 193)
"""Past the kinks of all that is catalogued; 0 and they are on it."""
LARGEST = 1e9
"""Of a value there: what grows faster has no moments that are numbers."""
SAME = 1e-8
"""torch's softplus turns linear, the catalogue's does not: they differ by less on the grid."""
GELU_BY_TANH = partial(F.gelu, approximate="tanh")
"""Many write it by hand; no catalogue has it."""
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@lru_cache
def activation_of(made: Elementwise) -> Activation | None:
    """The activation that it is; None where it is not known, random, 0 everywhere, or somewhere no number.

    One that no entry of the catalogue is has the calls for its spec.
    """
    if (function := made.phi) is None:
        return None
    with torch.no_grad():
        values, again = (function(torch.from_numpy(GRID.copy())).double().numpy() for _ in range(2))
    if not np.array_equal(values, again) or not values.any() or np.abs(values).max() > LARGEST:
        return None
    for spec in _candidates([float(number) for number in NUMBER.findall(made.spec)]):
        try:
            known = ACTIVATIONS.make(spec)
        except UsageError:  # a number that is none of this entry's
            continue
        if np.allclose(known.value(GRID), values, rtol=SAME, atol=SAME):
            return known
    if np.allclose(GELU_BY_TANH(torch.from_numpy(GRID)), values, rtol=SAME, atol=SAME):
        return Activation(GELU_BY_TANH, spec="gelu(approximate=tanh)")

    def phi(z: Tensor) -> Tensor:
        return function(z).to(z.dtype)  # a step's values may be truths

    return Activation(phi, kinks=kinks(phi), spec=made.spec)


def _candidates(numbers: list[float]) -> list[str]:
    """Every entry as it is, and with each of the call's numbers."""
    plain = [entry.name for entry in ACTIVATIONS if entry.complete]
    return plain + [f"{entry.name}({number!r})" for entry in ACTIVATIONS for number in numbers]
