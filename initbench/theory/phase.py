"""The mean-field phases of one activation: does a deep network forget its input, or tear neighbours apart?

With sigma_w² = fan_in·Var(w), sigma_b² = Var(b) and pre-activations z, u, v of variance q (u, v with cosine c), a layer
maps (Poole et al. 2016, eqs. 3 and 5; Schoenholz et al. 2017, eqs. 3 to 5)

    q <- F(q) = sigma_w² E[phi(z)²] + sigma_b²        c <- C(c) = (sigma_w² E[phi(u) phi(v)] + sigma_b²) / q*

chi_1 = sigma_w² E[phi'(z)²] = C'(1) is the factor of the squared gradient too. By Mehler's formula C is a power series
without a negative coefficient, hence convex with C(1) = 1. So c* = 1 attracts, alone, where chi_1 <= 1 (ordered); where
chi_1 > 1 it repels and one c* in [0, 1) attracts (chaotic). Hayou et al. 2019 ask who has a line between the two.
Where phi jumps C'(1) is infinite, and chi_1 = sigma_w² E[phi'(z)²] without the jumps the gradient's factor alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.errors import require
from initbench.theory import expectation
from initbench.theory.cosine_map import CLOSE, CosineMap
from initbench.theory.critical import CriticalPoint, critical_points, why_none
from initbench.theory.moments import GaussianMoments
from initbench.theory.roots import ROUNDING, roots

Real = NDArray[np.float64]
Row = dict[str, Any]

COLUMNS = ("activation", "weight_variance", "bias_variance", "q_star", "c_star", "chi_1", "chi_parallel", "chi_c",
           "xi_q", "xi_c", "phase", "note")  # fmt: skip
LINE_COLUMNS = ("activation", "bias_variance", "weight_variance", "q_star", "stability", "note")
LOG_LEVELS = np.log(np.logspace(-16, 16, 600))
"""The log q among which fixed points are sought; beyond them, E[z²] is said to vanish or to grow without end."""
LEAVES = "E[z²] leaves q* after a disturbance"
JUMPS = "phi jumps: C'(1) is infinite, chi_1 the gradient's alone"
FAR = 1e12
"""Where phi is read as straight, for E[z²] that grows without end."""


def phase(activation: Activation, weight_variances: Iterable[float], bias_variances: Iterable[float]) -> list[Row]:
    """Fixed points, their slopes and depth scales, a row per sigma_b² and sigma_w², with the columns `COLUMNS`.

    q* is where E[z²] goes from its value sigma_w² + sigma_b² behind an input of E[x²] = 1; the note names other fixed
    points. chi_parallel = F'(q*) and chi_c = C'(c*); a depth scale is xi = -1 / ln|chi|, NaN where that slope leads
    away. Where E[z²] vanishes or grows without end, q* is 0 or inf and the slopes are limits. c* is NaN where the
    cosine stays as it is. Raises `UsageError` for a variance that cannot be.
    """
    points = [(float(w), float(b)) for b, w in product(bias_variances, list(weight_variances))]
    for w, b in points:
        require(0 < w < math.inf, f"a weight variance is a number above 0, not {w:g}")
        require(0 <= b < math.inf, f"a bias variance is a number of at least 0, not {b:g}")
    solver = _Solver(activation)
    blocks = (points[start : start + 512] for start in range(0, len(points), 512))
    return [row for block in blocks for row in solver.rows(*np.array(block).T)]


def critical_line(activation: Activation, bias_variances: Iterable[float]) -> list[Row]:
    """The weight variances at which chi_1 = 1, with q* and how E[z²] answers a disturbance there: `LINE_COLUMNS`.

    A row per sigma_b² and branch, by rising q*. `stability` is attracting, repelling, or neutral where every q is a
    fixed point; where nothing is critical it is none, the values are NaN and the note is the reason.
    """
    biases = [float(b) for b in bias_variances]
    rows: list[Row] = []
    for b, points in zip(biases, critical_points(activation, biases), strict=True):
        found = [(point.weight_variance, *_stability(point)) for point in points]
        found = found or [(math.nan, math.nan, "none", why_none(activation, b))]
        rows += [dict(zip(LINE_COLUMNS, (activation.spec, b, *values), strict=True)) for values in found]
    return rows


def _stability(point: CriticalPoint) -> tuple[float, str, str]:
    """q*, the word, and the note."""
    if point.every_q:
        return math.nan, "neutral", "every q is a fixed point"
    return (point.q, "attracting", "") if point.attracting else (point.q, "repelling", LEAVES)


class _Solver:
    """All points of one activation at once: they share E[phi²] as a function of q."""

    def __init__(self, activation: Activation) -> None:
        self.activation, self.moments, self._cosine = activation, GaussianMoments(activation), CosineMap(activation)

    def rows(self, w: Real, b: Real) -> Iterator[Row]:
        """A row per entry of sigma_w² and sigma_b²."""
        q, others = self._where_q_goes(w, b)
        finite = (q > 0) & np.isfinite(q)
        chi_1, parallel, c, chi_c = self._limits(w, q)
        if finite.any():
            level = q[finite]
            chi_1[finite] = w[finite] * self.moments.slope_second_moment(level)
            parallel[finite] = w[finite] * self._answer(level) / level
            c[finite], chi_c[finite] = self._cosine.fixed_point(w[finite], b[finite], level, chi_1[finite])
        jumps = finite & self._cosine.jumps
        for at, name in enumerate(_name(*pair) for pair in zip(q, np.where(jumps, np.inf, chi_1), strict=True)):
            told = _told(q[at], parallel[at], c[at], name), JUMPS if jumps[at] else "", others[at]
            note = "; ".join(filter(None, told))
            values = (w[at], b[at], q[at], c[at], chi_1[at], parallel[at], chi_c[at], xi(parallel[at]), xi(chi_c[at]))
            yield dict(zip(COLUMNS, (self.activation.spec, *map(float, values), name, note), strict=True))

    def _where_q_goes(self, w: Real, b: Real) -> tuple[Real, list[str]]:
        """q* and the other fixed points. E[z²] goes up where F(q) > q and down where F(q) < q, to the next one."""
        found = roots(self._excess, LOG_LEVELS, w, b)
        levels, start = np.exp(found.place), w + b
        first, vanishes = self._excess(np.log(start), w, b), self._excess(LOG_LEVELS[:1], w, b) < -ROUNDING
        q, others = np.empty_like(w), []
        for at in range(len(w)):
            mine = found.row == at
            q[at] = _next(start[at], first[at], levels[mine])
            # q = 0 attracts only where phi(0) = 0 and there is no bias
            points = [(0.0, True)] * int(vanishes[at]) + list(zip(levels[mine], found.falling[mine], strict=True))
            points = [(level, stable) for level, stable in points if not math.isclose(level, q[at], rel_tol=CLOSE)]
            told = ", ".join(f"{level:.4g} {'attracts' if stable else 'repels'}" for level, stable in points)
            others.append(f"other fixed points of q: {told}" if told else "")
        return q, others

    def _excess(self, log_q: Real, w: Real, b: Real) -> Real:
        """F(q)/q - 1."""
        q = np.exp(log_q)
        return (w * expectation.expectation(self._square, q, self.activation.kinks) + b) / q - 1

    def _square(self, z: Real) -> Real:
        return self.activation.value(z) ** 2

    def _answer(self, q: Real) -> Real:
        """q dE[phi²]/dq = E[phi² He_2(z / sqrt q)] / 2 by Stein's lemma, which needs no phi''."""
        z, weight = expectation.gaussian_nodes(q, self.activation.kinks)
        hermite = z**2 / q[..., None] - 1
        # a constant has no answer: taken off, so that it does not cost the digits of what is left
        return ((self._square(z) - self.activation.at_zero**2) * hermite * weight).sum(-1) / 2

    def _limits(self, w: Real, q: Real) -> tuple[Real, Real, Real, Real]:
        """chi_1, chi_parallel, c* and chi_c for q* = 0 and q* = inf, where phi is two straight pieces.

        Of those the cosine map is the same at every q: C'(1) = 1 and c* = 1, but C(c) = c where the slopes are equal,
        unless E[z²] grows so slowly that the biases, which all inputs share, go on to count.
        """
        far = self.activation.slope(np.array([-FAR, FAR]))
        left, right = np.where(q[:, None] == 0, self.activation.slopes_at_zero, far).T
        chi = w * (left**2 + right**2) / 2
        c = np.where((left == right) & ((q == 0) | (np.abs(chi - 1) > CLOSE)), np.nan, 1.0)
        return chi, chi.copy(), c, np.ones_like(w)


