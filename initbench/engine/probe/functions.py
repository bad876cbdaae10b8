"""Which of torch's functions are layers, activations, sums and averages; what theory says of a layer's output.

Functions are told apart by the name that torch gives them, so that nn.Conv2d and a plain F.conv2d are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initbench.engine.probe.nested import tensors

SUMS = {"add", "add_", "__add__", "__iadd__", "__radd__"}
AVERAGES = {"mean", *(f"{kind}avg_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3))}
CARRIERS = {
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "contiguous", "clone", "squeeze",
    "unsqueeze", "movedim", "swapaxes", "to", "float", "double", "view_as", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "alpha_dropout", "feature_alpha_dropout", "expand", "identity", "detach", "requires_grad_", "type",
    "type_as", "half", "bfloat16", "cpu", "cuda",
}  # fmt: skip
"""What leaves a tensor's values (those that it keeps) as they are."""
FRESH = {f"{kind}_like" for kind in ("zeros", "ones", "full", "empty", "rand", "randn", "randint")}
FRESH |= {f"new_{kind}" for kind in ("zeros", "ones", "full", "empty", "tensor")}
"""What takes no more than a tensor's shape and kind."""
MAXIMA = {f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3)}
CUTS = {"chunk", "split", "tensor_split", "unbind", "__getitem__", "select", "narrow", "index_select"}
POOLS = {"cat", "concat", "concatenate", "stack", *AVERAGES, *MAXIMA, *CUTS}
"""What a normalization may stand behind."""


def square(tensor: Tensor) -> float:
    """The mean of its squares; NaN where they leave the range of its numbers, and where there are none."""
    if tensor.numel() == 0:
        return math.nan
    found = float(torch.linalg.vector_norm(tensor.detach().flatten()).double().square()) / tensor.numel()
    return math.nan if not math.isfinite(found) or (found == 0 and bool(tensor.any())) else found


@dataclass(frozen=True)
class Call:
    """One call of a layer's function."""

    form: Form
    operands: dict[str, Any]
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def x(self) -> Tensor | None:
        """The layer's input, if it is of real numbers."""
        given = self.operands.get(self.form.names[self.form.input])
        return given if isinstance(given, Tensor) and given.is_floating_point() else None

    @property
    def whole_numbers(self) -> torch.dtype | None:
        """The kind of the layer's input, if it is of whole numbers."""
        given = self.operands.get(self.form.names[self.form.input])
        if not isinstance(given, Tensor) or given.is_floating_point() or given.is_complex():
            return None
        return given.dtype

    @property
    def shape(self) -> dict[str, float]:
        """The columns `fan_in`, `fan_out` and `terms`, products that one output sums up: of the first weight.

        And of a convolution `seen_terms`, those that are not with padded zeros.
        """
        if not self.weights:
            return {}
        weight, fans = self.weights[0], fans_of(self.form, self.weights[0])
        found = {"terms": self.form.terms(self, weight)} if self.form.role in ("weights", "lookup") else {}
        if self.form.has_kernel:
            found |= {"groups": self.operands.get("groups", 1), "seen_terms": _seen_terms(self)}
        return found if fans is None else found | {"fan_in": fans[0], "fan_out": fans[1]}

    @property
    def role(self) -> str:
        """Its form's; a normalization by running statistics does not normalize."""
        by_input = self.operands.get("training", self.operands.get("use_input_stats", True))
        return self.form.role if by_input or self.form.role != "normalization" else "other"

    def predicted(self) -> float:
        """E[z²] from the layer's own input and parameters; NaN where theory does not reach."""
        return math.nan if self.form.predict is None else self.form.predict(self)


def fans_of(form: Form, weight: Tensor) -> tuple[int, int] | None:
    """fan_in and fan_out, None for a vector: of x @ w the two last sizes, of all others as torch.nn.init has them.

    Which are sizes 1 and 0 times the kernel, also where a convolution has groups or is transposed.
    """
    if weight.dim() < 2:
        return None
    if form.inputs_first:
        return weight.shape[-2], weight.shape[-1]
    return nn.init._calculate_fan_in_and_fan_out(weight)


