"""The four numbers of an activation under a Gaussian pre-activation, by closed form or by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.activations.closed_forms import ClosedForm, PiecewiseLinear
from initbench.theory import expectation
from initbench.theory.response import projections
from initbench.theory.several import STRAIGHT, Several

Real = NDArray[np.float64]

SMALL = 1e-10
"""Below this q, phi(z) - E[phi] loses its digits when phi(0) is not 0, and the first-order variance is exact to q."""
DOUBT = 1e-9
"""What the remainder of Mehler's series of a kernel may be, of E[phi²]."""
SERIES = {orders: expectation.Rule(points, (1.0, 2.0, 3.0, 4.0, 5.5, 7.5), growth=4.0)
          for orders, points in ((32, 10), (128, 16))}  # fmt: skip
"""By the orders of that series, of which more are taken where fewer leave a doubt: high ones turn often."""


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
        if (form := self.form) is not None:
            return form.mean(q), form.variance(q)
        z, w = expectation.gaussian_nodes(q, self.activation.kinks)
        return _mean_and_variance(self.activation, q, self.activation.value(z), w)

    def second_moment(self, q: Real) -> Real:
        """E[phi(z)²], the sum of variance and squared mean: both are positive, so nothing cancels."""
        mean, variance = self.mean_and_variance(q)
        return variance + mean**2

    def slope_second_moment(self, q: Real) -> Real:
        """E[phi'(z)²]; at q = 0 the square of autograd's derivative there."""
        if (form := self.form) is not None:
            return np.where(q == 0, self.activation.slope(np.zeros_like(q)) ** 2, form.slope_second_moment(q))
        return expectation.expectation(lambda z: self.activation.slope(z) ** 2, q, self.activation.kinks)

    def second_moments(self, q: Real) -> tuple[Real, Real]:
        """E[phi(z)²] and E[phi'(z)²], of the same nodes."""
        if self.form is not None:
            return self.second_moment(q), self.slope_second_moment(q)
        z, w = expectation.gaussian_nodes(q, self.activation.kinks)
        value, slope = self.activation.both(z)
        mean, variance = _mean_and_variance(self.activation, q, value, w)
        return variance + mean**2, np.vecdot(slope**2, w)

    def kernel(self, q: Real, c: Real) -> Real:
        """E[phi(u) phi(v)] for correlation c."""
        if (form := self.form) is not None:
            return form.kernel(q, c)
        q, c = np.broadcast_arrays(np.asarray(q, float), np.asarray(c, float))
        return kernels(Several.of([self.activation] * q.size), q.ravel(), c.ravel()).reshape(q.shape)

    @property
    def form(self) -> ClosedForm | None:
        """What is read instead of integrating."""
        return None if self.integrate else self.activation.closed_form


def integrated(activations: Several, q: Real) -> tuple[Real, Real, Real]:
    """E[phi(z)], Var[phi(z)] and E[phi'(z)²] by quadrature at q, `rows ...`, each row with its own activation."""
    mean, variance, slopes = np.empty((3, *q.shape))
    for rows in expectation.alike(q):
        z, w = expectation.gaussian_nodes(q[rows], (own := activations.at(rows)).kinks)
        value, slope = own.both(z)
        mean[rows], variance[rows] = _mean_and_variance(own, q[rows], value, w)
        slopes[rows] = np.vecdot(slope**2, w)
    return mean, variance, slopes


def _mean_and_variance(phi: Activation | Several, q: Real, value: Real, w: Real) -> tuple[Real, Real]:
    mean = (value * w).sum(axis=-1)
    integrated = ((value - mean[..., None]) ** 2 * w).sum(axis=-1)
    if not (q < SMALL).any():
        return mean, integrated
    at_zero = _by_row(phi, linearized)
    first_order = (q < SMALL) & (at_zero.offset != 0) & ~_kinks_near_zero(phi)
    return mean, np.where(first_order, at_zero.variance(q), integrated)


def kernels(activations: Several, q: Real, c: Real) -> Real:
    """E[phi(u) phi(v)], a row an entry with its own activation.

    By the formula of two rays where phi is no more than that, by Mehler's series, or by two-dimensional quadrature.
    """
    rays = activations.straight & (q >= STRAIGHT)
    found = np.empty_like(q)
    found[rays] = _by_row(activations.at(rays), _far).kernel(q[rays, None], c[rays, None])[:, 0]
    unsure = ~rays & (q > 0)
    for orders in SERIES:
        left = np.flatnonzero(unsure)
        for rows in (left[some] for some in expectation.alike(q[left])):
            found[rows], doubt = _series(activations.at(rows), q[rows], c[rows], orders)
            unsure[rows] = ~(doubt < DOUBT)
    left = np.flatnonzero(unsure | ~(q > 0))
    if len(left):
        own = activations.at(left)
        apart = expectation.kernels(lambda z, row: own.at(row).value(z), q[left], np.clip(c[left], -1, 1), own.kinks)
        found[left] = apart
    return found


def _series(activations: Several, q: Real, c: Real, orders: int) -> tuple[Real, Real]:
    """The kernel by Mehler's formula, sum over k of c^k E[phi he_k]², and a bound of its remainder over E[phi²].

    Far from 0 phi is two straight pieces r, whose kernel is known: of phi = r + h the series may be left with
    2 E[r h'] + E[h h'] alone, which is little where q is large.
    """
    z, w = expectation.gaussian_nodes(q, activations.kinks, rule=SERIES[orders])
    phi, far = activations.value(z), _by_row(activations, _far)
    r = far.left * np.minimum(z, 0) + far.right * np.maximum(z, 0)
    functions = np.stack([phi, r, phi - r], axis=-2)
    weighted = functions * w[..., None, :]
    squares = projections(weighted, z / np.sqrt(q)[..., None], orders) ** 2
    norm = (weighted * functions).sum(axis=-1)
    rest = np.abs(c)[..., None] ** (orders + 1) * np.maximum(norm - squares.sum(axis=-1), 0.0)
    series = (squares * c[..., None, None] ** np.arange(orders + 1)).sum(axis=-1)
    smooth, straight, local = np.moveaxis(rest / norm[..., :1], -1, 0)
    apart = 2 * np.sqrt(straight * local) + local
    with_far = series[..., 0] - series[..., 1] + far.kernel(q[..., None], c[..., None])[..., 0]
    return np.where(apart < smooth, with_far, series[..., 0]), np.minimum(apart, smooth)


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


def _by_row(phi: Activation | Several, form: Callable[[Activation], PiecewiseLinear]) -> PiecewiseLinear:
    """The form of an activation; of several, one of columns."""
    if isinstance(phi, Activation):
        return form(phi)
    forms = [form(kind) for kind in phi.kinds]
    pieces: Any = np.array([[of.left, of.right, of.offset] for of in forms])[phi.which].T[..., None]
    return PiecewiseLinear(*pieces)


def _kinks_near_zero(phi: Activation | Several) -> Any:
    """Whether phi is not straight where `SMALL` variances are; of several, a column."""
    size = np.abs(np.asarray(phi.kinks))
    near = ((size > 0) & (size < 10 * np.sqrt(SMALL))).any(axis=-1)
    return near if isinstance(phi, Activation) else near[:, None]
