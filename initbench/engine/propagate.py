"""Activations forward and gradients backward through a stack of deep MLPs, measured at every layer.

Scales. Weights are unit draws times a factor, and products run on numbers near 1: where a signal leaves `SAFE`, it is
held as (float32 tensor) × 2^exponent, and everything elementwise is done in float64 at its true scale. So float32's
range never shows. Its resolution can: where the variance over the batch sinks below the rounding of the products, the
network is run again in float64. What float64 cannot hold either is NaN, never 0 or inf.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from initbench.activations import Activation
from initbench.engine import statistics
from initbench.engine.stack import LayerDraw, Member, Stack, draw_biases, draw_projection

Row = dict[str, float]

SAFE = (1e-8, 1e8)
"""Root mean squares that float32 squares without under- or overflow, outliers included."""
LARGEST_EXPONENT = 1000
"""So that 2^exponent and its inverse are numbers."""
RESOLVED = {torch.float32: 1e-10, torch.float64: 1e-27}
"""The smallest batch variance, relative to the second moment, that is not the products' rounding."""


@dataclass
class Signal:
    """tensor × 2^exponent, for the products."""

    tensor: Tensor
    exponent: int = 0


@dataclass
class Trace:
    """What one network leaves behind on its way forward."""

    member: Member
    rows: list[Row] = field(default_factory=list)
    slopes: list[Tensor] = field(default_factory=list)
    grams: list[Signal] = field(default_factory=list)
    """a a' of each layer's input, `batch batch`."""
    constant: bool = False
    """Whether all inputs have become one: then a variance of 0 over the batch is true."""
    unresolved: bool = False
    lost: bool = False
    """Whether float64 could not hold the signal: what comes after is not known."""


def propagate(stack: Stack, draws: Sequence[LayerDraw], inputs: Tensor, seed: int) -> list[list[Row]]:
    """Rows of the table `layers`, first layer to last, for each member of the stack.

    `draws` are the stack's unit draws on the device, `inputs` is `batch features` in the dtype to compute in. The
    loss is the sum over the batch of a fixed random projection of the last activation.
    """
    traces = _forward(stack, draws, inputs, seed)
    coarse = [i for i, trace in enumerate(traces) if trace.unresolved]
    finer: dict[int, list[Row]] = {}
    if coarse and inputs.dtype == torch.float32:
        again = propagate(stack.only(coarse), draws, inputs.double(), seed)
        finer = dict(zip(coarse, again, strict=True))
    kept = [i for i in range(len(traces)) if i not in finer]
    if kept:
        _backward(stack.activation, [traces[i] for i in kept], draws, inputs, seed)
    return [finer.get(i) or [_truthful(row) for row in traces[i].rows] for i in range(len(traces))]


def _forward(stack: Stack, draws: Sequence[LayerDraw], inputs: Tensor, seed: int) -> list[Trace]:
    traces = [Trace(member) for member in stack.members]
    biases = {m.bias_basis.name: draw_biases(m.bias_basis, stack.network, seed) for m in stack.members}
    signals = [Signal(inputs)] * len(traces)
    for number, draw in enumerate(draws):
        products = _product(signals, draw.weight.to(inputs.dtype).t())
        for i, (trace, product) in enumerate(zip(traces, products, strict=True)):
            scale = trace.member.weight_scales[number]
            bias = biases[trace.member.bias_basis.name][number].to(inputs) * trace.member.bias_scales[number]
            z = _at_scale(product, scale, bias)
            a, slope = stack.activation.value_and_slope(z)
            row = _measure(z, a, slope, stack.activation)
            trace.constant = trace.constant or scale == 0
            alive = scale > 0 and bool(signals[i].tensor.any())
            trace.lost = trace.lost or (alive and not _held(row["z_second_moment"]))
            _resolve(row, trace, inputs.dtype)
            trace.rows.append({"weight_variance": scale**2 * draw.variance, **row})
            trace.slopes.append(slope)
            trace.grams.append(_gram(signals[i]))
            signals[i] = _signal(a, inputs.dtype)
    return traces


