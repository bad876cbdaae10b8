"""The laws: what each theory of initialization predicts, layer by layer, forward and backward.

All laws are one recursion. With sigma_w² = fan_in·Var(w), sigma_b² the bias variance and (u, v) Gaussian,

    q_l     = sigma_w² E[phi(z_(l-1))²] + sigma_b²           E[z²] of layer l; the input's own second moment for l = 1
    c_l q_l = sigma_w² E[phi(u) phi(v)] + sigma_b²           the cosine between two inputs
    chi_l   = fan_out_(l+1)·Var(w_(l+1)) E[phi'(z_l)²]       the gradient's ratio from layer l+1 to l

(Poole et al. 2016, eqs. 3 to 6; Schoenholz et al. 2017, eq. 5). The laws differ only in what they put for phi:
`linear` the identity, `rectifier` a rectifier, `first_order` phi's expansion at 0, `mean_field` phi itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.activations.closed_forms import PiecewiseLinear
from initbench.core.catalogue import Catalogue
from initbench.core.records import InputMoments, Promise
from initbench.theory import deterministic
from initbench.theory.moments import GaussianMoments, linearized
from initbench.theory.rows import Row, record, times

Real = NDArray[np.float64]
Stand = PiecewiseLinear | GaussianMoments


@dataclass(frozen=True)
class Law:
    """One theory: what it takes the activation for."""

    stand_in: Callable[[Activation], Stand]
    exact: bool = False
    """Whether it knows phi itself, so that weights without randomness can be followed exactly."""
    spec: str = ""


LAWS: Catalogue[Law] = Catalogue("law")


@LAWS.register("linear", summary="Every activation is the identity: E[z²] goes as the product of n·Var(w).",
               formula="q_l = n·Var(w) q_(l-1)", source="Glorot & Bengio 2010, eqs. 5 and 6", default=True)  # fmt: skip
def linear() -> Law:
    return Law(lambda _: PiecewiseLinear(1, 1))


@LAWS.register("rectifier", summary="Every activation is a rectifier: half of E[z²] passes.",
               formula="q_l = n·Var(w) q_(l-1) (slope² + 1)/2, slope = 0 unless the activation is linear below 0",
               source="He et al. 2015, eqs. 9, 14 and 15", default=True)  # fmt: skip
def rectifier() -> Law:
    def stand_in(activation: Activation) -> PiecewiseLinear:
        form = activation.closed_form
        return form if isinstance(form, PiecewiseLinear) else PiecewiseLinear(0, 1)

    return Law(stand_in)


@LAWS.register("first_order", summary="The activation is its expansion at 0 (with a kink there, its two slopes).",
               formula="phi(z) = phi(0) + phi'(0) z", source="Kumar 2017 (arXiv:1704.08863)", default=True)  # fmt: skip
def first_order() -> Law:
    return Law(linearized)


@LAWS.register("mean_field", summary="The activation itself, pre-activations Gaussian: exact at infinite width.",
               formula="q_l = sigma_w² E[phi(z)²] + sigma_b²",
               source="Poole et al. 2016, eq. 3; Schoenholz et al. 2017, eq. 5", default=True)  # fmt: skip
def mean_field() -> Law:
    return Law(GaussianMoments, exact=True)


def predict(law: Law, activation: Activation, promises: Sequence[Promise], inputs: InputMoments) -> list[Row]:
    """The columns of `predictions`, one row a layer, for one initializer's `promises`.

    A value beyond float64 is NaN, with a note; so are all values of a law that does not hold for these weights.
    """
    if any(promise.coupling != "independent" and promise.mean != 0 for promise in promises):
        return deterministic.predict(law.exact, activation, promises, inputs)
    stand_in = law.stand_in(activation)
    with np.errstate(all="ignore"):
        rows = _forward(stand_in, promises, inputs)
        _backward(stand_in, promises, rows)
    averaged = [{name: float(np.mean(value)) for name, value in row.items()} for row in rows]
    return [record(promise, row) for promise, row in zip(promises, averaged, strict=True)]


def _forward(stand_in: Stand, promises: Sequence[Promise], inputs: InputMoments) -> list[dict[str, Real]]:
    second = np.array(inputs.second_moment)
    product = inputs.cosine * second.mean()  # E[a a'] between two inputs
    rows = []
    for promise in promises:
        fan_in, variance = promise.layer.fan_in, promise.variance
        q = times(fan_in, variance, second) + promise.bias_variance
        level = q.mean()
        cosine = np.clip((fan_in * variance * product + promise.bias_variance) / level, -1.0, 1.0)
        mean, spread = stand_in.mean(q), stand_in.variance(q)
        second = spread + mean**2
        product = stand_in.kernel(level, cosine) if level > 0 else stand_in.mean(level) ** 2
        # over the whole batch, the samples' different means add to the variance
        rows.append({"z_second_moment": q, "z_cosine": cosine, "a_mean": mean, "a_second_moment": second,
                     "a_variance": spread.mean() + mean.var()})  # fmt: skip
    return rows


def _backward(stand_in: Stand, promises: Sequence[Promise], rows: list[dict[str, Real]]) -> None:
    """Fill the gradient columns, last layer first; one value for each of the input's second moments."""
    grad_a = np.ones_like(rows[-1]["z_second_moment"])
    next_gain = np.nan  # the last layer has no next weight
    for promise, row in zip(reversed(promises), reversed(rows), strict=True):
        slope = stand_in.slope_second_moment(row["z_second_moment"])
        grad_z = times(slope, grad_a)
        row.update({"chi": next_gain * slope, "grad_a_second_moment": grad_a, "grad_z_second_moment": grad_z})
        next_gain = promise.layer.fan_out * promise.variance
        grad_a = times(next_gain, grad_z)
