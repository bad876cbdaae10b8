"""Jacobians of a drawn MLP, a_l = phi(W_l a_(l-1) + b_l), in float64.

With D_l = diag(phi'(z_l)), one layer's Jacobian is D_l W_l and the network's is J = D_L W_L ... D_1 W_1, at each input
another. Traces need products with vectors alone; J is formed only where its whole spectrum is asked for. Mean field
knows the mean squared singular value, tr(J'J)/n; dynamical isometry (Pennington et al. 2017) is about all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initbench.activations import Activation
from initbench.core.records import Layer, Promise
from initbench.initializers import Basis, Initializer
from initbench.initializers.adaptation import Drawn, factors
from initbench.initializers.bases import UnitDraw, parameters

FLOOR = 1e-150
"""Below this largest |z|, squares leave float64."""
EXPONENTS = 1000
"""Powers of 2 that float64 holds, up and down."""


@dataclass(frozen=True)
class Mlp:
    """A network that was drawn."""

    activation: Activation
    weights: tuple[Tensor, ...]
    """Of each layer, `fan_out fan_in`, float64."""
    biases: tuple[Tensor, ...]
    """Of each layer, `fan_out`."""


def draw(
    initializer: Initializer,
    promises: Sequence[Promise],
    activation: Activation,
    seed: int,
    device: torch.device,
    unit_draw: UnitDraw = Basis.weights,
    batch: Tensor | None = None,
) -> Mlp:
    """The network of this seed: the unit draws that `propagate` measures, scaled in float64.

    `batch`, `inputs features`, is what weights may adapt to.
    """

    def exact(basis: Basis, layer: Layer, seed: int) -> Tensor:
        return unit_draw(basis, layer, seed).double()

    drawn = [parameters(initializer, promise, seed, exact) for promise in promises]
    weights, biases = zip(*([part.to(device).double() for part in layer] for layer in drawn), strict=True)
    if initializer.adapt:
        scales = factors(initializer.adapt, Drawn(activation, weights, biases, seed=seed), batch)
        weights = tuple(weight * scale for weight, scale in zip(weights, scales, strict=True))
    return Mlp(activation, weights, biases)


@dataclass(frozen=True)
class Passage:
    """A network at a batch: of each layer, `inputs units`."""

    inputs: Tensor
    z: tuple[Tensor, ...]
    a: tuple[Tensor, ...]
    slope: tuple[Tensor, ...]
    """phi'(z)."""
    held: tuple[bool, ...]
    """Whether float64 held the signal up to this layer: what comes after is not known."""

    def first(self, inputs: int) -> Passage:
        """At the first few of the batch."""
        z, a, slope = (tuple(t[:inputs] for t in layers) for layers in (self.z, self.a, self.slope))
        return Passage(self.inputs[:inputs], z, a, slope, self.held)


def forward(network: Mlp, inputs: Tensor) -> Passage:
    """Send `inputs features` through."""
    z, a, slope, held = [], [inputs.double()], [], [True]
    for weight, bias in zip(network.weights, network.biases, strict=True):
        z.append(a[-1] @ weight.t() + bias)
        value, derivative = network.activation.value_and_slope(z[-1])
        size = float(z[-1].abs().amax())
        zero_is_true = size == 0 and (not bool(weight.any()) or not bool(a[-1].any()))
        held.append(held[-1] and math.isfinite(size) and (size > FLOOR or zero_is_true))
        a.append(value)
        slope.append(derivative)
    return Passage(a[0], tuple(z), tuple(a[1:]), tuple(slope), tuple(held[1:]))


def layer_squares(network: Mlp, passage: Passage) -> list[float]:
    """tr(J_l' J_l)/fan_in of each layer's own Jacobian D_l W_l, mean over the inputs.

    Exactly: it is the sum over units of phi'(z)² |w|², so nothing is estimated.
    """
    lengths = [weight.square().sum(dim=1) for weight in network.weights]
    return [float((slope.square() @ length).mean()) / weight.shape[1]
            for slope, length, weight in zip(passage.slope, lengths, network.weights, strict=True)]  # fmt: skip


