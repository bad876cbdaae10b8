"""Gaussian expectations by composite Gauss-Legendre quadrature, split where the integrand is not smooth.

Plain Gauss-Hermite is wrong by 1e-5 to 1e-2 on a function with a kink. Here the line is cut

* at the function's kinks,
* at 0, ±1, ±4, ±16, ... : an activation changes on the scale of 1 around 0, whatever the variance,
* at fixed multiples of the standard deviation, for the Gaussian itself,

and each panel gets a Gauss-Legendre rule. All catalogued activations are analytic on every panel, well away from
their complex poles, so the rule converges geometrically.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Kinks = Sequence[float] | Real
"""The same points for all entries of an array, or `rows kinks`: each row of it has its own."""
Entries = NDArray[np.intp]
Each = Callable[[Real, Entries], Real]
"""Of z, `rows nodes`, and for each row whose entry it is."""


@dataclass(frozen=True)
class Rule:
    """How finely the line is cut and how many points a panel gets."""

    points: int
    deviations: tuple[float, ...]
    """Cuts in standard deviations to each side; the last is how far the integral reaches."""
    growth: float
    """The ratio of neighbouring cuts around 0, on the activation's own scale."""


FAR = 1e12
"""The |z| beyond which an activation is straight."""
gauss_legendre = lru_cache(np.polynomial.legendre.leggauss)
"""Points and weights on [-1, 1], solved for once."""

FINE = Rule(points=20, deviations=(1.0, 2.0, 3.0, 4.0, 5.5, 7.0, 9.0, 12.0), growth=4.0)
"""In one dimension: relative error below 1e-12. The tail beyond 12 is 4e-33."""
SHARED = Rule(points=12, deviations=(1.0, 2.0, 3.0, 4.0, 5.0, 7.0), growth=4.0)
OWN = Rule(points=10, deviations=(1.5, 3.5, 7.0), growth=4.0)
"""In two dimensions, for what two pre-activations share and for the rest of each: the target is 1e-8.

Of E[z²] 1e-10 lies beyond 7.
"""
LOUD = 100.0
"""The variance from which on an array's rows are `alike` others that need many panels."""
FEW = 16
"""Rows that are not told apart."""
TOGETHER = 200
"""Entries whose nodes are held in memory at once."""
CACHED = 8
"""In two dimensions, entries whose nodes are held at once, so that they stay in the processor's cache."""
NARROW = 1e-10
"""In two dimensions, the width in standard deviations from which on a panel counts."""


