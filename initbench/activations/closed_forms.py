"""Gaussian expectations that are known in closed form, each with its source.

For z ~ N(0, q) and (u, v) jointly Gaussian with variances q and correlation c, a closed form gives E[phi(z)],
Var[phi(z)], E[phi'(z)²] and E[phi(u) phi(v)]. All take and return numbers or arrays of float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


class ClosedForm(Protocol):
    """What the theory can read instead of integrating."""

    def mean(self, q: Real) -> Real:
        """E[phi(z)]."""

    def variance(self, q: Real) -> Real:
        """E[(phi(z) - E[phi(z)])²], without the cancellation of E[phi²] - E[phi]²."""

    def slope_second_moment(self, q: Real) -> Real:
        """E[phi'(z)²]."""

    def kernel(self, q: Real, c: Real) -> Real:
        """E[phi(u) phi(v)]."""


@dataclass(frozen=True)
class PiecewiseLinear:
    """phi(z) = offset + left·min(z, 0) + right·max(z, 0).

    The kernel is the arc-cosine kernel of degree one (Cho & Saul 2009, eq. 6), extended to two slopes; the
    moments are those of He et al. 2015, section 2.2.
    """

    left: float
    right: float
    offset: float = 0.0

    def _kinked_mean(self, q: Real) -> Real:
        return (self.right - self.left) * np.sqrt(q / (2 * np.pi))

    def mean(self, q: Real) -> Real:
        return self.offset + self._kinked_mean(q)

    def variance(self, q: Real) -> Real:
        # the sum of squares form of (l² + r²)/2 - (r - l)²/(2 pi): nothing cancels
        sum_, gap = self.right + self.left, self.right - self.left
        return q * (sum_**2 / 4 + gap**2 * (0.25 - 0.5 / np.pi))

    def mean_and_variance(self, q: Real) -> tuple[Real, Real]:
        """Both."""
        return self.mean(q), self.variance(q)

    def slope_second_moment(self, q: Real) -> Real:
        return np.full_like(q, (self.left**2 + self.right**2) / 2)

    def kernel(self, q: Real, c: Real) -> Real:
        sum_, gap = self.right + self.left, self.right - self.left
        absolute = np.sqrt((1 - c) * (1 + c)) + c * np.arcsin(c)  # pi/2 times E|u v| / q
        through_origin = q * (sum_**2 / 4 * c + gap**2 / (2 * np.pi) * absolute)
        return self.offset**2 + 2 * self.offset * self._kinked_mean(q) + through_origin


@dataclass(frozen=True)
class ErrorFunction:
    """phi(z) = erf(z): the arcsine kernel (Williams 1998)."""

    def mean(self, q: Real) -> Real:
        return np.zeros_like(q)

    def variance(self, q: Real) -> Real:
        return self.kernel(q, np.ones_like(q))

    def slope_second_moment(self, q: Real) -> Real:
        return 4 / np.pi / np.sqrt(1 + 4 * q)

    def kernel(self, q: Real, c: Real) -> Real:
        return 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q))


@dataclass(frozen=True)
class Sine:
    """phi(z) = sin(z): from E[exp(i z)] = exp(-q/2)."""

    def mean(self, q: Real) -> Real:
        return np.zeros_like(q)

    def variance(self, q: Real) -> Real:
        return -np.expm1(-2 * q) / 2

    def slope_second_moment(self, q: Real) -> Real:
        return (1 + np.exp(-2 * q)) / 2

    def kernel(self, q: Real, c: Real) -> Real:
        return np.exp(-q * (1 - c)) * -np.expm1(-2 * q * c) / 2
