"""The map of the cosine c between two pre-activations, C(c) = (sigma_w² E[phi(u) phi(v)] + sigma_b²) / q*.

By Mehler's formula C is a power series, which converges fast unless c* is near 1. There kinks of phi bend C as
sqrt(1 - c): what is straight between its kinks has a formula (Price 1958), the rest a quadrature in two dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.theory import expectation
from initbench.theory.half_lines import hermite
from initbench.theory.roots import bracketed

Real = NDArray[np.float64]

CLOSE, ROUNDING = 1e-9, 1e-12
"""A slope this near to 1 is 1; what a series may lack."""
ORDERS, SQUARED_ROUNDING = 200, 1e-28
"""Of the power series of C, and below which a coefficient of it is 0."""
SHARED = expectation.Rule(points=10, deviations=(1.0, 2.0, 3.5, 5.5, 8.5), growth=2.0)
OWN = expectation.Rule(points=10, deviations=(1.25, 2.75, 5.0, 8.5), growth=4.0)
"""For what two pre-activations share, and for the rest of each."""
SAMPLED, STEP = np.logspace(-3, 3, 60), 1e-9
"""Distances from a kink at which phi' is asked whether it changes; within a step phi does not jump."""
HALVINGS, POINTS = 30, 12
"""Of an integral over angles: panels that halve towards 0, where two kinks come apart, and points of each."""


