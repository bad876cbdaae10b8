"""Any elementwise function of torch as an activation: what theory must know of it is found, unless it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from initbench.activations import ACTIVATIONS
from initbench.activations import kinks as found
from initbench.activations.closed_forms import PiecewiseLinear
from initbench.activations.record import Activation
from initbench.core import plain
from initbench.core.errors import require
from initbench.core.plugins import blamed, defined_at

Function = Callable[..., Any]
Kinks = Sequence[float] | Callable[..., Sequence[float]]
SIZES = np.geomspace(1e-3, 1e3, 64)


@overload
def activation(function: Function, /) -> Function: ...
@overload
def activation(
    *, name: str = ..., aliases: tuple[str, ...] = ..., formula: str = ..., summary: str = ..., source: str = ...,
    kinks: Kinks | None = ..., flat: bool | None = ...,
) -> Callable[[Function], Function]: ...  # fmt: skip
def activation(
    function: Function | None = None,
    /,
    *,
    name: str = "",
    aliases: tuple[str, ...] = (),
    formula: str = "",
    summary: str = "",
    source: str = "",
    kinks: Kinks | None = None,
    flat: bool | None = None,
) -> Any:
    """Decorate ``fn(z, ...)``, elementwise and of torch, or a factory of `Activation`: it joins the catalogue.

    `kinks`, where phi or one of its first three derivatives jumps, are found (`initbench.activations.kinks`) where they
    are not given, as numbers or as a function of the spec's parameters; so is `flat`, whether phi' is 0 on an interval.
    Raises `UsageError` for a name that is taken.

    >>> @activation(formula="z if z > 1 else z/2")
    ... def bent(z):
    ...     return torch.where(z > 1, z, 0.5 * z)
    >>> ACTIVATIONS.make("bent").kinks
    (1.0,)
    """
    about = {"aliases": aliases, "formula": formula, "summary": summary, "source": source}
    build = partial(_build, kinks, flat)
    add = lambda given: plain.register(ACTIVATIONS, given, name, build, Activation, about=about)  # noqa: E731
    return add if function is None else add(function)


def _build(
    kinks: Kinks | None, flat: bool | None, name: str, function: Function, arguments: Mapping[str, Any]
) -> Activation:
    called = f"activation '{name}'"
    what = called + defined_at(function)

    def phi(z: Tensor) -> Tensor:
        with blamed(called, function):
            return function(z, **arguments)

    z = torch.linspace(-1, 1, 8, dtype=torch.float64).view(2, 4)
    value = phi(z)
    require(isinstance(value, Tensor), f"{what} returned {type(value).__name__}, not a tensor")
    shape = tuple(value.shape)
    require(shape == z.shape, f"{what} is not elementwise: of the shape {tuple(z.shape)} it made {shape}")
    require(value.dtype == z.dtype, f"{what} returned {value.dtype} of {z.dtype}")
    alone = phi(z[1:, 1:])
    require(torch.allclose(alone, value[1:, 1:], rtol=1e-12, atol=0, equal_nan=True),
            f"{what} is not elementwise: what it makes of a number depends on the others, or on chance")  # fmt: skip
    if kinks is None:
        at = found.kinks(phi)
    else:
        with blamed(f"{called}: its kinks", function):
            at = tuple(sorted(float(kink) for kink in (kinks(**arguments) if callable(kinks) else kinks)))
    require(len(at) <= found.MOST, f"{what} jumps at more than {found.MOST} points: theory does not integrate so many")
    made = Activation(phi, kinks=at, flat=found.is_flat(phi, at) if flat is None else flat)
    return replace(made, closed_form=_two_rays(made))


def _two_rays(activation: Activation) -> PiecewiseLinear | None:
    """The closed form of what is linear on both sides of 0, and 0 there."""
    left, right = (float(slope) for slope in activation.slope(np.array([-1.0, 1.0])))
    z = np.concatenate([-SIZES, SIZES])
    rays = np.where(z < 0, left, right) * z
    straight = set(activation.kinks) <= {0.0} and np.allclose(activation.value(z), rays, rtol=1e-14, atol=0)
    return PiecewiseLinear(left, right) if straight else None
