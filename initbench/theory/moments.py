"""The four numbers of an activation under a Gaussian pre-activation, by closed form or by quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.activations.closed_forms import ClosedForm, PiecewiseLinear
from initbench.theory import expectation
from initbench.theory.response import hermites

Real = NDArray[np.float64]

SMALL = 1e-10
"""Below this q, phi(z) - E[phi] loses its digits when phi(0) is not 0, and the first-order variance is exact to q."""
ORDERS, DOUBT = 32, 1e-9
"""Of Mehler's series of a kernel, and what its remainder may be, of E[phi²]."""
SERIES = expectation.Rule(points=10, deviations=(1.0, 2.0, 3.0, 4.0, 5.5, 7.5), growth=4.0)


@dataclass(frozen=True)
class GaussianMoments:
    """How `activation` acts on z ~ N(0, q): a `ClosedForm` for every activation.

    Where the activation has a closed form it is used (unless `integrate`), else quadrature.
    """

    activation: Activation
    integrate: bool = False

    def mean(self, q: Real) -> Real:
        """E[phi(z)]."""
        return self.mean_and_variance(q)[0]

    def variance(self, q: Real) -> Real:
        """E[(phi(z) - E[phi(z)])²]."""
        return self.mean_and_variance(q)[1]

    def mean_and_variance(self, q: Real) -> tuple[Real, Real]:
        """Both, of the same values of phi."""
        if (form := self._form) is not None:
            return form.mean(q), form.variance(q)
        z, w = expectation.gaussian_nodes(q, self.activation.kinks)
        value = self.activation.value(z)
        mean = (value * w).sum(axis=-1)
        integrated = ((value - mean[..., None]) ** 2 * w).sum(axis=-1)
        return mean, np.where(self._first_order_is_better(q), self._at_zero.variance(q), integrated)

    def second_moment(self, q: Real) -> Real:
        """E[phi(z)²], the sum of variance and squared mean: both are positive, so nothing cancels."""
        mean, variance = self.mean_and_variance(q)
        return variance + mean**2

    def slope_second_moment(self, q: Real) -> Real:
        """E[phi'(z)²]; at q = 0 the square of autograd's derivative there."""
        if (form := self._form) is not None:
            return np.where(q == 0, self.activation.slope(np.zeros_like(q)) ** 2, form.slope_second_moment(q))
        return expectation.expectation(lambda z: self.activation.slope(z) ** 2, q, self.activation.kinks)

    def kernel(self, q: Real, c: Real) -> Real:
        """E[phi(u) phi(v)] for correlation c."""
        if (form := self._form) is not None:
            return form.kernel(q, c)
        q, c = np.broadcast_arrays(np.asarray(q, float), np.asarray(c, float))
        known = q > 0
        found, doubt = self._series(np.where(known, q, 1.0), c)
        unsure = ~(known & (doubt < DOUBT))
        if unsure.any():
            found[unsure] = expectation.kernel(self.activation.value, q[unsure], c[unsure], self.activation.kinks)
        return found

    def _series(self, q: Real, c: Real) -> tuple[Real, Real]:
        """The kernel by Mehler's formula, sum over k of c^k E[phi he_k]², and a bound of its remainder over E[phi²].

        Far from 0 phi is two straight pieces r, whose kernel is known: of phi = r + h the series may be left with
        2 E[r h'] + E[h h'] alone, which is little where q is large.
        """
        z, w = expectation.gaussian_nodes(q, self.activation.kinks, rule=SERIES)
        phi, far = self.activation.value(z), self._far
        r = far.left * np.minimum(z, 0) + far.right * np.maximum(z, 0)
        functions = np.stack([phi, r, phi - r], axis=-2)
        weighted = functions * w[..., None, :]
        squares = (weighted @ hermites(z / np.sqrt(q)[..., None], ORDERS)) ** 2
        norm = (weighted * functions).sum(axis=-1)
        rest = np.abs(c)[..., None] ** (ORDERS + 1) * np.maximum(norm - squares.sum(axis=-1), 0.0)
        series = (squares * c[..., None, None] ** np.arange(ORDERS + 1)).sum(axis=-1)
        smooth, straight, local = np.moveaxis(rest / norm[..., :1], -1, 0)
        apart = 2 * np.sqrt(straight * local) + local
        with_far = series[..., 0] - series[..., 1] + far.kernel(q, c)
        return np.where(apart < smooth, with_far, series[..., 0]), np.minimum(apart, smooth)

    @property
    def _form(self) -> ClosedForm | None:
        return None if self.integrate else self.activation.closed_form

    @property
    def _at_zero(self) -> PiecewiseLinear:
        return linearized(self.activation)

    @property
    def _far(self) -> PiecewiseLinear:
        return _far(self.activation)

    def _first_order_is_better(self, q: Real) -> NDArray[np.bool_]:
        near = any(0 < abs(kink) < 10 * np.sqrt(SMALL) for kink in self.activation.kinks)
        return (q < SMALL) & (self.activation.at_zero != 0 and not near)


@lru_cache
def linearized(activation: Activation) -> PiecewiseLinear:
    """phi(0) + phi'(0±) z: the first-order expansion, with both one-sided slopes where phi has a kink at 0."""
    left, right = activation.slopes_at_zero
    return PiecewiseLinear(left, right, activation.at_zero)


@lru_cache
def _far(activation: Activation) -> PiecewiseLinear:
    """The straight pieces that phi is far from 0."""
    left, right = activation.slope(np.array([-expectation.FAR, expectation.FAR]))
    return PiecewiseLinear(float(left), float(right))
