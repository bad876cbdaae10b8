"""How the Gaussian averages of an activation answer to a change of the variance, and how they fluctuate.

For z ~ N(0, q) and x = z / sqrt(q), Stein's lemma gives derivatives of E[f(z)] in q without one of f, so a kink does no
harm:

    q d/dq E[f] = E[f He_2(x)] / 2        q² d²/dq² E[f] = E[f He_4(x)] / 4

and for (u, v) with correlation c, Mehler's formula gives Cov(f(u), f(v)) = sum over k >= 1 of c^k E[f he_k]², with the
normalized Hermite polynomials he_k = He_k / sqrt(k!).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.theory.expectation import Rule, gaussian_nodes

Real = NDArray[np.float64]

ORDERS = 24
"""Of Hermite polynomials; what is left of the variance is taken to come with the next power of c."""
RULE = Rule(points=10, deviations=(1.0, 2.0, 3.5, 5.5, 8.5), growth=3.0)
"""Relative error below 1e-9: these are the terms of first order in 1/n."""


@dataclass(frozen=True)
class Cosine:
    """The cosine between two pre-activations: its mean, and its variance over networks and pairs of inputs."""

    mean: float
    variance: float = 0.0

    @property
    def square(self) -> float:
        """E[c²]."""
        return self.mean**2 + self.variance

    def powers(self) -> Real:
        """E[c^k] for k from 1 to ORDERS + 1, to second order in the deviation."""
        k = np.arange(1, ORDERS + 2)
        return self.mean**k + k * (k - 1) / 2 * self.mean ** np.maximum(k - 2, 0) * self.variance


SAME = Cosine(1.0)
"""Of an input with itself."""


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
    """An activation under z ~ N(0, q), for each entry of an array of q > 0."""

    def __init__(self, activation: Activation, q: Real | float) -> None:
        variance = np.asarray(q, float)
        z, self._weight = gaussian_nodes(variance, activation.kinks, rule=RULE)
        self._x = z / np.sqrt(variance)[..., None]
        self._hermite = np.stack(list(islice(hermite(self._x), ORDERS + 1)))
        self.phi = activation.value(z)
        self.slope = activation.slope(z)
        self.passed = self.response(self.phi**2)
        """E[phi²]."""
        self.returned = self.response(self.slope**2)
        """E[phi'²]."""

    def mean(self, f: Real) -> Real:
        """E[f(z)], `f` given at the nodes."""
        return (f * self._weight).sum(axis=-1)

    def response(self, f: Real) -> Response:
        """E[f(z)] and how it answers."""
        two, four = self._hermite[2] * np.sqrt(2), self._hermite[4] * np.sqrt(24)
        return Response(self.mean(f), self.mean(f * two) / 2, self.mean(f * four) / 4)

    def covariance(self, f: Real, g: Real, cosine: Cosine = SAME) -> Real:
        """Cov(f(u), g(v)) for two pre-activations of this variance."""
        centred = f - self.mean(f)[..., None]
        other = centred if g is f else g - self.mean(g)[..., None]
        if cosine == SAME:
            return self.mean(centred * other)
        products, powers = self._mehler(centred, other), cosine.powers()
        return products[..., :-1] @ powers[:-1] + products[..., -1] * powers[-1]

    def cosine_passed(self, cosine: Cosine) -> tuple[Real, Real, Real]:
        """The cosine between phi(u) and phi(v), its slope in the cosine of u and v, and n times the variance by units.

        The last is of the cosine of two vectors of n independent units.
        """
        value, square, level = self.phi, self.phi**2, self.passed.value
        centre = self.mean(value)
        products = self._mehler(value - centre[..., None], value - centre[..., None])
        k, c = np.arange(1, ORDERS + 2), cosine.mean
        passed = (products @ c**k + centre**2) / level
        slope = products @ (k * c ** (k - 1)) / level
        fourth, both = self.covariance(square, square), self.covariance(square, square, cosine)
        third = self.covariance(value**3, value, cosine) + self.mean(value**3) * centre
        own = both + level**2 - (passed * level) ** 2
        variance = (own + passed**2 / 2 * (fourth + both) - 2 * passed * (third - passed * level**2)) / level**2
        return passed, slope, np.maximum(variance, 0.0)

    def _mehler(self, f: Real, g: Real) -> Real:
        """E[f he_k] E[g he_k] for k from 1 to `ORDERS`, and what is left of E[f g], of centred f and g."""
        weighted = f * self._weight
        left = (self._hermite[1:] * weighted).sum(axis=-1)
        right = left if g is f else (self._hermite[1:] * (g * self._weight)).sum(axis=-1)
        products = np.moveaxis(left * right, 0, -1)
        rest = (weighted * g).sum(axis=-1) - products.sum(axis=-1)
        return np.concatenate([products, rest[..., None]], axis=-1)

    @property
    def alignment(self) -> tuple[Real, Real]:
        """E[zφ'φ]² / (E[φ²] q E[φ'²]) and E[(zφ')²] / (q E[φ'²]): how z·dL/dz passes a layer."""
        pull, power = self._x * self.slope, self.returned.value
        return self.mean(pull * self.phi) ** 2 / (self.passed.value * power), self.mean(pull**2) / power


def hermite(x: Real) -> Iterator[Real]:
    """The normalized probabilists' Hermite polynomials he_0, he_1, ... at x, one after another."""
    before, now = np.zeros_like(x), np.ones_like(x)
    for k in count():
        yield now
        before, now = now, (x * now - np.sqrt(k) * before) / np.sqrt(k + 1)
