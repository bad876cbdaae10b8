"""What an activation is: an elementwise function, its kinks, and a closed form where one exists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from initbench.activations.closed_forms import ClosedForm

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """An elementwise function phi and what the theory must know of it.

    `function` is the only definition: networks run it, the theory integrates it in float64, and the derivative is
    autograd's, so what is predicted is what is measured.
    """

    function: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    """Where phi or one of its derivatives jumps: integrals are split there."""
    flat: bool = False
    """Whether phi' is exactly 0 on an interval, so that a gradient of 0 is true and not an underflow."""
    closed_form: ClosedForm | None = None
    torch_gain: tuple[str, float | None] | None = None
    """The name (and parameter) under which torch.nn.init.calculate_gain knows it."""
    spec: str = ""

    def value(self, z: Real) -> Real:
        """phi(z), in float64."""
        return self.function(_tensor(z)).numpy()

    def slope(self, z: Real) -> Real:
        """phi'(z), in float64, as autograd sees it (at a kink, torch's choice)."""
        return self.both(z)[1]

    def both(self, z: Real) -> tuple[Real, Real]:
        """phi(z) and phi'(z), in float64."""
        value, slope = self.value_and_slope(_tensor(z))
        return value.numpy(), slope.numpy()

    def value_and_slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """phi(z) and phi'(z), in z's own dtype and on its device."""
        (value,), (slope,) = values_and_slopes([self], [z])
        return value, slope

    @cached_property
    def at_zero(self) -> float:
        """phi(0)."""
        return float(self.value(np.zeros(1))[0])

    @cached_property
    def slope_at_zero(self) -> float:
        """Autograd's phi'(0): at a kink, torch's choice."""
        return float(self.slope(np.zeros(1))[0])

    @cached_property
    def slopes_at_zero(self) -> tuple[float, float]:
        """phi'(0-) and phi'(0+): equal where phi has a derivative at 0."""
        slopes = self.slope(np.array([-1e-100, 1e-100]))
        left, right = np.where(np.abs(slopes) < 1e-40, 0.0, slopes)  # what shrinks with z, as z², is 0 at 0
        return float(left), float(right)

    @cached_property
    def steepest(self) -> float:
        """The largest |phi'(z)|, found on a grid over |z| <= 20."""
        return float(np.abs(self.slope(np.linspace(-20, 20, 40_001))).max())


def values_and_slopes(activations: Sequence[Activation], each: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """phi(z) and phi'(z) of each activation at its own z; all derivatives by one pass of autograd."""
    with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
        leaves = [(z.clone() if z.is_inference() else z.detach()).requires_grad_() for z in each]
        values = [activation.function(leaf) for activation, leaf in zip(activations, leaves, strict=True)]
        curved = [place for place, value in enumerate(values) if value.requires_grad]  # the rest is constant
        slopes: dict[int, Tensor] = {}
        if curved:
            # the gradient of a sum of an elementwise function is its derivative. Of the sum, and not of `value` with
            # ones for its gradient: torch would import sympy for that, which takes longer than a theory
            sums, theirs = [values[place].sum() for place in curved], [leaves[place] for place in curved]
            slopes = dict(zip(curved, torch.autograd.grad(sums, theirs), strict=True))
    return [value.detach() for value in values], [
        slopes[place] if place in slopes else torch.zeros_like(z) for place, z in enumerate(each)
    ]


def _tensor(z: Real) -> Tensor:
    return torch.from_numpy(np.asarray(z, dtype=np.float64, order="C"))
