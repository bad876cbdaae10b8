"""Laws of activations: a function of each number alone, with the derivative and the kinks that theory reckons with."""

from __future__ import annotations

import numpy as np
import torch

from initbench.activations import Activation
from initbench.activations.kinks import is_flat, kinks
from initbench.battery.holding import from_two_states, hold
from initbench.theory.expectation import FINE, Rule, gaussian_nodes

Z = torch.linspace(-8, 8, 1_000, dtype=torch.float64) + 1e-4
FAR = 100.0
STEP, DIFFERENCE = 1e-5, 1e-5
"""Of a central difference, and what it may be off."""
NEAR_KINK = 1e-3
PLACE = 1e-8
"""How far a declared kink may be from where it is."""
VARIANCES = (0.1, 1.0, 10.0)
FINER = Rule(points=48, deviations=tuple(np.linspace(0.25, 12, 48)), growth=1.5)
AGREED = 1e-9


def shape(activation: Activation) -> str:
    """Those of the input, in single and double precision."""
    for dtype in (torch.float32, torch.float64):
        z = Z.to(dtype).view(2, 20, 25)
        a = activation.function(z)
        hold(a.shape == z.shape, f"of the shape {tuple(z.shape)} it made {tuple(a.shape)}")
        hold(a.dtype == dtype, f"of {dtype} it made {a.dtype}")
    return "as the input's, float32 and float64"


def elementwise(activation: Activation) -> str:
    """Each number alone decides what becomes of it."""
    together = activation.function(Z)
    alone = torch.cat([activation.function(z) for z in Z[::10].split(1)])
    hold(torch.allclose(together[::10], alone, rtol=1e-12, atol=0), "what it makes of a number depends on the others")
    return "each number alone decides"


def certain(activation: Activation) -> str:
    """No chance in it."""
    one, other = from_two_states(lambda: activation.function(Z))
    hold(torch.equal(one, other), "the same numbers gave others when the global generators were at another state")
    return "the same each time"


def finite(activation: Activation) -> str:
    """Values and slopes, far out too."""
    value, slope = activation.value_and_slope(torch.cat([Z, torch.tensor([-FAR, FAR], dtype=torch.float64)]))
    hold(bool(value.isfinite().all()), f"values are not finite for |z| <= {FAR:g}")
    hold(bool(slope.isfinite().all()), f"slopes are not finite for |z| <= {FAR:g}")
    return f"values and slopes for |z| <= {FAR:g}"


def differentiable(activation: Activation) -> str:
    """Autograd's slope is that of the values, away from kinks."""
    z = Z.numpy()
    away = np.all([np.abs(z - kink) > NEAR_KINK for kink in (*activation.kinks, np.inf)], axis=0)
    slope = activation.slope(z)[away]
    difference = (activation.value(z + STEP) - activation.value(z - STEP))[away] / (2 * STEP)
    off = np.abs(slope - difference) / (1 + np.abs(difference))
    worst = int(off.argmax())
    hold(off[worst] <= DIFFERENCE, f"autograd's slope at z = {z[away][worst]:.4g} is {slope[worst]:.4g}, that of the"
         f" values {difference[worst]:.4g}")  # fmt: skip
    return "autograd's slope is that of the values"


def told_kinks(activation: Activation) -> str:
    """Those that are declared are those that are there."""
    there = kinks(activation.function)
    shown = ", ".join(f"{kink:g}" for kink in there) or "none"
    same = len(there) == len(activation.kinks) and np.allclose(there, activation.kinks, rtol=PLACE, atol=PLACE)
    hold(bool(same), f"declared: {', '.join(f'{kink:g}' for kink in activation.kinks) or 'none'}; found: {shown}")
    flat = is_flat(activation.function, there)
    hold(flat == activation.flat, f"declared {'' if activation.flat else 'not '}flat; its slope is"
         f" {'' if flat else 'not '}0 on an interval")  # fmt: skip
    return f"{shown}; {'flat on an interval' if flat else 'nowhere flat'}"


def integrals(activation: Activation) -> str:
    """Theory's quadrature agrees with one of many more points: between its kinks the function is smooth."""
    worst = 0.0
    for what in (activation.value, activation.slope):
        for variance in VARIANCES:
            coarse, fine = (_mean_square(what, variance, activation.kinks, rule) for rule in (FINE, FINER))
            worst = max(worst, abs(coarse - fine) / max(abs(fine), 1e-300))
    hold(worst <= AGREED, f"E[phi²] or E[phi'²] by theory's quadrature is off by {worst:.2g}: a kink is not known, or"
         " the function changes on a scale far from 1")  # fmt: skip
    return f"theory's quadrature is right to {max(worst, 1e-15):.0e}"


def _mean_square(what: object, variance: float, at: tuple[float, ...], rule: Rule) -> float:
    z, weight = gaussian_nodes(np.array([variance]), at, rule=rule)
    return float((np.square(what(z)) * weight).sum())  # type: ignore[operator]


LAWS = {
    "shape and dtype": shape,
    "elementwise": elementwise,
    "no chance": certain,
    "finite": finite,
    "differentiable": differentiable,
    "kinks": told_kinks,
    "integrals": integrals,
}
