"""The product that a stack's time goes into: the first layers of all its models, with the one input that they share.

Several routines of torch compute it, equal but for the order in which they add up. Which is the fastest depends on the
processor (on some, oneDNN is twice as fast as MKL), so `initbench.engine.tuning` measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Routine:
    """Both products of a layer W x + b."""

    forward: Callable[[Tensor, Tensor, Tensor], Tensor]
    """``forward(W, b, x)``: `models units features`, `models units` and `batch features` -> `models units batch`."""
    gradient: Callable[[Tensor, Tensor, Tensor], object]
    """``gradient(delta, x, out)``: writes sum over the batch of delta x', `models units features`, into `out`."""


def _batched_forward(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    # a copy of x the other way round is small, and the product a tenth faster
    columns = x.t().contiguous()
    return torch.baddbmm(bias[:, :, None], weight, columns.expand(len(weight), *columns.shape))


def _batched_gradient(delta: Tensor, x: Tensor, out: Tensor) -> Tensor:
    return torch.bmm(delta, x.expand(len(delta), *x.shape), out=out)


def _joined_forward(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    joined = torch.addmm(bias.reshape(-1, 1), weight.flatten(0, 1), x.t().contiguous())
    return joined.view(*bias.shape, len(x))


def _joined_gradient(delta: Tensor, x: Tensor, out: Tensor) -> Tensor:
    return torch.mm(delta.flatten(0, 1), x, out=out.view(-1, x.shape[1]))


def _onednn(rows: Tensor, columns: Tensor) -> Tensor:
    """rows columns', as torch's compiler calls oneDNN; torch.mm goes to MKL where there is one."""
    return torch.ops.mkldnn._linear_pointwise(rows, columns, None, "none", [], "")


def _onednn_forward(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    return _onednn(weight.flatten(0, 1), x).view(*bias.shape, len(x)).add_(bias[:, :, None])


def _onednn_gradient(delta: Tensor, x: Tensor, out: Tensor) -> Tensor:
    return out.copy_(_onednn(delta.flatten(0, 1), x.t().contiguous()).view_as(out))


ROUTINES = {
    "batched": Routine(_batched_forward, _batched_gradient),
    "joined": Routine(_joined_forward, _joined_gradient),
    "onednn": Routine(_onednn_forward, _onednn_gradient),
}
"""``batched``: a product a model; ``joined``: one large product; ``onednn``: the same by oneDNN, float32 on a CPU."""


def available() -> list[str]:
    """The routines that this build of torch has."""
    has_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return [name for name in ROUTINES if name != "onednn" or has_onednn]


def routine(forward: str, gradient: str, like: Tensor) -> Routine:
    """The named routines' products for tensors like this one; where one cannot take them, the first does."""
    return Routine(_usable(forward, like).forward, _usable(gradient, like).gradient)


def _usable(name: str, like: Tensor) -> Routine:
    fits = name != "onednn" or (like.dtype == torch.float32 and not like.is_cuda)
    return ROUTINES[name if fits and name in available() else "batched"]
