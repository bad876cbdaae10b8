"""Activations forward and gradients backward through a stack of deep MLPs, measured at every layer.

Signals keep their scale beside their numbers, so float32's range never shows. Its resolution can: where the variance
over the batch sinks below the rounding of the products, or all slopes below that of the activation, the network is run
again in float64. What float64 cannot hold either is NaN, never 0 or inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from initbench.activations import Activation
from initbench.engine import statistics
from initbench.engine.adapt import adapted
from initbench.engine.signals import Signals, at_scale, drowned, from_true, gradient_squares, grams, part, product
from initbench.engine.stack import Draws, Member, Stack, draw_biases, draw_projection

Row = dict[str, float]
Observer = Callable[[int, int, str, Tensor], None]
"""Called with the member's position, the layer's (from 0), what it is ("a" or "grad_z") and the tensor."""

RESOLVED = {torch.float32: 1e-10, torch.float64: 1e-27}
"""The smallest batch variance, relative to the second moment, that is not the products' rounding."""
RESOLVED_SLOPE = 1e-7
"""The smallest mean squared slope, relative to the steepest, that float32 knows: 1 - tanh² comes in steps of 6e-8."""


@dataclass
class Trace:
    """What is known of one network on its way."""

    member: Member
    rows: list[Row] = field(default_factory=list)
    constant: bool = False
    """Whether all inputs have become one: then a variance of 0 over the batch is true."""
    unresolved: bool = False
    lost: bool = False
    """Whether float64 could not hold the signal: what comes after is not known."""


@dataclass(frozen=True)
class Passage:
    """What one layer keeps from the way forward for the way back, for all models."""

    slope: Tensor
    """phi'(z), `models batch units`."""
    gram: Signals
    """a a' of the layer's input, `models batch batch`."""

    def only(self, kept: Sequence[int]) -> Passage:
        """What it keeps of these models."""
        return Passage(part(self.slope, kept), self.gram.only(kept))


def propagate(
    stack: Stack, draws: Draws, inputs: Mapping[int, Tensor], observe: Observer | None = None
) -> list[list[Row]]:
    """Rows of the table `layers`, first layer to last, for each member of the stack.

    `draws` are its unit draws on the device, `inputs` each seed's `batch features` in the dtype to compute in. The
    loss is the sum over the batch of a fixed random projection of the last activation. `observe` sees the tensors
    themselves and must not change them.
    """
    stack = adapted(stack, draws, inputs)
    together = torch.stack([inputs[member.seed] for member in stack.members])
    traces, passages = _forward(stack, draws, together, observe)
    coarse = [i for i, trace in enumerate(traces) if trace.unresolved and together.dtype == torch.float32]
    kept = [i for i in range(len(traces)) if i not in coarse]
    rows: dict[int, list[Row]] = {}
    if coarse:
        finer = {seed: batch.double() for seed, batch in inputs.items()}
        again = propagate(stack.only(coarse), draws, finer, _renumbered(observe, coarse))
        rows.update(zip(coarse, again, strict=True))
    if kept:
        chosen, there = [traces[i] for i in kept], [passage.only(kept) for passage in passages]
        _backward(stack.only(kept), chosen, there, draws, part(together, kept), _renumbered(observe, kept))
        rows.update((i, [_truthful(row) for row in traces[i].rows]) for i in kept)
    return [rows[i] for i in range(len(traces))]


def _forward(stack: Stack, draws: Draws, inputs: Tensor, observe: Observer | None) -> tuple[list[Trace], list[Passage]]:
    traces = [Trace(member) for member in stack.members]
    passages = []
    biases = {(m.bias_basis.name, m.seed): draw_biases(m.bias_basis, stack.network, m.seed) for m in stack.members}
    signals = Signals(inputs, (0,) * len(traces), tuple(statistics.mean_square(inputs).tolist()))
    for number, layer in enumerate(stack.network.layers):
        scales = [member.weight_scales[number] for member in stack.members]
        weights = [(draws[source][number].weight.to(inputs.dtype).t(), where) for source, where in stack.runs]
        z = at_scale(product(signals, weights), signals, scales, layer.fan_in)
        for i, member in enumerate(stack.members):
            if bias_scale := member.bias_scales[number]:
                z[i] += biases[member.bias_basis.name, member.seed][number].to(z) * bias_scale
        a, slope = stack.activation.value_and_slope(z)
        for i, row in enumerate(statistics.as_rows(_columns(z, a, slope, stack.activation))):
            _judge(row, traces[i], scales[i], inputs.dtype)
            if row["saturated_fraction"] == 1 and not stack.activation.flat:
                square = float(statistics.mean_square(slope[i : i + 1]))
                traces[i].unresolved |= square < RESOLVED_SLOPE * stack.activation.steepest**2
            variance = scales[i] ** 2 * draws[stack.members[i].source][number].variance
            traces[i].rows.append({"weight_variance": variance, **row})
            if observe:
                observe(i, number, "a", a[i])
        passages.append(Passage(slope, grams(signals)))
        signals = from_true(a, [trace.rows[-1]["a_second_moment"] for trace in traces], inputs.dtype)
        for i in drowned(a, signals):
            traces[i].unresolved = True
    return traces, passages


