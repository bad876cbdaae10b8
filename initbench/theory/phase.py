"""The mean-field phases of one activation: does a deep network forget its input, or tear neighbours apart?

With sigma_w² = fan_in·Var(w), sigma_b² = Var(b) and pre-activations z, u, v of variance q (u, v with cosine c), a layer
maps (Poole et al. 2016, eqs. 3 and 5; Schoenholz et al. 2017, eqs. 3 to 5)

    q <- F(q) = sigma_w² E[phi(z)²] + sigma_b²        c <- C(c) = (sigma_w² E[phi(u) phi(v)] + sigma_b²) / q*

chi_1 = sigma_w² E[phi'(z)²] = C'(1) is the factor of the squared gradient too. By Mehler's formula C is a power series
without a negative coefficient, hence convex with C(1) = 1. So c* = 1 attracts, alone, where chi_1 <= 1 (ordered); where
chi_1 > 1 it repels and one c* in [0, 1) attracts (chaotic). Hayou et al. 2019 ask who has a line between the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.errors import UsageError, require
from initbench.theory import expectation
from initbench.theory.critical import critical
from initbench.theory.moments import GaussianMoments
from initbench.theory.response import hermite

Real = NDArray[np.float64]
Row = dict[str, Any]

COLUMNS = ("activation", "weight_variance", "bias_variance", "q_star", "c_star", "chi_1", "chi_parallel", "chi_c",
           "xi_q", "xi_c", "phase", "note")  # fmt: skip
LINE_COLUMNS = ("activation", "bias_variance", "weight_variance", "q_star", "stability", "note")
LEVELS = np.logspace(-16, 16, 600)
"""The q among which fixed points are sought; beyond them, E[z²] is said to vanish or to grow without end."""
CLOSE, ROUNDING = 1e-9, 1e-12
"""A slope this near to 1 is 1: critical, with an infinite depth scale. F(q)/q this near to 1: q is a fixed point."""
ORDERS, SQUARED_ROUNDING = 200, 1e-28
"""Of the power series of C, and below which a coefficient of it is 0."""
SHARED = expectation.Rule(points=10, deviations=(1.0, 2.0, 3.5, 5.5, 8.5), growth=2.0)
OWN = expectation.Rule(points=10, deviations=(1.25, 2.75, 5.0, 8.5), growth=4.0)
"""For what two pre-activations share, and for the rest of each."""
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
    """The weight variance at which chi_1 = 1, a row per sigma_b², with q* and how E[z²] answers a disturbance there.

    `stability` is attracting, repelling, or neutral where every q is a fixed point; where nothing is critical it is
    none, the values are NaN and the note is the reason.
    """
    return [_critical_row(activation, float(b)) for b in bias_variances]


def _critical_row(activation: Activation, bias_variance: float) -> Row:
    try:
        point = critical(activation, bias_variance)
    except UsageError as reason:
        weight_variance, q, stability, note = math.nan, math.nan, "none", str(reason)
    else:
        weight_variance, q, stability, note = point.weight_variance, point.q, "attracting", ""
        if point.every_q:
            q, stability, note = math.nan, "neutral", "every q is a fixed point"
        elif not point.attracting:
            stability, note = "repelling", "E[z²] leaves q* after a disturbance"
    values = (activation.spec, bias_variance, weight_variance, q, stability, note)
    return dict(zip(LINE_COLUMNS, values, strict=True))


class _Solver:
    """All points of one activation at once: they share E[phi²] as a function of q."""

    def __init__(self, activation: Activation) -> None:
        self.activation, self.moments = activation, GaussianMoments(activation)
        self.passed = self.moments.second_moment(LEVELS)

    def rows(self, w: Real, b: Real) -> Iterator[Row]:
        """A row per entry of sigma_w² and sigma_b²."""
        q, others = self._where_q_goes(w, b)
        finite = (q > 0) & np.isfinite(q)
        chi_1, parallel, c, chi_c = self._limits(w, q)
        if finite.any():
            level = q[finite]
            chi_1[finite] = w[finite] * self.moments.slope_second_moment(level)
            parallel[finite] = w[finite] * self._passed_and_answer(level)[1] / level
            c[finite], chi_c[finite] = self._cosine(w[finite], b[finite], level, chi_1[finite])
        for at, name in enumerate(_name(*pair) for pair in zip(q, chi_1, strict=True)):
            note = "; ".join(filter(None, (_told(q[at], parallel[at], c[at], name), others[at])))
            values = (w[at], b[at], q[at], c[at], chi_1[at], parallel[at], chi_c[at], xi(parallel[at]), xi(chi_c[at]))
            yield dict(zip(COLUMNS, (self.activation.spec, *map(float, values), name, note), strict=True))

    def _where_q_goes(self, w: Real, b: Real) -> tuple[Real, list[str]]:
        """q* and the other fixed points. E[z²] goes up where F(q) > q and down where F(q) < q, to the next one."""
        excess = (w[:, None] * self.passed + b[:, None]) / LEVELS - 1
        sign = np.sign(np.where(np.abs(excess) < ROUNDING, 0, excess))
        point, place = np.nonzero(sign[:, :-1] * sign[:, 1:] < 0)
        roots = self._roots(w[point], b[point], place)
        attracts = sign[point, place] > 0
        start = w + b
        first = (w * self.moments.second_moment(start) + b) / start - 1
        q, others = np.empty_like(w), []
        for at in range(len(w)):
            mine = point == at
            q[at] = _next(start[at], first[at], roots[mine])
            # q = 0 attracts only where phi(0) = 0 and there is no bias
            found = [(0.0, True)] * int(sign[at, 0] < 0) + list(zip(roots[mine], attracts[mine], strict=True))
            found = [(level, stable) for level, stable in found if not math.isclose(level, q[at], rel_tol=CLOSE)]
            told = ", ".join(f"{level:.4g} {'attracts' if stable else 'repels'}" for level, stable in found)
            others.append(f"other fixed points of q: {told}" if told else "")
        return q, others

    def _roots(self, w: Real, b: Real, place: NDArray[np.intp]) -> Real:
        """F(q) = q between LEVELS[place] and the next: Newton in log q, bisection where that leaves the bracket."""
        low, high = np.log(LEVELS[place]), np.log(LEVELS[place + 1])
        below = np.sign(w * self.passed[place] + b - LEVELS[place])
        t, active = (low + high) / 2, np.arange(len(w))
        for _ in range(60):
            if not len(active):
                break
            a, q = active, np.exp(t[active])
            passed, answer = self._passed_and_answer(q)
            excess = (w[a] * passed + b[a]) / q - 1
            same = np.sign(excess) == below[a]
            low[a], high[a] = np.where(same, t[a], low[a]), np.where(same, high[a], t[a])
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = t[a] - excess / ((w[a] * answer) / q - 1 - excess)
            moved = np.where((newton >= low[a]) & (newton <= high[a]), newton, (low[a] + high[a]) / 2)
            active = a[np.abs(moved - t[a]) > ROUNDING]
            t[a] = moved
        return np.exp(t)

    def _passed_and_answer(self, q: Real) -> tuple[Real, Real]:
        """E[phi²] and q dE[phi²]/dq = E[phi² He_2(z / sqrt q)] / 2 by Stein's lemma, which needs no phi''."""
        z, weight = expectation.gaussian_nodes(q, self.activation.kinks)
        square = self.activation.value(z) ** 2
        hermite = z**2 / q[..., None] - 1
        # a constant has no answer: taken off, so that it does not cost the digits of what is left
        return (square * weight).sum(-1), ((square - self.activation.at_zero**2) * hermite * weight).sum(-1) / 2

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

    def _cosine(self, w: Real, b: Real, q: Real, chi_1: Real) -> tuple[Real, Real]:
        """c* and chi_c = sigma_w² E[phi'(u) phi'(v)] there."""
        c, slope = np.ones_like(w), chi_1.copy()
        line = np.abs(chi_1 - 1) < CLOSE
        c[line & self._straight(w, q)] = np.nan
        chaotic = np.flatnonzero((chi_1 > 1) & ~line)
        for at in (chaotic[start : start + 128] for start in range(0, len(chaotic), 128)):
            series = self._series(w[at], b[at], q[at])
            c[at], slope[at] = _smallest_fixed_point(series)
            # beyond the last order kinked functions have more than the series says: what C' may lack decides
            unsure = np.abs(chi_1[at] - series @ np.arange(ORDERS + 2)) * c[at] ** ORDERS > ROUNDING
            for i in at[unsure]:
                c[i], slope[i] = self._exact_cosine(w[i], q[i], chi_1[i], c[i])
        return c, slope

    def _straight(self, w: Real, q: Real) -> NDArray[np.bool_]:
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

    def _exact_cosine(self, w: float, q: float, chi_1: float, c: float) -> tuple[float, float]:
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


def _next(start: float, excess: float, roots: Real) -> float:
    """Where E[z²] goes from `start`: 0 and inf where no root is on its way."""
    if abs(excess) < ROUNDING:
        return start
    ahead = roots[roots > start] if excess > 0 else roots[roots < start]
    if not len(ahead):
        return math.inf if excess > 0 else 0.0
    return float(ahead.min() if excess > 0 else ahead.max())


def _smallest_fixed_point(series: Real) -> tuple[Real, Real]:
    """c* and C'(c*): Newton from 0, which climbs without overshooting as C is convex."""
    series = series.T
    slopes, c = polyder(series), np.zeros(series.shape[1])
    for _ in range(100):
        steepness = polyval(c, slopes, tensor=False)
        step = np.where(steepness < 1, (polyval(c, series, tensor=False) - c) / np.maximum(1 - steepness, 1e-300), 0)
        c = np.clip(c + step, 0, 1)
        if np.abs(step).max() < 1e-15:
            break
    return c, np.asarray(polyval(c, slopes, tensor=False), float)


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