def _next(start: float, excess: float, roots: Real) -> float:
    """Where E[z²] goes from `start`: 0 and inf where no root is on its way."""
    if abs(excess) < ROUNDING:
        return start
    ahead = roots[roots > start] if excess > 0 else roots[roots < start]
    if not len(ahead):
        return math.inf if excess > 0 else 0.0
    return float(ahead.min() if excess > 0 else ahead.max())


def xi(chi: float) -> float:
    """The depth scale -1 / ln|chi| in layers: inf where chi is 1, NaN where it is above."""
    size = abs(float(chi))
    if abs(size - 1) < CLOSE:
        return math.inf
    if size == 0:
        return 0.0
    return -1 / math.log(size) if size < 1 else math.nan


def _name(q: float, chi_1: float) -> str:
    """The word for a point, by q* and chi_1."""
    if q == math.inf:
        return "unbounded"
    if abs(chi_1 - 1) < CLOSE:
        return "critical"
    if q == 0:
        return "vanishing"
    return "ordered" if chi_1 < 1 else "chaotic"


def _told(q: float, parallel: float, c: float, name: str) -> str:
    """What the numbers do not say."""
    slowly = ", more slowly than any exponential" if abs(parallel - 1) < CLOSE else ""
    if name == "unbounded":
        return f"E[z²] grows without end{slowly}"
    if q == 0:
        return f"E[z²] goes to 0{slowly}" + ("; to first order the cosine stays as it is" if math.isnan(c) else "")
    kept = "; every cosine is kept" if math.isnan(c) else ""
    if slowly:
        return f"every q nearby is a fixed point{kept}"
    return "q* repels" if abs(parallel) > 1 else ""