def _backward(
    activation: Activation, traces: Sequence[Trace], draws: Sequence[LayerDraw], inputs: Tensor, seed: int
) -> None:
    """Add the gradient columns to the traces' rows."""
    last = draw_projection(inputs.shape[0], draws[-1].weight.shape[0], seed).to(inputs)
    grads = [last] * len(traces)
    zero_is_true = [activation.flat] * len(traces)
    for number in reversed(range(len(draws))):
        draw, signals = draws[number], []
        for i, trace in enumerate(traces):
            row = trace.rows[number]
            row["grad_a_second_moment"] = _second_moment(grads[i], zero_is_true[i])
            grad_z = grads[i] * trace.slopes[number]
            row["grad_z_second_moment"] = _second_moment(grad_z, zero_is_true[i])
            signals.append(_signal(grad_z, inputs.dtype))
            square = _weight_gradient(signals[-1], trace.grams[number]) / draw.weight.numel()
            row["grad_w_second_moment"] = square if square > 0 or zero_is_true[i] else math.nan
            weight_square = trace.member.weight_scales[number] ** 2 * draw.mean_square
            row["update_ratio"] = math.sqrt(square / weight_square) if weight_square > 0 else math.nan
        if number:
            products = _product(signals, draw.weight.to(inputs.dtype))
            for i, (trace, product) in enumerate(zip(traces, products, strict=True)):
                scale = trace.member.weight_scales[number]
                zero_is_true[i] = zero_is_true[i] or scale == 0
                grads[i] = _at_scale(product, scale, None)


def _product(signals: Sequence[Signal], weight: Tensor) -> list[Signal]:
    """All signals times one matrix: one large product, since the stack shares its draw."""
    batch = signals[0].tensor.shape[0]
    if all(signal.tensor is signals[0].tensor for signal in signals):  # the input, or the projection
        product = signals[0].tensor @ weight
        return [Signal(product, signal.exponent) for signal in signals]
    product = torch.cat([signal.tensor for signal in signals]) @ weight
    return [Signal(part, signal.exponent) for part, signal in zip(product.split(batch), signals, strict=True)]


def _at_scale(product: Signal, scale: float, bias: Tensor | None) -> Tensor:
    """The product at its true scale, plus the bias; in float64 where float32 might not hold it or its square."""
    factor = scale * 2.0**product.exponent
    size = factor * math.sqrt(statistics.mean_square(product.tensor))
    tensor = product.tensor if size == 0 or SAFE[0] < size < SAFE[1] else product.tensor.double()
    scaled = tensor * factor
    return scaled if bias is None else scaled + bias


def _signal(true: Tensor, dtype: torch.dtype) -> Signal:
    """`true` as the products take it."""
    if true.dtype == dtype:
        return Signal(true)
    largest = float(true.abs().max())
    if largest == 0 or not math.isfinite(largest):
        return Signal(true.to(dtype))
    exponent = max(-LARGEST_EXPONENT, min(LARGEST_EXPONENT, math.frexp(largest)[1]))
    return Signal((true * 2.0**-exponent).to(dtype), exponent)


def _gram(signal: Signal) -> Signal:
    return Signal(signal.tensor @ signal.tensor.t(), 2 * signal.exponent)


def _weight_gradient(grad_z: Signal, inputs_gram: Signal) -> float:
    """|grad_z' a|², from the Gram matrices of both factors: `batch batch` in place of `fan_out fan_in`."""
    gram = _gram(grad_z)
    total = float((gram.tensor.double() * inputs_gram.tensor.double()).sum())
    return _ldexp(max(total, 0.0), gram.exponent + inputs_gram.exponent)


def _measure(z: Tensor, a: Tensor, slope: Tensor, activation: Activation) -> Row:
    return {
        **statistics.spread(z, "z"),
        "z_variance_units": statistics.variance_over_units(z),
        **statistics.spread(a, "a"),
        "cosine": statistics.mean_cosine(z),
        **statistics.flatness(slope, activation.steepest),
    }


def _resolve(row: Row, trace: Trace, dtype: torch.dtype) -> None:
    """Mark batch variances that are rounding: for a run in float64, or as NaN if this is it."""
    if trace.lost:
        row.update(dict.fromkeys(row, math.nan))
        return
    trace.constant = trace.constant or row["a_second_moment"] == 0
    for name in ("z", "a"):
        unresolved = row[f"{name}_variance_batch"] <= RESOLVED[dtype] * row[f"{name}_second_moment"]
        if unresolved and not trace.constant:
            trace.unresolved = True
            row[f"{name}_variance_batch"] = math.nan


def _second_moment(grad: Tensor, zero_is_true: bool) -> float:
    square = statistics.mean_square(grad)
    return square if square > 0 or zero_is_true else math.nan


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf


def _truthful(row: Row) -> Row:
    """What is beyond float64 becomes NaN: neither inf nor a number that lost its digits."""
    return {name: value if value == 0 or _held(value) else math.nan for name, value in row.items()}


def _held(value: float) -> bool:
    """Whether float64 holds this value, which is known not to be 0, with all its digits."""
    return math.isfinite(value) and abs(value) >= torch.finfo(torch.float64).tiny
