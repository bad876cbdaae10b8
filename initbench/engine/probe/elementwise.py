"""What calls of torch make of a tensor's values one by one, whether one call does it or several by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from initbench.engine.probe.nested import tensors

NAMED = {
    "relu", "relu6", "gelu", "silu", "mish", "tanh", "sigmoid", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu",
    "elu", "selu", "celu", "softplus", "softsign", "erf", "sin", "cos", "threshold", "prelu", "rrelu", "logsigmoid",
    "log_sigmoid", "tanhshrink", "softshrink", "hardshrink", "clamp", "clamp_min", "clip", "clamp_max", "arctan",
    "atan",
}  # fmt: skip
"""Activations: one that meets a layer's output is its activation, unless more is made of it."""
MULTIPLIES = {"mul", "multiply", "rmul", "imul"}
PRODUCTS = MULTIPLIES | {"div", "divide", "truediv", "true_divide", "idiv", "itruediv", "rdiv", "rtruediv"}
SCALINGS = PRODUCTS | {"neg", "negative"}
SHIFTS = {"add", "radd", "iadd", "sub", "isub", "masked_fill"}
OTHERS = SCALINGS | SHIFTS | {
    "rsub", "pow", "rpow", "square", "abs", "absolute", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal",
    "sign", "gt", "ge", "lt", "le", "eq", "ne", "greater", "less", "where", "maximum", "minimum", "max", "min", "sinh",
    "cosh", "asinh", "heaviside", "round", "floor", "lerp", "addcmul", "addcdiv",
}  # fmt: skip
"""What an activation may be written with."""
STATISTICS = {"mean", "sum", "var", "std", "var_mean", "std_mean", "norm", "linalg_norm", "linalg_vector_norm"}
"""What a normalization by hand divides by."""
LONGEST = 400
"""Of a spec: one that is longer is no formula, but a loop."""


@dataclass(frozen=True)
class Elementwise:
    """A function of one tensor's values."""

    spec: str
    """The calls that make it up: ``mul(z, sigmoid)``."""
    phi: Callable[[Tensor], Tensor] | None = field(compare=False)
    """None where it is not known, or no function of each value alone: then its spec names what is not."""
    core: str = field(compare=False)
    """Its spec, but for factors before all."""
    parts: frozenset[str] = field(default=frozenset(), compare=False)
    """The specs of what it was made of."""

    @property
    def is_linear(self) -> bool:
        """Whether it is the tensor but for a factor."""
        return self.core == Z.core

    @property
    def is_statistic(self) -> bool:
        """Whether it is made of a mean or norm of the tensor."""
        return self.phi is None and self.spec in STATISTICS


Z = Elementwise("z", lambda z: z, "z")
"""The values themselves."""


def plain(function: Callable[..., Any]) -> str:
    """Its name without the underscores of what works in place, or is an operator."""
    return str(getattr(function, "__name__", "")).strip("_")


def unknown(name: str, of: Elementwise) -> Elementwise:
    """What a function that is not known value by value makes of `of`."""
    named = name if of.phi else of.spec  # the first of them
    return Elementwise(named, None, named, of.parts | {of.core})


def composed(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], made: Mapping[int, Elementwise]
) -> Elementwise:
    """What a call of `function` makes of a tensor, where `made` of it are operands, by their ids.

    What differs from unit to unit counts as it does for the mean square over all of them: a factor, or a slope below 0,
    by its own mean square; and shifts do not, as biases do not.
    """
    name = plain(function)
    if name in ("prelu", "rrelu"):
        function, args, kwargs = F.leaky_relu, (args[0], _slope(name, *args[1:], **kwargs)), {}
    settings = {key: value for key, value in kwargs.items() if key != "inplace"}
    operands = [made.get(id(each)) or _number(each, name in MULTIPLIES) for each in (*args, *settings.values())]
    within = [each for each in operands if isinstance(each, Elementwise)]
    arrays = any(tensor.dim() > 0 for tensor in tensors(operands))
    if arrays and name in SHIFTS and operands[0] is within[0]:
        return within[0]
    spec = _spec(function, operands, [*settings])
    if arrays or len(spec) > LONGEST or not all(each.phi for each in within):
        return unknown(name, next((each for each in within if not each.phi), within[0]))
    scaled = name in SCALINGS and len(within) == 1 and (name in MULTIPLIES or operands[0] is within[0])
    phi = partial(_value, function, operands, [*settings])
    parts = frozenset({spec}).union(*({each.core, each.spec, *each.parts} for each in within))
    return Elementwise(spec, phi, within[0].core if scaled else spec, parts)


def _value(function: Callable[..., Tensor], operands: list[Any], names: list[str], z: Tensor) -> Tensor:
    """Of copies, as some functions write into what they are given."""
    given = [each.phi(z).clone() if isinstance(each, Elementwise) and each.phi else each for each in operands]
    positional = len(given) - len(names)
    return function(*given[:positional], **dict(zip(names, given[positional:], strict=True)))


def _slope(name: str, weight: Any = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False,
           *, lower: float | None = None) -> float:  # fmt: skip
    """Below 0: that whose square is the mean square of all units' (PReLU), or of all draws (RReLU while it trains)."""
    if name == "prelu":
        slopes = weight.detach().double()
        slope = float(slopes) if slopes.numel() == 1 else float(slopes.square().mean().sqrt())
    else:
        lower = weight if lower is None else lower
        slope = ((lower**2 + lower * upper + upper**2) / 3) ** 0.5 if training else (lower + upper) / 2
    return float(f"{slope:.6g}")


def _number(operand: Any, factor: bool) -> Any:
    """A tensor all of whose values are one, or of factors, as a number; all else as it is."""
    if not isinstance(operand, Tensor) or operand.numel() == 0:
        return operand
    values = operand.detach().flatten()
    if bool((values == values[0]).all()):
        return values[0].cpu()
    return values.double().square().mean().sqrt().cpu() if factor else operand


def _spec(function: Callable[..., Any], operands: Sequence[Any], names: Sequence[str]) -> str:
    """The call; of an activation of the values themselves without them."""
    told = [_told(each) for each in operands]
    positional = len(told) - len(names)
    told = [*told[:positional], *(f"{name}={value}" for name, value in zip(names, told[positional:], strict=True))]
    name = plain(function)
    if name in NAMED and told[:1] == [Z.spec]:
        told = told[1:]
    return f"{name}({', '.join(told)})" if told else name


def _told(operand: Any) -> str:
    if isinstance(operand, Tensor):
        return repr(operand.item()) if operand.dim() == 0 else "..."
    return operand.spec if isinstance(operand, Elementwise) else str(operand)