@dataclass(frozen=True)
class CosineMap:
    """C for one activation, at fixed points q* > 0 of the variance; arrays run over such points."""

    activation: Activation

    def fixed_point(self, w: Real, b: Real, q: Real, chi_1: Real) -> tuple[Real, Real]:
        """c*, where the cosine goes, and C'(c*) = sigma_w² E[phi'(u) phi'(v)]; c* is NaN where every cosine is kept."""
        chi_1 = np.full_like(w, np.inf) if self.jumps else chi_1  # C'(1), which is more than the gradient's there
        c, slope = np.ones_like(w), chi_1.copy()
        line = np.abs(chi_1 - 1) < CLOSE
        c[line & self._keeps(w, q)] = np.nan
        chaotic = np.flatnonzero((chi_1 > 1) & ~line)
        chosen = self._by_angles if self._bends else self._by_series
        for at in (chaotic[start : start + 128] for start in range(0, len(chaotic), 128)):
            c[at], slope[at] = chosen(w[at], b[at], q[at], chi_1[at])
        return c, slope

    @cached_property
    def jumps(self) -> bool:
        """Whether phi jumps at a kink: then neighbours part however near they are, and C'(1) is infinite."""
        kinks = np.array(self.activation.kinks)
        left, right = self.activation.value(kinks - STEP), self.activation.value(kinks + STEP)
        return bool((np.abs(right - left) >= 1e3 * STEP).any())

    @cached_property
    def _bends(self) -> list[tuple[float, float]]:
        """Each kink, and by how much phi' jumps there, where phi is straight between them; else none."""
        kinks = np.array(self.activation.kinks)
        z = np.sort((kinks[:, None] + np.concatenate([-SAMPLED, SAMPLED])).ravel())
        pieces = [part for part in np.split(self.activation.slope(z), np.searchsorted(z, kinks)) if len(part)]
        if len(pieces) <= len(kinks) or not len(kinks) or any(np.ptp(part) > ROUNDING for part in pieces):
            return []
        changes = np.diff([part[0] for part in pieces])
        return [] if self.jumps else list(zip(kinks, changes, strict=True))

    def _by_angles(self, w: Real, b: Real, q: Real, chi_1: Real) -> tuple[Real, Real]:
        """The root of r = (1 - C) / (1 - c) = 1 in the angle, c = cos(angle): r falls from chi_1 at 0 to 1 - C(0)."""
        known = (w, q, chi_1)
        right = np.full_like(w, math.pi / 2)
        low = right * 2.0**-HALVINGS
        below = self._lost(right, *known)[0] < 1
        inside = below & (self._lost(low, *known)[0] > 1)
        angle = np.where(below, low, right)
        between = (of[inside] for of in (low, right, *known))
        angle[inside] = bracketed(lambda angle, *at: self._lost(angle, *at)[0] - 1, *between)
        return np.cos(angle) * (angle < right), self._lost(angle, *known)[1]

    def _lost(self, angle: Real, w: Real, q: Real, chi_1: Real) -> tuple[Real, Real]:
        """r and C' at c = cos(angle), of what is straight between kinks k_i, where phi' jumps by J_i.

        dE[phi'(u) phi'(v)]/dc = q sum of J_i J_j p(k_i, k_j; c), with p the density of (u, v) (Price 1958, thm. 1);
        integrated from c = 1 on, once for C' and twice for C, both as one integral over angles.
        """
        x, weight = _halved(HALVINGS, POINTS)
        t = angle[..., None] * x
        density = np.zeros_like(t)
        for (k, jump), (other, its) in product(self._bends, repeat=2):
            apart = (k - other) ** 2 / np.sin(t) ** 2 + 2 * k * other / (1 + np.cos(t))
            density += jump * its / (2 * math.pi) * np.exp(-apart / (2 * q[..., None]))
        density *= weight * angle[..., None]
        ahead = (
            np.sin((angle[..., None] - t) / 2) * np.sin((angle[..., None] + t) / 2) / np.sin(angle / 2)[..., None] ** 2
        )
        return chi_1 - w * (density * ahead).sum(-1), chi_1 - w * density.sum(-1)

    def _by_series(self, w: Real, b: Real, q: Real, chi_1: Real) -> tuple[Real, Real]:
        series = self._series(w, b, q)
        c, slope = _smallest_fixed_point(series)
        # beyond the last order kinked functions have more than the series says: what C' may lack decides
        unsure = np.abs(chi_1 - series @ np.arange(ORDERS + 2)) * c**ORDERS > ROUNDING
        for i in np.flatnonzero(unsure):
            c[i], slope[i] = self._exact(w[i], q[i], chi_1[i], c[i])
        return c, slope

    def _keeps(self, w: Real, q: Real) -> NDArray[np.bool_]:
        """Whether C(c) = c: all of phi is its first Hermite polynomial."""
        z, weight = expectation.gaussian_nodes(q, self.activation.kinks)
        first = (self.activation.value(z) * z * weight).sum(-1) / q
        return np.abs(w * first**2 - 1) < CLOSE

    def _series(self, w: Real, b: Real, q: Real) -> Real:
        """C's coefficients from order 0 to `ORDERS` + 1, `points orders`; the last takes what is left of C(1) = 1.

        That of c^k is sigma_w² E[phi he_k]² / q, with normalized Hermite polynomials, and sigma_b² / q more at k = 0.
        """
        z, weight = expectation.gaussian_nodes(q, self.activation.kinks)
        x, weighted = z / np.sqrt(q)[:, None], self.activation.value(z) * weight
        found = np.empty((len(q), ORDERS + 2))
        for k, polynomial in enumerate(islice(hermite(x), ORDERS + 1)):
            found[:, k] = w * (weighted * polynomial).sum(-1) ** 2 / q
        found[found < SQUARED_ROUNDING] = 0  # an odd function's even orders
        found[:, 0] += b / q
        found[:, -1] = np.maximum(1 - found[:, :-1].sum(-1), 0)
        return found

    def _exact(self, w: float, q: float, chi_1: float, c: float) -> tuple[float, float]:
        """c* and C'(c*) by two-dimensional quadrature, from the series' c*.

        Newton in theta = sqrt(1 - c) for r = (1 - C) / (1 - c) = 1, which falls from chi_1 at theta = 0, nearly
        straight where phi has a kink; dr/dtheta = -2 (r - C') / theta is below 0 as C is convex.
        """
        theta = max(math.sqrt(1 - c), min(chi_1 - 1, 0.5))  # the series may say 1
        for _ in range(20):
            lost, returned = self._pair(q, theta)
            r, steepness = w * lost / (q * theta**2), w * returned
            moved = min(theta * max(1 + (r - 1) / (2 * (r - steepness)), 0.1), 1.0)
            if abs(moved - theta) < min(1e-11 / theta, 1e-6 * theta):
                break
            theta = moved
        return 1 - theta**2, steepness

    def _pair(self, q: float, theta: float) -> tuple[float, float]:
        """E[phi(u)²] - E[phi(u) phi(v)] and E[phi'(u) phi'(v)], at c = 1 - theta².

        u and v share m ~ N(0, c q) and are independent given it, so the first is E_m[Var[phi | m]], where nothing
        cancels; by Stein's lemma for the rest of each, of variance s = (1 - c) q, the second is
        E_m[E[(u - m) phi | m]²] / s².
        """
        kinks, own = self.activation.kinks, q * theta**2
        widths = math.sqrt(own) * 2.0 ** np.arange(0, 2 + max(0, math.ceil(math.log2(8 / theta))))
        bends = [kink + side * width for kink in kinks for side in (-1, 1) for width in (0, *widths)]
        m, weight = expectation.gaussian_nodes(np.array(q * (1 - theta**2)), bends, rule=SHARED)
        m, weight = m[weight > 1e-18], weight[weight > 1e-18]
        z, inner = expectation.gaussian_nodes(np.full_like(m, own), kinks, mean=m, rule=OWN)
        value = self.activation.value(z)
        centred = value - (value * inner).sum(-1, keepdims=True)
        rest = (centred * inner * (z - m[:, None])).sum(-1)
        return float((centred**2 * inner).sum(-1) @ weight), float(rest**2 @ weight) / own**2


def _smallest_fixed_point(series: Real) -> tuple[Real, Real]:
    """c* and C'(c*): Newton from 0, which climbs without overshooting as C is convex."""
    series = series.T
    slopes, c = polyder(series), np.zeros(series.shape[1])
    for _ in range(100):
        steepness = polyval(c, slopes, tensor=False)
        step = np.where(steepness < 1, (polyval(c, series, tensor=False) - c) / np.maximum(1 - steepness, 1e-300), 0)
        c = np.clip(c + step, 0, 1)
        if np.abs(step).max() < 1e-14:  # Newton: the next one would be far smaller
            break
    return c, np.asarray(polyval(c, slopes, tensor=False), float)


def _halved(halvings: int, points: int) -> tuple[Real, Real]:
    """Gauss-Legendre nodes and weights on [0, 1], on panels that halve towards 0."""
    ends = np.array([0.0, *2.0 ** np.arange(-halvings, 1)])
    abscissa, weight = expectation.gauss_legendre(points)
    half = np.diff(ends)[:, None] / 2
    return (ends[:-1, None] + half * (1 + abscissa)).ravel(), (half * weight).ravel()