def gaussian_nodes(variance: Real, kinks: Kinks = (), mean: Real | float = 0.0, rule: Rule = FINE) -> tuple[Real, Real]:
    """Nodes z and weights w with sum(w f(z)) = E[f(z)], z ~ N(mean, variance), for each entry of `variance`.

    `variance` and `mean` have one shape ``(...)``; both results have ``(..., nodes)``. `kinks` are the points where f
    or a derivative jumps. A variance of 0 gives nodes at the mean.
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, float), np.asarray(variance, float))
    deviation = np.sqrt(variance)
    kinks = np.asarray(kinks, float)
    kinks = kinks.reshape(*kinks.shape[:-1], *[1] * (mean.ndim - kinks.ndim + 1), kinks.shape[-1])
    cuts = _cuts(mean, deviation, kinks, rule)
    x = _nodes(cuts[..., :-1], cuts[..., 1:], rule)
    w = x * x
    w *= -0.5
    np.exp(w, out=w)
    w *= (np.diff(cuts) / 2)[..., None] @ _weights(rule)[None]
    x, w = (nodes.reshape(*variance.shape, x.shape[-2] * x.shape[-1]) for nodes in (x, w))
    mean, deviation = mean[..., None], deviation[..., None]
    return mean + deviation * x, np.where(deviation > 0, w, np.eye(1, w.shape[-1])[0])


def alike(variance: Real) -> list[Entries]:
    """The rows of an array in parts: those that need few panels apart from those that need many, some at once."""
    loud = variance.max(axis=tuple(range(1, variance.ndim))) > LOUD
    if len(loud) < FEW:
        loud[:] = False
    most = max(TOGETHER // max(variance[:1].size, 1), 1)
    groups = [rows for rows in (np.flatnonzero(~loud), np.flatnonzero(loud)) if len(rows)]
    return [part for rows in groups for part in np.array_split(rows, -(-len(rows) // most))]


def expectation(function: Callable[[Real], Real], variance: Real | float, kinks: Kinks = ()) -> Real:
    """E[f(z)] for z ~ N(0, variance), one value for each entry of `variance`.

    For a function that is analytic between its `kinks`, on the scale of 1, the relative error is below 1e-12.
    """
    z, w = gaussian_nodes(np.asarray(variance, float), kinks)
    return (function(z) * w).sum(axis=-1)


def kernel(
    function: Callable[[Real], Real],
    variance: Real | float,
    correlation: Real | float,
    kinks: Sequence[float] = (),
    rule: Rule = SHARED,
) -> Real:
    """E[f(u) f(v)] for jointly Gaussian u, v of one variance q and correlation c, one value for each entry of both.

    u and ±v share m ~ N(0, |c| q) and are independent given it, so this is E[g(m) g(±m)] with g(m) = E[f(m + e)],
    e ~ N(0, (1 - |c|) q). `rule` is that of m.
    """
    q, c = np.broadcast_arrays(np.asarray(variance, float), np.clip(correlation, -1.0, 1.0))
    cuts = np.tile(np.array(kinks, float), (q.size, 1))
    return kernels(lambda z, _: function(z), q.ravel(), c.ravel(), cuts, rule).reshape(q.shape)


def kernels(function: Each, q: Real, c: Real, kinks: Real, rule: Rule = SHARED) -> Real:
    """`kernel` for a list of entries, each with its own f(z, entry) and its own `kinks`, `entries kinks`."""
    different, found = q * (1 - np.abs(c)) > 0, np.empty_like(q)
    apart, one = np.flatnonzero(different), np.flatnonzero(~different)
    z, w = gaussian_nodes(q[one], kinks[one])
    found[one] = (function(z, one) * function(np.sign(c[one])[:, None] * z, one) * w).sum(axis=-1)
    for of in np.array_split(apart, -(-len(apart) // CACHED)) if len(apart) else ():
        found[of] = _kernels_apart(function, of, q[of], c[of], kinks[of], rule)
    return found


def _kernels_apart(function: Each, entries: Entries, q: Real, c: Real, kinks: Real, rule: Rule) -> Real:
    """`kernels` of some entries, with |c| < 1."""
    own, shared = np.sqrt(q * (1 - np.abs(c))), np.sqrt(q * np.maximum(np.abs(c), 1e-30))  # c = 0 needs a node, too

    def smooth(m: Real, pair: Entries) -> Real:
        """g(m)."""
        at, z, density, half = _panels(m, own[pair], kinks[pair], OWN)
        density *= function(z, entries[pair[at]])
        return np.asarray(np.bincount(at, density @ _weights(OWN) * half, len(m)), float)

    # around each kink of f, g bends as a Gaussian integral does
    bends = (kinks[..., None] + own[:, None, None] * _steps(OWN)).reshape(len(q), -1)
    pair, m, density, half = _panels(np.zeros_like(q), shared, bends, rule)
    pair, m, weight = np.repeat(pair, rule.points), m.ravel(), (density * half[:, None] * _weights(rule)).ravel()
    mirrored = np.flatnonzero(c[pair] < 0)
    both = smooth(np.concatenate([m, -m[mirrored]]), np.concatenate([pair, pair[mirrored]]))
    one = both[: len(m)]
    other = one.copy()
    other[mirrored] = both[len(m) :]
    return np.asarray(np.bincount(pair, one * other * weight, len(q)), float)


def _panels(mean: Real, deviation: Real, kinks: Real, rule: Rule) -> tuple[NDArray[np.intp], Real, Real, Real]:
    """The panels of all entries in one list, without narrow ones.

    Whose each is; its nodes, and exp(-x²/2) at them, `panels points`; half its width in standard deviations.
    """
    cuts = _cuts(mean, deviation, kinks, rule)
    entry, panel = np.nonzero(np.diff(cuts) > NARROW)
    low, high, mean, deviation = cuts[entry, panel], cuts[entry, panel + 1], mean[entry], deviation[entry]
    z = _nodes(mean + deviation * low, mean + deviation * high, rule)
    return entry, z, _density(low, high, rule), (high - low) / 2


def _cuts(mean: Real, deviation: Real, kinks: Real, rule: Rule) -> Real:
    """The ends of panels in standard deviations, `... cuts`; `kinks` are the same for all entries, or `... kinks`."""
    reach, steps = rule.deviations[-1], _steps(rule)
    furthest = np.abs(mean) + reach * deviation
    marks = _marks(float(furthest.max(initial=0.0, where=np.isfinite(furthest))), rule.growth)
    cuts = np.zeros((*mean.shape, len(marks) + kinks.shape[-1] + len(steps)))
    cuts[..., : len(marks)] = marks
    cuts[..., len(marks) : -len(steps)] = kinks
    cuts -= mean[..., None]
    with np.errstate(over="ignore"):
        cuts /= np.maximum(deviation, np.finfo(float).tiny)[..., None]
    # marks outside the reach collapse onto its ends and make panels of no width and no weight
    np.clip(cuts, -reach, reach, out=cuts)
    cuts[..., -len(steps) :] = steps
    cuts.sort(axis=-1)
    return cuts


def _density(low: Real, high: Real, rule: Rule) -> Real:
    """exp(-x²/2) at x = middle + half t, the nodes, `... points`: the exponent is a product with powers of t."""
    t, middle, half = gauss_legendre(rule.points)[0], (low + high) / 2, (high - low) / 2
    exponent = np.stack([middle**2, middle * half, half**2], axis=-1) @ np.stack([t**0, 2 * t, t**2])
    exponent *= -0.5
    return np.exp(exponent, out=exponent)  # in place: there are millions of nodes


def _weights(rule: Rule) -> Real:
    """What exp(-x²/2) at a panel's points, times half the panel's width, is multiplied by."""
    return gauss_legendre(rule.points)[1] / np.sqrt(2 * np.pi)


def _nodes(low: Real, high: Real, rule: Rule) -> Real:
    """Nodes between the ends of each panel, `... points`; a matrix product, as loops over so few points are slow."""
    abscissa, _ = gauss_legendre(rule.points)
    return np.stack([low, high], axis=-1) @ np.stack([(1 - abscissa) / 2, (1 + abscissa) / 2])


def _steps(rule: Rule) -> Real:
    """The cuts for the Gaussian itself."""
    return np.array([*(-step for step in rule.deviations), 0.0, *rule.deviations])


def _marks(reach: float, growth: float) -> Real:
    """0, ±1, ±growth, ±growth², ... up to `reach` or `FAR`."""
    positive = growth ** np.arange(np.ceil(np.log(min(max(reach, 1.0), FAR)) / np.log(growth)))
    return np.concatenate([-positive[::-1], [0.0], positive])