def _fan_in(call: Call, weight: Tensor) -> float:
    return float(weight[0].numel())


def _length(call: Call, weight: Tensor) -> float:
    return float(weight.shape[-2] if weight.dim() > 1 else len(weight))


@dataclass(frozen=True)
class Form:
    """A layer's function."""

    kind: str
    names: tuple[str, ...]
    """Of its operands, in order."""
    role: str = "weights"
    """``weights``, ``lookup``, ``normalization`` or ``other``; of a sum, ``sum``."""
    input: int = 0
    predict: Callable[[Call], float] | None = None
    terms: Callable[[Call, Tensor], float] = _fan_in
    channels: int = -1
    """The axis of the output's units."""
    batch: Callable[[dict[str, Any]], int] = lambda _: 0
    """The axis of the batch."""
    inputs_first: bool = False
    """Whether the weight's first axis is the inputs', and not the units'."""
    note: str = ""

    @property
    def has_kernel(self) -> bool:
        """Whether its weights stand at places of a kernel, behind two axes of channels."""
        return "groups" in self.names

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any], parameters: Collection[int]) -> Call | None:
        """This call, or None where no weight of the network's has a part in it.

        `parameters` are the ids of the network's. A weight that is computed from them counts as well.
        """
        operands = dict(zip(self.names, args, strict=False)) | kwargs
        own = [t for t in tensors([*args, *kwargs.values()]) if id(t) in parameters]
        if self.role == "other":
            return Call(self, operands, tuple(t for t in own if t.dim() > 1), tuple(t for t in own if t.dim() < 2))
        weight, bias = operands.get("weight"), operands.get("bias")
        if self.inputs_first and (weight is None or id(weight) not in parameters):
            return None
        return Call(self, operands, () if weight is None else (weight,), () if bias is None else (bias,))


def _squares(given: tuple[Tensor, ...], otherwise: float) -> float:
    return square(torch.cat([t.detach().flatten() for t in given])) if given else otherwise


def _dense(call: Call) -> float:
    """terms·E[w²] E[x²] + E[b²]."""
    x, (weight,) = call.operands[call.form.names[call.form.input]], call.weights
    return call.form.terms(call, weight) * square(weight) * square(x) + _squares(call.biases, 0.0)


def _convolution(call: Call) -> float:
    """The sum of E[w²] x² over the kernel's places that each output sees, whatever the padding; plus E[b²]."""
    (weight,), x = call.weights, call.operands["input"].detach()
    axis = x.dim() - weight.dim() + 1  # there may be no batch
    loudness = torch.linalg.vector_norm(x, dim=axis, keepdim=True).double().square()
    squares = weight.detach().double().square().mean(dim=(0, 1), keepdim=True)
    return _at_places(call, loudness, squares) / call.operands.get("groups", 1) + _squares(call.biases, 0.0)


def _at_places(call: Call, x: Tensor, kernel: Tensor) -> float:
    """The mean over places of the convolution of one channel with a kernel of this call's padding and steps."""
    transposed, others = call.form.terms is _terms_transposed, ("input", "weight", "bias", "groups")
    function = getattr(F, f"conv{'_transpose' * transposed}{kernel.dim() - 2}d")
    steps = {key: value for key, value in call.operands.items() if key not in others}
    return float(function(x, kernel, **steps).mean())


def _seen_terms(call: Call) -> float:
    """The mean over places of an output: of small images with much padding far fewer than `terms`."""
    (weight,), x = call.weights, call.operands["input"]
    image, kernel = ((1, 1, *tensor.shape[2 - weight.dim() :]) for tensor in (x, weight))
    seen = _at_places(call, x.new_ones(image, dtype=torch.float64), x.new_ones(kernel, dtype=torch.float64))
    channels = len(weight) / call.operands.get("groups", 1) if call.form.terms is _terms_transposed else weight.shape[1]
    return seen * channels


