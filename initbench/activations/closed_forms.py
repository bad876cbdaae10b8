"""Gaussian expectations that are known in closed form, each with its source.

For z ~ N(0, q) and (u, v) jointly Gaussian with variances q and correlation c, a closed form gives E[phi(z)],
Var[phi(z)], E[phi'(z)²] and E[phi(u) phi(v)]. All take and return numbers or arrays of float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfc, gammainc

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
        # arcsin(2qc / (1 + 2q)), without losing digits where that is near 1
        return 2 / np.pi * np.arctan2(2 * q * c, np.sqrt((1 + 2 * q * (1 - c)) * (1 + 2 * q * (1 + c))))


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


@dataclass(frozen=True)
class Clipped:
    """phi(z) = max(low, min(high, z)), low <= 0 <= high: truncated Gaussian moments.

    In the kernel, d²E[phi(u) phi(v)]/dc² = q² E[phi''(u) phi''(v)] (Price 1958, thm. 1), and phi'' is a delta at each
    kink: the density of (u, v) there, integrated twice from c = 0 on.
    """

    low: float
    high: float

    def mean(self, q: Real) -> Real:
        return _clipped_mean(q, self.high) - _clipped_mean(q, -self.low)

    def variance(self, q: Real) -> Real:
        # of its two sides, nothing cancels: E[phi]² is half of E[phi²] at most where phi is one-sided
        square = (
            q / 2 * gammainc(1.5, _steps(q, end) ** 2) + end**2 / 2 * erfc(_steps(q, end))
            for end in (self.high, -self.low)
        )
        return sum(square) - self.mean(q) ** 2

    def slope_second_moment(self, q: Real) -> Real:
        return (erf(_steps(q, self.high)) + erf(_steps(q, -self.low))) / 2

    def kernel(self, q: Real, c: Real) -> Real:
        straight = self.mean(q) ** 2 + c * q * self.slope_second_moment(q) ** 2
        # c = cos(angle) to begin with, and t goes from there to pi/2, evenly in its logarithm
        angle, side = np.maximum(np.arccos(np.abs(c)), 1e-12)[..., None], np.sign(c)[..., None]
        span = np.log(np.pi / 2 / angle)
        t = angle * np.exp(span * _ON_UNIT[0])
        level = np.maximum(q, _LEAST)[..., None]
        density = np.zeros(np.broadcast_shapes(level.shape, t.shape))
        for k, other, jumps in ((self.low, self.low, 1), (self.high, self.high, 1), (self.low, self.high, -2)):
            apart = (k - side * other) ** 2 / np.sin(t) ** 2 + 2 * side * k * other / (1 + np.cos(t))
            density += jumps * np.expm1(-apart / (2 * level))  # the ones cancel
        ahead = 2 * np.sin((t - angle) / 2) * np.sin((t + angle) / 2)
        return straight + q / (2 * np.pi) * (density * ahead * t * span * _ON_UNIT[1]).sum(axis=-1)


_LEAST = 1e-200
"""Instead of a variance of 0: the square of 1 over its root is still a number."""


def _steps(q: Real, end: float) -> Real:
    """How far away `end` is, over sqrt(2 q)."""
    return end / np.sqrt(2 * np.maximum(q, _LEAST))


def _clipped_mean(q: Real, end: float) -> Real:
    """E[max(0, min(end, z))]."""
    return -np.sqrt(q / (2 * np.pi)) * np.expm1(-(_steps(q, end) ** 2)) + end / 2 * erfc(_steps(q, end))


def _panels(count: int, points: int) -> tuple[Real, Real]:
    """Gauss-Legendre nodes and weights on equal panels of [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(points)
    return ((np.arange(count)[:, None] + (1 + x) / 2) / count).ravel(), np.tile(weight / 2 / count, count)


_ON_UNIT = _panels(16, 12)
