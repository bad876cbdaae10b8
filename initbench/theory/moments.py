"""The four numbers of an activation under a Gaussian pre-activation, by closed form or by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from initbench.activations import Activation
from initbench.activations.closed_forms import ClosedForm, PiecewiseLinear
from initbench.theory import expectation
from initbench.theory.expectation import Rule
from initbench.theory.half_lines import LATTICES, Lattice, Nodes, Rows, averages, laid
from initbench.theory.several import SLIGHT, STRAIGHT, Several

Real = NDArray[np.float64]

SMALL = 1e-10
"""Below this q, phi(z) - E[phi] loses its digits when phi(0) is not 0, and the first-order variance is exact to q."""
DOUBT = 1e-9
"""What the remainder of Mehler's series of a kernel may be, of E[phi²]."""
HALVED = 1e-5
"""What halving the rule of that series may change in E[phi²]: errors are below 1e-9."""
SETTLED = 3e-9
"""What halving a rule may change in E[phi²] and E[phi'²], relative: errors are below 1e-12."""


@dataclass(frozen=True)
class Series:
    """Mehler's up to some order: high ones turn often, and are taken where fewer leave a doubt."""

    orders: int
    lattice: Lattice
    panels: Rule | None = None
    """For what bends elsewhere than at 0."""


SERIES = (Series(32, LATTICES[70], Rule(12, (1.0, 2.0, 3.0, 4.0, 5.5, 7.5, 10.0), growth=4.0)),
          Series(128, LATTICES[140]), Series(512, LATTICES[280]))  # fmt: skip


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
            return np.where(q == 0, self.activation.slope_at_zero**2, form.slope_second_moment(q))
        return expectation.expectation(lambda z: self.activation.slope(z) ** 2, q, self.activation.kinks)

    def second_moments(self, q: Real) -> tuple[Real, Real]:
        """E[phi(z)²] and E[phi'(z)²], of the same nodes."""
        if self.form is not None:
            return self.second_moment(q), self.slope_second_moment(q)
        found = integrated(Several.of([self.activation] * q.size), q.ravel())
        mean, variance, slopes = (each.reshape(q.shape) for each in found[:3])
        return variance + mean**2, slopes

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


def integrated(activations: Several, q: Real) -> tuple[Real, Real, Real, Real]:
    """E[phi(z)], Var[phi(z)] and E[phi'(z)²] by quadrature at q, `rows ...`, each row with its own activation.

    And E[phi he_k] at a row's last q, for the first of `SERIES`, `rows k`; NaN on panels, which have too many nodes.
    """
    orders = SERIES[0].orders

    def of(rows: Rows, nodes: Nodes) -> tuple[list[Real], Real]:
        own = activations.at(rows)
        value, slope = own.both(nodes.z)
        last = value.reshape(len(rows), -1, value.shape[-1])[:, -1:]
        if nodes.lattice is None:
            terms = np.full((len(rows), orders + 1), np.nan)
        else:
            terms = nodes.projections(last * nodes.root, orders)[:, 0]
        mean, variance = _mean_and_variance(own, q[rows], value, nodes.weight)
        slope_square = slope**2
        slopes = np.vecdot(slope_square, nodes.weight)
        changes = np.maximum(nodes.change(variance + mean**2, value**2), nodes.change(slopes, slope_square))
        return [mean, variance, slopes, terms], changes.reshape(len(rows), -1).max(axis=-1)

    mean, variance, slopes, terms = averages(of, q, activations.kinks, SETTLED, expectation.FINE)
    return mean, variance, slopes, terms


def _mean_and_variance(phi: Activation | Several, q: Real, value: Real, w: Real) -> tuple[Real, Real]:
    mean = np.vecdot(value, w)
    integrated = np.vecdot((value - mean[..., None]) ** 2, w)
    if not (q < SMALL).any():
        return mean, integrated
    at_zero = _by_row(phi, _near)
    first_order = (q < SMALL) & (at_zero.offset != 0) & ~_kinks_near_zero(phi)
    return mean, np.where(first_order, at_zero.variance(q), integrated)


def kernels(activations: Several, q: Real, c: Real, known: tuple[Real, Real] | None = None) -> Real:
    """E[phi(u) phi(v)], a row an entry with its own activation.

    By the formula of two rays where phi is no more than that, by Mehler's series, or by two-dimensional quadrature.
    What `integrated` has found of the series, and E[phi²], may be `known`.
    """
    far, near = activations.straight & (q >= STRAIGHT), activations.bent_at_zero & (q <= SLIGHT)
    found = np.where(np.isnan(q), np.nan, activations.kinds.told(_at_zero)[activations.which] ** 2)
    for rays, pieces in ((far, _far), (near, _near)):
        found[rays] = _by_row(activations.at(rays), pieces).kernel(q[rays, None], c[rays, None])[:, 0]
    unsure = ~far & ~near & (q > 0)
    untried = np.ones_like(unsure)
    if known is not None:
        summed, rest = _mehler(*known, c)
        sure = unsure & (rest < DOUBT * known[1])
        found[sure] = summed[sure]
        unsure, untried = unsure & ~sure, np.isnan(rest)
    for series in SERIES:
        left = np.flatnonzero(unsure & untried if series is SERIES[0] else unsure)
        if not len(left):
            continue
        for some, nodes in laid(q[left], activations.kinks[left], series.lattice, series.panels):
            rows = left[some]
            found[rows], doubt = _series(activations.at(rows), nodes, q[rows], c[rows], series.orders)
            unsure[rows] = ~(doubt < DOUBT)
    if len(left := np.flatnonzero(unsure)):
        own = activations.at(left)
        apart = expectation.kernels(lambda z, row: own.at(row).value(z), q[left], np.clip(c[left], -1, 1), own.kinks)
        found[left] = apart
    return found


