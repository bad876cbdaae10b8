"""The four numbers of an activation under a Gaussian pre-activation, by closed form or by quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.activations.closed_forms import ClosedForm, PiecewiseLinear
from initbench.theory import expectation

Real = NDArray[np.float64]

SMALL = 1e-10
"""Below this q, phi(z) - E[phi] loses its digits when phi(0) is not 0, and the first-order variance is exact to q."""


@dataclass(frozen=True)
class GaussianMoments:
    """How `activation` acts on z ~ N(0, q): a `ClosedForm` for every activation.

    Where the activation has a closed form it is used (unless `integrate`), else quadrature.
    """

    activation: Activation
    integrate: bool = False

    def mean(self, q: Real) -> Real:
        """E[phi(z)]."""
        if (form := self._form) is not None:
            return form.mean(q)
        return expectation.expectation(self.activation.value, q, self.activation.kinks)

    def variance(self, q: Real) -> Real:
        """E[(phi(z) - E[phi(z)])²]."""
        if (form := self._form) is not None:
            return form.variance(q)
        z, w = expectation.gaussian_nodes(q, self.activation.kinks)
        value = self.activation.value(z)
        centred = value - (value * w).sum(axis=-1, keepdims=True)
        return np.where(self._first_order_is_better(q), self._at_zero.variance(q), (centred**2 * w).sum(axis=-1))

    def second_moment(self, q: Real) -> Real:
        """E[phi(z)²], the sum of variance and squared mean: both are positive, so nothing cancels."""
        return self.variance(q) + self.mean(q) ** 2

    def slope_second_moment(self, q: Real) -> Real:
        """E[phi'(z)²]; at q = 0 the square of autograd's derivative there."""
        if (form := self._form) is not None:
            return np.where(q == 0, self.activation.slope(np.zeros_like(q)) ** 2, form.slope_second_moment(q))
        return expectation.expectation(lambda z: self.activation.slope(z) ** 2, q, self.activation.kinks)

    def kernel(self, q: Real, c: Real) -> Real:
        """E[phi(u) phi(v)] for correlation c."""
        if (form := self._form) is not None:
            return form.kernel(q, c)
        pairs = np.broadcast(q, c)
        return np.array([_kernel(self.activation, float(a), float(b)) for a, b in pairs]).reshape(pairs.shape)

    @property
    def _form(self) -> ClosedForm | None:
        return None if self.integrate else self.activation.closed_form

    @property
    def _at_zero(self) -> PiecewiseLinear:
        return linearized(self.activation)

    def _first_order_is_better(self, q: Real) -> NDArray[np.bool_]:
        near = any(0 < abs(kink) < 10 * np.sqrt(SMALL) for kink in self.activation.kinks)
        return (q < SMALL) & (self.activation.at_zero != 0 and not near)


def linearized(activation: Activation) -> PiecewiseLinear:
    """phi(0) + phi'(0±) z: the first-order expansion, with both one-sided slopes where phi has a kink at 0."""
    left, right = activation.slopes_at_zero
    return PiecewiseLinear(left, right, activation.at_zero)


@lru_cache(maxsize=100_000)
def _kernel(activation: Activation, q: float, c: float) -> float:
    """Many layers and initializers ask for one pair (q, c): at a fixed point, all of them do."""
    return expectation.kernel(activation.value, q, c, activation.kinks)
