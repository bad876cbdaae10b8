"""What is measured is a copy: parameters, gradients, buffers, hooks and mode of the original cannot change."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from initbench.core.errors import WorkError, require
from initbench.core.global_generators import lent
from initbench.core.plugins import told
from initbench.engine.probe.nested import mapped

HALVES = (torch.float16, torch.bfloat16)
"""Kinds of numbers whose squares and small gradients are lost: such modules are measured in float32."""


@contextmanager
def untouched(module: nn.Module, seed: int) -> Iterator[None]:
    """In the block all global generators start from `seed`; afterwards they are as found."""
    cuda = sorted({tensor.device.index for tensor in module.parameters() if tensor.is_cuda})
    with lent(seed), torch.random.fork_rng(cuda, enabled=bool(cuda)), torch.inference_mode(False), torch.enable_grad():
        for index in cuda:
            with torch.cuda.device(index):
                torch.cuda.manual_seed(seed)
        yield


def duplicate(module: nn.Module, train: bool | None) -> nn.Module:
    """A copy in its own mode, or in training mode or not.

    Raises `UsageError` for a module without layers to see, or without shapes, `WorkError` where it cannot be copied.
    """
    require(not any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()),
            "a scripted module shows no layers: probe the module that it was made of")  # fmt: skip
    held = itertools.chain(module.parameters(), module.buffers())
    require(not any(isinstance(tensor, UninitializedParameter | UninitializedBuffer) for tensor in held),
            "a lazy module has no shapes yet: call it once, then probe it")  # fmt: skip
    # what torch computed from parameters (a weight under weight_norm) is no parameter, and torch refuses to copy it
    computed = {id(value): value.detach().clone() for part in module.modules() for value in vars(part).values()
                if isinstance(value, Tensor) and not value.is_leaf}  # fmt: skip
    try:
        twin = copy.deepcopy(module, computed)
    except Exception as error:
        raise WorkError(f"the module is measured on a copy, and it cannot be copied: {told(error)}") from error
    return twin if train is None else twin.train(train)


def in_precision(module: nn.Module, double: bool) -> nn.Module:
    """`module` in float64, or as it is but with half precision widened; all parameters pass gradients on."""
    if double:
        module.double()
    elif any(parameter.dtype in HALVES for parameter in module.parameters()):
        module.float()
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_()
    return module


def in_wide(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], double: bool
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The same call of torch in the precision that is measured in, where a module asks for another in its `forward`."""
    wide = torch.float64 if double else torch.float32
    narrow = (*HALVES, torch.float32) if double else HALVES

    def widened(given: Any) -> Any:
        return wide if isinstance(given, torch.dtype) and given in narrow else given

    if getattr(function, "__name__", "") in ("half", "bfloat16", *(["float"] if double else [])):
        function = Tensor.double if double else Tensor.float
    return function, tuple(map(widened, args)), {name: widened(each) for name, each in kwargs.items()}


@contextmanager
def by_default(double: bool) -> Iterator[None]:
    """In the block, a tensor that a module makes (the first state of a cell) is in float64, if `double`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if double else before)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def own_batch(batch: Any, double: bool) -> Any:
    """A copy of `batch` that asks for gradients and may be written into."""

    def own(tensor: Tensor) -> Tensor:
        mine = tensor.detach().clone()
        if not mine.is_floating_point():
            return mine
        wide = torch.float64 if double else torch.float32 if mine.dtype in HALVES else mine.dtype
        return mine.to(wide).requires_grad_().clone()  # no leaf: the module may write into it

    return mapped(batch, own)


def call(module: nn.Module, batch: Any) -> Any:
    """What `module` returns: a mapping is passed by name, a tuple or list one by one.

    Raises `WorkError` with what the module raised.
    """
    # what is compiled runs as it was written: there is nothing to compile unless this has been imported
    plainly = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    try:
        with plainly:
            if isinstance(batch, Mapping):
                return module(**batch)
            return module(*batch) if isinstance(batch, list | tuple) else module(batch)
    except WorkError:
        raise
    except Exception as error:
        raise WorkError(f"the module does not take this input: {told(error)}") from error