def _terms_transposed(call: Call, weight: Tensor) -> float:
    """Channels of a group times the kernel's entries that meet one output."""
    stride = call.operands.get("stride", 1)
    strides = [stride] * (weight.dim() - 2) if isinstance(stride, int) else list(stride)
    return weight.numel() / weight.shape[1] / call.operands.get("groups", 1) / math.prod(strides)


def _normalized(call: Call) -> float:
    """E[gain²] + E[bias²]: the input's own moments are taken out."""
    return _squares(call.weights, 1.0) + _squares(call.biases, 0.0) if call.role == call.form.role else math.nan


def _looked_up(call: Call) -> float:
    return square(call.weights[0])


_GATES = "gates: theory does not reach"
_SOFTMAX = "softmax: theory does not reach"
_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_RUNNING = ("input", "running_mean", "running_var", "weight", "bias", "training")
_QUERY = ("query", "key", "value")
OVER_TIME = ("LSTM", "GRU", "RNN")
"""Kinds whose steps are one call."""
_RNN = ("input", "hx", "weights", "has_biases", "layers", "dropout", "training", "bidirectional", "batch_first")


def _sequence_first(operands: dict[str, Any]) -> int:
    """nn.MultiheadAttention hands its input on with the batch second."""
    return 1 if operands["query"].dim() == 3 else 0


def _as_asked(operands: dict[str, Any]) -> int:
    """A cell, and a packed sequence, has no axis of time."""
    return 1 if operands["input"].dim() == 3 and operands.get("batch_first") is False else 0


def _rnn(kind: str) -> Form:
    return Form(kind, _RNN, "other", batch=_as_asked, note=_GATES)


def _product(names: tuple[str, ...]) -> Form:
    """x @ w."""
    place = names.index("input")
    return Form("matmul", names, input=place, predict=_dense, inputs_first=True, terms=_length)


_PRODUCTS = {"matmul": ("input", "weight"), "mm": ("input", "weight"), "addmm": ("bias", "input", "weight")}

LAYERS = {
    "linear": Form("Linear", ("input", "weight", "bias"), predict=_dense),
    "bilinear": Form("Bilinear", ("input1", "input2", "weight", "bias"), note="a product of two inputs"),
    **{name: _product(names) for name, names in _PRODUCTS.items()},
    **{f"conv{n}d": Form(f"Conv{n}d", _CONV, predict=_convolution, channels=1) for n in (1, 2, 3)},
    **{
        f"conv_transpose{n}d": Form(
            f"ConvTranspose{n}d", _TRANSPOSED, predict=_convolution, terms=_terms_transposed, channels=1
        )
        for n in (1, 2, 3)
    },
    "embedding": Form("Embedding", ("input", "weight"), "lookup", predict=_looked_up, terms=lambda *_: 1.0),
    "embedding_bag": Form("EmbeddingBag", ("input", "weight"), "lookup", note="a mean or sum of rows"),
    "multi_head_attention_forward": Form("MultiheadAttention", _QUERY, "other", batch=_sequence_first, note=_SOFTMAX),
    "scaled_dot_product_attention": Form("attention", _QUERY, "other", input=2, note=_SOFTMAX),
    **{name: _rnn(name.upper()) for name in ("lstm", "gru")},
    **{name: _rnn("RNN") for name in ("rnn_tanh", "rnn_relu")},
    **{f"{name}_cell": _rnn(f"{name.split('_')[0].upper()}Cell") for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    "batch_norm": Form("BatchNorm", _RUNNING, "normalization", predict=_normalized, channels=1),
    "instance_norm": Form(
        "InstanceNorm", (*_RUNNING[:5], "use_input_stats"), "normalization", predict=_normalized, channels=1
    ),
    "group_norm": Form(
        "GroupNorm", ("input", "num_groups", "weight", "bias"), "normalization", predict=_normalized, channels=1
    ),
    "layer_norm": Form(
        "LayerNorm", ("input", "normalized_shape", "weight", "bias"), "normalization", predict=_normalized
    ),
    "rms_norm": Form("RMSNorm", ("input", "normalized_shape", "weight"), "normalization", predict=_normalized),
}