def _backward(
    stack: Stack,
    traces: Sequence[Trace],
    passages: Sequence[Passage],
    draws: Draws,
    inputs: Tensor,
    observe: Observer | None,
) -> None:
    """Add the gradient columns to the traces' rows."""
    batch, width, dtype = inputs.shape[1], stack.network.widths[-1], inputs.dtype
    grad_a = torch.stack([draw_projection(batch, width, member.seed).to(inputs) for member in stack.members])
    zero_is_true = [stack.activation.flat] * len(traces)
    for number, layer in reversed(list(enumerate(stack.network.layers))):
        grad_z = grad_a * passages[number].slope
        squares_a, squares_z = statistics.mean_square(grad_a).tolist(), statistics.mean_square(grad_z).tolist()
        signals = from_true(grad_z, squares_z, dtype)
        squares_w = gradient_squares(grams(signals), passages[number].gram)
        scales = [member.weight_scales[number] for member in stack.members]
        for i, trace in enumerate(traces):
            draw = draws[trace.member.source][number]
            no_input = number > 0 and trace.rows[number - 1]["a_second_moment"] == 0
            grad_w = _or_lost(squares_w[i] / draw.weight.numel(), zero_is_true[i] or no_input)
            weight = scales[i] ** 2 * draw.mean_square
            trace.rows[number] |= {
                "grad_z_second_moment": _or_lost(squares_z[i], zero_is_true[i]),
                "grad_a_second_moment": _or_lost(squares_a[i], zero_is_true[i]),
                "grad_w_second_moment": grad_w,
                "update_ratio": math.sqrt(grad_w / weight) if weight > 0 else math.nan,
            }
            if observe:
                observe(i, number, "grad_z", grad_z[i])
        if number:
            zero_is_true = [zero or scale == 0 for zero, scale in zip(zero_is_true, scales, strict=True)]
            weights = [(draws[source][number].weight.to(dtype), where) for source, where in stack.runs]
            grad_a = at_scale(product(signals, weights), signals, scales, layer.fan_out)


def _columns(z: Tensor, a: Tensor, slope: Tensor, activation: Activation) -> statistics.Columns:
    return {
        **statistics.spread(z, "z"),
        "z_variance_units": statistics.variance_over_units(z),
        **statistics.spread(a, "a"),
        "cosine": statistics.mean_cosine(z),
        **statistics.flatness(slope, activation.steepest),
    }


def _judge(row: Row, trace: Trace, scale: float, dtype: torch.dtype) -> None:
    """Mark what the row cannot know: a signal that float64 lost, a batch variance that is the products' rounding."""
    trace.constant = trace.constant or scale == 0
    alive = scale > 0 and (not trace.rows or trace.rows[-1]["a_second_moment"] != 0)
    trace.lost = trace.lost or (alive and not _held(row["z_second_moment"]))
    if trace.lost:
        row.update(dict.fromkeys(row, math.nan))
        return
    trace.constant = trace.constant or row["a_second_moment"] == 0
    for name in ("z", "a"):
        unresolved = row[f"{name}_variance_batch"] <= RESOLVED[dtype] * row[f"{name}_second_moment"]
        if unresolved and not trace.constant:
            trace.unresolved = True
            row[f"{name}_variance_batch"] = math.nan


def _renumbered(observe: Observer | None, members: Sequence[int]) -> Observer | None:
    """`observe` for a part of the stack."""
    return observe and (lambda i, *seen: observe(members[i], *seen))


def _or_lost(square: float, zero_is_true: bool) -> float:
    """A gradient's square; a 0 that no flat piece of phi and no zero weight explains is an underflow."""
    return square if square > 0 or zero_is_true else math.nan


def _truthful(row: Row) -> Row:
    """What is beyond float64 becomes NaN: neither inf nor a number that lost its digits."""
    return {name: value if value == 0 or _held(value) else math.nan for name, value in row.items()}


def _held(value: float) -> bool:
    """Whether float64 holds this value, which is known not to be 0, with all its digits."""
    return math.isfinite(value) and abs(value) >= torch.finfo(torch.float64).tiny