def _series(activations: Several, nodes: Nodes, q: Real, c: Real, orders: int) -> tuple[Real, Real]:
    """The kernel by Mehler's formula, and a bound of its remainder over E[phi²]; for phi - r where that is less."""
    phi = activations.value(nodes.z)
    square, terms = phi**2, nodes.projections((phi * nodes.root)[:, None], orders)[:, 0]
    size = np.vecdot(square, nodes.weight)
    found, rest = _mehler(terms, size, c)
    doubt = np.where(nodes.change(size, square) < HALVED, rest / size, np.inf)
    unsure = np.flatnonzero((doubt >= DOUBT) & (doubt < np.inf))
    if len(unsure):
        own, nodes, q, c = activations.at(unsure), nodes.at(unsure), q[unsure], c[unsure]
        found[unsure], rest = _around_rays(own, nodes, q, c, phi[unsure], terms[unsure])
        doubt[unsure] = rest / size[unsure]
    return found, doubt


def _around_rays(activations: Several, nodes: Nodes, q: Real, c: Real, phi: Real, terms: Real) -> tuple[Real, Real]:
    """The same of phi = r + h, with two straight pieces r that phi is nearly where q is small or large.

    The kernel of r is known, E[r(u) h(v)] = E[h(v) E[r(u) | v]] an average over v alone: only that of h is a series.
    """
    rays = _rays(activations, q)
    h = phi - _smoothed(rays, nodes.z, np.zeros_like(q))
    below, above = _half_line(terms.shape[-1] - 1)
    terms = terms - np.sqrt(q)[:, None] * (rays.left * below + rays.right * above)
    kernel, rest = _mehler(terms, np.vecdot(h**2, nodes.weight), c)
    given = _smoothed(rays, c[:, None] * nodes.z, np.sqrt(q * (1 - c) * (1 + c)))
    return kernel + 2 * np.vecdot(h * given, nodes.weight) + rays.kernel(q[:, None], c[:, None])[:, 0], rest


def _mehler(terms: Real, size: Real, c: Real) -> tuple[Real, Real]:
    """Sum over k of c^k E[f he_k]² from these `terms`, and a bound of what is left of it; E[f²] is `size`."""
    squares, powers = terms**2, c[:, None] ** np.arange(terms.shape[-1] + 1)
    return np.vecdot(squares, powers[:, :-1]), np.abs(powers[:, -1]) * np.maximum(size - squares.sum(axis=-1), 0.0)


def _smoothed(rays: PiecewiseLinear, mean: Real, deviation: Real) -> Real:
    """E[r(u)] for u ~ N(mean, deviation²), `rows nodes` and `rows`."""
    width = np.maximum(deviation, 1e-100)[:, None]
    x = np.clip(mean / width, -40, 40)  # beyond, all of u is on one side
    above = mean * ndtr(x) + width * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    return rays.right * above + rays.left * (mean - above)


@cache
def _half_line(orders: int) -> tuple[Real, Real]:
    """E[min(x, 0) he_k] and E[max(x, 0) he_k] for k from 0 to `orders`, x ~ N(0, 1)."""
    lattice = LATTICES[560]
    below, above = (lattice.hermite(orders) @ (side(lattice.x, 0) * lattice.root) for side in (np.minimum, np.maximum))
    return below, above


@lru_cache
def linearized(activation: Activation) -> PiecewiseLinear:
    """phi(0) + phi'(0±) z: the first-order expansion, with both one-sided slopes where phi has a kink at 0."""
    left, right = activation.slopes_at_zero
    return PiecewiseLinear(left, right, activation.at_zero)


Pieces = tuple[float, float, float]
"""Slopes below and above 0, and an offset: those of a `PiecewiseLinear`."""


def _at_zero(activation: Activation) -> float:
    return activation.at_zero


def _near(activation: Activation) -> Pieces:
    """`linearized`."""
    at_zero = linearized(activation)
    return at_zero.left, at_zero.right, at_zero.offset


@lru_cache
def _far(activation: Activation) -> Pieces:
    """The straight pieces that phi is far from 0."""
    left, right = activation.slope(np.array([-expectation.FAR, expectation.FAR]))
    return float(left), float(right), 0.0


def _rays(activations: Several, q: Real) -> PiecewiseLinear:
    """The two straight pieces that each row's phi is on the scale of sqrt(q), or nearly so; those of columns."""
    near, far = (_by_row(activations, pieces) for pieces in (_near, _far))
    return PiecewiseLinear(*np.where(q[:, None] < 1, (near.left, near.right), (far.left, far.right)))


def _by_row(phi: Activation | Several, pieces: Callable[[Activation], Pieces]) -> PiecewiseLinear:
    """Those of an activation; of several, columns."""
    if isinstance(phi, Activation):
        return PiecewiseLinear(*pieces(phi))
    columns: Any = phi.kinds.told(pieces)[phi.which].T[..., None]
    return PiecewiseLinear(*columns)


def _kinks_near_zero(phi: Activation | Several) -> Any:
    """Whether phi is not straight where `SMALL` variances are; of several, a column."""
    size = np.abs(np.asarray(phi.kinks))
    near = ((size > 0) & (size < 10 * np.sqrt(SMALL))).any(axis=-1)
    return near if isinstance(phi, Activation) else near[:, None]
