"""Networks whose initializer looks at data: their scales, found before they are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from initbench.engine.stack import Draws, LayerDraw, Member, Stack, draw_biases
from initbench.initializers.adaptation import Drawn, factors


def adapted(stack: Stack, draws: Draws, inputs: Mapping[int, Tensor]) -> Stack:
    """The stack as data makes it: the same where nothing adapts. `draws` and `inputs` are as `propagate` has them."""
    if not any(member.adapt for member in stack.members):
        return stack
    members = tuple(_adapted(member, stack, draws[member.source], inputs[member.seed]) for member in stack.members)
    return replace(stack, members=members)


def _adapted(member: Member, stack: Stack, draws: Sequence[LayerDraw], batch: Tensor) -> Member:
    if not member.adapt:
        return member
    weights = [draw.weight.double() * scale for draw, scale in zip(draws, member.weight_scales, strict=True)]
    units = draw_biases(member.bias_basis, stack.network, member.seed)
    biases = [unit.to(weights[0]) * scale for unit, scale in zip(units, member.bias_scales, strict=True)]
    found = factors(member.adapt, Drawn(stack.activation, weights, biases, seed=member.seed), batch)
    scales = tuple(scale * factor for scale, factor in zip(member.weight_scales, found, strict=True))
    return replace(member, weight_scales=scales, adapt=None)
