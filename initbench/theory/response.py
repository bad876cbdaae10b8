"""How the Gaussian averages of an activation answer to a change of the variance, and how they fluctuate.

For z ~ N(0, q) and x = z / sqrt(q), Stein's lemma gives derivatives of E[f(z)] in q without one of f, so a kink does no
harm:

    q d/dq E[f] = E[f He_2(x)] / 2        q² d²/dq² E[f] = E[f He_4(x)] / 4

and for (u, v) with correlation c, Mehler's formula gives Cov(f(u), f(v)) = sum over k >= 1 of c^k E[f he_k]², with the
normalized Hermite polynomials he_k = He_k / sqrt(k!).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.theory.expectation import Rule
from initbench.theory.half_lines import Nodes, averages
from initbench.theory.kept import Kept
from initbench.theory.several import Several

Real = NDArray[np.float64]

ORDERS = 24
"""Of Hermite polynomials; what is left of the variance is taken to come with the next power of c."""
SETTLED = 1e-5
"""What halving a rule may change: relative errors are below 1e-9. These are the terms of first order in 1/n."""
RULE = Rule(points=10, deviations=(1.0, 2.0, 3.5, 5.5, 8.5), growth=3.0)
"""Of panels, as good."""

VALUE, CUBE, CENTRED, SLOPE, SQUARE, SLOPE_SQUARE = range(6)
"""The functions of z that `Local` averages: phi, phi³, (phi - E[phi])², phi', phi², phi'²."""
DEGREES = np.array([1, 3, 2, 0, 2, 0])
"""By which power of s they grow where phi(s z) = s phi(z)."""


@dataclass(frozen=True)
class Cosine:
    """The cosine between two pre-activations: its mean, and its variance over networks and pairs of inputs."""

    mean: Real
    variance: Real

    @property
    def square(self) -> Real:
        """E[c²]."""
        return self.mean**2 + self.variance

    @cached_property
    def powers(self) -> Real:
        """E[c^k] for k from 1 to ORDERS + 1, `... k`, to second order in the deviation; for k > 2 at most E[c²]."""
        k, mean = np.arange(1, ORDERS + 2), self.mean[..., None]
        powers = mean**k + k * (k - 1) / 2 * mean ** np.maximum(k - 2, 0) * self.variance[..., None]
        powers[..., 2:] = np.minimum(powers[..., 2:], self.square[..., None])
        return powers


@dataclass(frozen=True)
class Response:
    """E[f(z)] at z ~ N(0, q), and its answer to a change of ξ = log q."""

    value: Real
    first: Real
    """q dE[f]/dq."""
    second: Real
    """q² d²E[f]/dq²."""

    @property
    def slope(self) -> Real:
        """d log E[f] / dξ."""
        return self.first / self.value

    @property
    def bend(self) -> Real:
        """d² log E[f] / dξ²."""
        return self.curvature + self.slope - self.slope**2

    @property
    def curvature(self) -> Real:
        """q² d²E[f]/dq² / E[f]."""
        return self.second / self.value


class Local:
    """An activation under z ~ N(0, q), for each entry of an array of q; NaN where q is not a number."""

    def __init__(self, phi: Activation | Averages, q: Real) -> None:
        self.mean, self._series, self._products, pull = phi(q) if isinstance(phi, Averages) else _of_one(phi, q)
        """E[f], `... functions`."""
        self.passed, self.returned = self.response(SQUARE), self.response(SLOPE_SQUARE)
        """Of E[phi²] and E[phi'²]."""
        self.alignment = pull**2 / (self.passed.value * self.returned.value), 1 + 2 * self.returned.slope
        """E[zφ'φ]² / (E[φ²] q E[φ'²]) and E[(zφ')²] / (q E[φ'²]): how z·dL/dz passes a layer."""

    def response(self, f: int) -> Response:
        """E[f(z)] and how it answers."""
        two, four = self._series[..., f, 2], self._series[..., f, 4]
        return Response(self.mean[..., f], two / np.sqrt(2), four * np.sqrt(24) / 4)

    def product(self, f: int, g: int) -> Real:
        """E[f(z) g(z)]."""
        return self.covariance(f, g) + self.mean[..., f] * self.mean[..., g]

    def covariance(self, f: int, g: int, cosine: Cosine | None = None) -> Real:
        """Cov(f(u), g(v)) for two pre-activations of this variance; without a cosine they are one."""
        if cosine is None:
            return self._products[..., f, g]
        return (self._mehler(f, g) * cosine.powers).sum(axis=-1)

    def cosine_passed(self, cosine: Cosine) -> tuple[Real, Real, Real]:
        """The cosine between phi(u) and phi(v), its slope in the cosine of u and v, and n times the variance by units.

        The last is of the cosine of two vectors of n independent units.
        """
        centre, level, terms = self.mean[..., VALUE], self.passed.value, self._mehler(VALUE, VALUE)
        k, c = np.arange(1, ORDERS + 2), cosine.mean[..., None]
        passed = ((terms * c**k).sum(axis=-1) + centre**2) / level
        slope = (terms * k * c ** (k - 1)).sum(axis=-1) / level
        fourth, both = self.covariance(SQUARE, SQUARE), self.covariance(SQUARE, SQUARE, cosine)
        third = self.covariance(CUBE, VALUE, cosine) + self.mean[..., CUBE] * centre
        own = both + level**2 - (passed * level) ** 2
        variance = (own + passed**2 / 2 * (fourth + both) - 2 * passed * (third - passed * level**2)) / level**2
        return passed, slope, np.maximum(variance, 0.0)

    def _mehler(self, f: int, g: int) -> Real:
        """E[f he_k] E[g he_k] for k from 1 to `ORDERS`, and what is left of Cov(f, g), `... k`."""
        products = self._series[..., f, 1:] * self._series[..., g, 1:]
        rest = self._products[..., f, g] - products.sum(axis=-1)
        return np.concatenate([products, rest[..., None]], axis=-1)


class Averages:
    """What `Local` knows of several activations, layer after layer; once for rows that are equal or stand still."""

    def __init__(self, activations: Several) -> None:
        self._activations = activations
        self._kept = Kept(lambda rows, level: _distinct(activations.at(rows), level))

    def __call__(self, q: Real) -> list[Real]:
        """`_averages` at q, a row an activation."""
        level, grown = self._activations.levels(q)
        size, (mean, series, products, pull) = np.sqrt(grown), self._kept(level)
        by_f = size[:, None] ** DEGREES
        return [mean * by_f, series * by_f[..., None], products * by_f[..., None] * by_f[:, None], pull * size]


def _distinct(activations: Several, q: Real) -> list[Real]:
    """E[f], E[f he_k], Cov(f, g) and E[xφ'φ] of the functions f, g of `Local`, `rows ...`.

    Once for rows that are equal; those of q = 1 where q is not a number.
    """
    rows = [activations.which, np.where(np.isfinite(q), q, 1.0)]
    (_, level), first, which = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    own = activations.at(first)
    found = averages(lambda some, nodes: _averages(own.at(some), nodes), level, own.kinks, SETTLED, RULE)
    return [each[which.ravel()] for each in found]


def _averages(activations: Several, nodes: Nodes) -> tuple[list[Real], Real]:
    phi, slope = activations.both(nodes.z)
    square, centred = phi**2, phi - np.vecdot(phi, nodes.weight)[..., None]
    functions = np.stack([phi, square * phi, centred**2, slope, square, slope**2], axis=-2)
    mean = np.vecdot(functions, nodes.weight[..., None, :])
    change = nodes.change(mean[..., SQUARE:], functions[..., SQUARE:, :]).max(axis=-1)
    functions -= mean[..., None]
    functions *= nodes.root[..., None, :]
    series, products = nodes.projections(functions, ORDERS), functions @ functions.swapaxes(-1, -2)
    pull = np.vecdot(slope * phi, nodes.x * nodes.weight)
    return [mean, series, products, pull], change


def _of_one(activation: Activation, q: Real) -> list[Real]:
    """What `Averages` says of one activation, for any shape of q."""
    found = Averages(Several.of([activation] * q.size))(q.ravel())
    lost = ~np.isfinite(q)
    found = [each.reshape(q.shape + each.shape[1:]) for each in found]
    for each in found:
        each[lost] = np.nan
    return found