def network_square(network: Mlp, passage: Passage, probes: Tensor) -> tuple[float, float]:
    """tr(J'J)/features of the network's Jacobian, mean over the inputs, and its standard error over the probes.

    Hutchinson's estimate: E|Jv|² = tr(J'J) for v with E[vv'] = 1 (Hutchinson 1990). `probes`, `inputs probes features`,
    go through all layers together; J is not formed. NaN for the error of one probe, and for what float64 cannot hold:
    0 is a product that is 0, for each input's vectors are kept near 1, with a power of 2 beside them.
    """
    vectors, power = probes.double(), torch.zeros(len(probes), dtype=torch.int32, device=probes.device)
    for weight, slope in zip(network.weights, passage.slope, strict=True):
        vectors = (vectors @ weight.t()).mul_(slope[:, None, :])
        step = torch.frexp(vectors.abs().amax(dim=(1, 2))).exponent.clamp(-EXPONENTS, EXPONENTS)
        vectors, power = torch.ldexp(vectors, -step[:, None, None]), power + step
    squares = vectors.square().sum(dim=2)
    top = int(power.where(squares.any(dim=1), -EXPONENTS).max())
    found = torch.ldexp(squares, 2 * (power - top).clamp(-EXPONENTS // 2, 0)[:, None]).mean(dim=0) / probes.shape[2]
    error = float(found.std()) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    scale = 2.0 ** min(max(top, -EXPONENTS), EXPONENTS)
    mean, zero = float(found.mean()) * scale * scale, not bool(squares.any())
    return (mean if mean or zero else math.nan), error * scale * scale


def layer_jacobian(network: Mlp, passage: Passage, number: int) -> Tensor:
    """D_l W_l of the layer at this position, `inputs fan_out fan_in`."""
    return passage.slope[number][:, :, None] * network.weights[number]


def jacobian(network: Mlp, passage: Passage) -> Tensor:
    """J = D_L W_L ... D_1 W_1, formed, `inputs units features`."""
    product = layer_jacobian(network, passage, 0)
    for weight, slope in zip(network.weights[1:], passage.slope[1:], strict=True):
        product = (weight @ product).mul_(slope[:, :, None])
    return product


SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the singular values, that lie below a quantile."""


@dataclass(frozen=True)
class Spectrum:
    """Of the singular values s of several Jacobians of one shape."""

    zero: int
    """Inputs where the Jacobian is 0, as a rectifier's is whose units are all off: they have no place on a log axis."""
    largest: float
    """Geometric mean over the other inputs, as all here: singular values live on a log axis. 0 where there are none."""
    mean: float
    """Arithmetic over the singular values of one input."""
    smallest: float
    """NaN where one is below what the product's rounding leaves."""
    condition: float
    """largest / smallest."""
    rank: float
    """Singular values above the rounding, mean over all inputs: a rectifier's dead units take theirs away."""
    quantiles: tuple[float, ...]
    """At `SHARES`; NaN where one is below the rounding."""


def spectrum(jacobians: Tensor, factors: int = 1) -> Spectrum:
    """The spectrum of `inputs units features`, each the product of so many `factors`.

    A singular value below eps·max(units, features)·factors·s_max is rounding: neither a number nor a 0 is told of it.
    """
    values = torch.linalg.svdvals(jacobians)
    rounding = torch.finfo(values.dtype).eps * max(jacobians.shape[1:]) * factors
    resolved = values > values[:, :1] * rounding
    zero = values[:, 0] == 0
    others = ~zero if bool((~zero).any()) else zero
    known = values.where(resolved, 0.0)[others]
    shares = torch.tensor([0.0, *SHARES, 1.0], dtype=values.dtype, device=values.device)
    smallest, *quantiles, largest = torch.quantile(known, shares, dim=1).log().mean(dim=1).exp().tolist()
    smallest, *quantiles = (value if value > 0 else math.nan for value in (smallest, *quantiles))
    return Spectrum(
        zero=int(zero.sum()),
        largest=largest,
        mean=float(values[others].mean(dim=1).log().mean().exp()),
        smallest=smallest,
        condition=largest / smallest,
        rank=float(resolved.sum(dim=1).double().mean()),
        quantiles=tuple(quantiles),
    )


def effective_rank(matrix: Tensor) -> float:
    """exp(-sum p log p), p = s / sum s: from 1 to the rank (Roy & Vetterli 2007); NaN for a matrix of zeros."""
    values = torch.linalg.svdvals(matrix)
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())


def tangent_kernel(network: Mlp, passage: Passage, readout: Tensor) -> Tensor:
    """The empirical neural tangent kernel df/dtheta (df/dtheta)' of f = readout·a_L, `inputs inputs`.

    theta is all weights and biases, in the standard parametrization; `readout`, `units`, is fixed. The gradient of W_l
    is delta_l a_(l-1)', so the kernel is the sum over layers of (delta_l delta_l') ∘ (a_(l-1) a_(l-1)' + 1), and no
    gradient is formed, whatever the network's size.
    """
    kernel = torch.zeros(len(passage.inputs), len(passage.inputs), dtype=torch.float64, device=passage.inputs.device)
    arrivals = (passage.inputs, *passage.a[:-1])
    grad = readout.to(kernel).expand_as(passage.a[-1])
    for weight, slope, arrived in zip(
        reversed(network.weights), reversed(passage.slope), reversed(arrivals), strict=True
    ):
        delta = grad * slope
        kernel += (delta @ delta.t()) * (arrived @ arrived.t() + 1)
        grad = delta @ weight
    return kernel


def kernel_condition(kernel: Tensor) -> float:
    """The largest eigenvalue over the smallest; NaN where the smallest is below the kernel's rounding."""
    values = torch.linalg.eigvalsh(kernel)
    resolved = values[0] > values[-1] * torch.finfo(kernel.dtype).eps * len(kernel)
    return float(values[-1] / values[0]) if bool(resolved) else math.nan
