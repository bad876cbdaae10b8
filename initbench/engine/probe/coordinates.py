"""The coordinate check's measurements: how large a module's outputs, their changes and gradients are while it trains.

A parametrization is right where none of them grows or shrinks with the width (Yang et al. 2022, Tensor Programs V,
arXiv:2203.03466, appendix D.1). The maximal update parametrization (muP) is made of any module by factors on its
weights and learning rates, relative to a base width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from initbench.core.errors import WorkError
from initbench.core.randomness import generator
from initbench.engine.probe.copies import call
from initbench.engine.probe.nested import first_floating
from initbench.initializers.bases import DRAWN
from initbench.recipe import OPTIMIZERS

Row = dict[str, Any]
Build = Callable[[int], nn.Module]
"""Makes the module of a width."""


@dataclass(frozen=True)
class Powers:
    """Of width / base width: what multiplies weights as they are built for their width, and the learning rate."""

    weight: float
    lr: float


FIXED = Powers(0, 0)
STANDARD = dict.fromkeys(("input", "hidden", "output"), FIXED)
MUP = {
    "adam": {"input": Powers(0, 0), "hidden": Powers(0, -1), "output": Powers(-0.5, -1)},
    "sgd": {"input": Powers(0, 1), "hidden": Powers(0, 0), "output": Powers(-0.5, -1)},
}
"""Table 3 of Yang et al. 2022: hidden weights grow with the width on both sides, those of the input (and biases, and
the gains of normalizations) as fan_out alone, those of the output as fan_in alone. Weights are built with a variance of
1/fan_in; the output's then get 1/fan_in²."""


@dataclass(frozen=True)
class Training:
    """The few steps: on one batch, along a fixed random projection of the output."""

    optimizer: str
    lr: float
    steps: int
    powers: Mapping[str, Powers]
    """Of each kind of weights."""


def trained(
    module: nn.Module, batch: Any, seed: int, grown: Mapping[str, Powers], ratio: float, training: Training
) -> list[Row]:
    """A row per step (0: before the first) and call of a part with parameters, in order of execution.

    ``activation_rms``, ``update_rms`` (of what changed since step 0) and ``gradient_rms`` (of the loss) are root mean
    squares of the part's output. The loss is a random projection of the first output, averaged over all axes but the
    last: its gradient there is the same at every step and width, so that what differs is the network's. `module` is
    trained in place, its parameters with the powers `grown` of `ratio`. Raises `WorkError` where it does not run.
    """
    optimizer = OPTIMIZERS.make(training.optimizer).make(_groups(module, grown, ratio, training.lr))
    recorder = _Recorder()
    with recorder.listening(module), torch.enable_grad():
        for step in range(training.steps + 1):
            recorder.begin(step)
            output = first_floating(call(module, batch))
            if output is None or not output.requires_grad:
                raise WorkError("the module has no output with a gradient: nothing can be trained")
            projection = torch.randn(output.shape, generator=generator(seed, "projection", *output.shape), **DRAWN)
            optimizer.zero_grad()
            output.backward(projection.to(output) * (output.shape[-1] ** 0.5 / output.numel()))
            optimizer.step()
    return recorder.rows


def powers_of(small: nn.Module, large: nn.Module, powers: Mapping[str, Powers]) -> dict[str, Powers]:
    """Of each parameter, by which of its sides differ between two widths. Raises `WorkError` for other parameters."""
    shapes = {name: parameter.shape for name, parameter in large.named_parameters()}
    found = {}
    embeddings = {f"{name}.weight" for name, part in small.named_modules() if isinstance(part, nn.Embedding)}
    for name, parameter in small.named_parameters():
        if name not in shapes or len(shapes[name]) != parameter.dim():
            raise WorkError(f"parameter {name} is not there at every width: the widths are of different networks")
        grows = [one != other for one, other in zip(parameter.shape, shapes[name], strict=True)]
        fan_out, fan_in = (*grows, False, False)[:2]
        if name in embeddings:
            fan_out, fan_in = fan_in, fan_out
        kind = "hidden" if fan_out and fan_in else "input" if fan_out else "output" if fan_in else ""
        found[name] = powers[kind] if kind else FIXED
    return found


@torch.no_grad()
def _groups(module: nn.Module, grown: Mapping[str, Powers], ratio: float, lr: float) -> list[dict[str, Any]]:
    """The optimizer's groups, a parameter each; weights are scaled."""
    groups = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parameter.mul_(ratio ** grown[name].weight)
            groups.append({"params": [parameter], "lr": lr * ratio ** grown[name].lr})
    return groups


class _Recorder:
    """Sees the outputs of all parts that own parameters."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._first: dict[tuple[str, int], Tensor] = {}
        self._step = 0
        self._calls: dict[str, int] = {}

    def begin(self, step: int) -> None:
        self._step, self._calls = step, {}

    @contextmanager
    def listening(self, module: nn.Module) -> Iterator[None]:
        owners = ((name, part) for name, part in module.named_modules() if any(map(id, part.parameters(recurse=False))))
        hooks = [part.register_forward_hook(partial(self._see, name or type(module).__name__)) for name, part in owners]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _see(self, name: str, part: nn.Module, _: Any, returned: Any) -> None:
        output = first_floating(returned)
        if output is None:
            return
        number = self._calls[name] = self._calls.get(name, 0) + 1
        now = output.detach().double()
        row: Row = {"step": self._step, "module": name, "call": number, "kind": type(part).__name__,
                    "elements": output[:1].numel(), "activation_rms": _rms(now), "gradient_rms": math.nan}  # fmt: skip
        first = self._first.setdefault((name, number), now.clone())
        row["update_rms"] = _rms(now - first) if self._step and first.shape == now.shape else math.nan
        self.rows.append(row)
        if output.requires_grad:
            output.register_hook(lambda gradient: row.update(gradient_rms=_rms(gradient.double())))


def _rms(tensor: Tensor) -> float:
    found = float(tensor.square().mean().sqrt())
    return found if math.isfinite(found) else math.nan
