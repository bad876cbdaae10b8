"""How a copy gets weights for a seed: by its modules' own way, or by an initializer of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.errors import UsageError
from initbench.core.records import Layer
from initbench.engine.probe.functions import fans_of
from initbench.engine.probe.marks import Row
from initbench.engine.probe.tracer import UNKNOWN
from initbench.initializers import Initializer, Setting
from initbench.initializers.bases import NORMAL

LINEAR = "identity"
"""The activation of a layer that none follows."""


def as_found(module: nn.Module, seed: int) -> list[str]:
    """The weights that it has."""
    return []


def by_modules(module: nn.Module, seed: int) -> list[str]:
    """Every module's own `reset_parameters`, parts before wholes; those that have none keep their parameters.

    Draws from torch's global generator.
    """
    kept = []
    for name, part in _parts_first(module):
        own = getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None))
        if own is not None and not _computes(part):  # that would write into what is computed anew
            own()
        elif _computes(part) or next(part.parameters(recurse=False), None) is not None:
            kept.append(name or type(part).__name__)
    return [f"as found, for want of a reset_parameters of its own: {', '.join(kept)}"] if kept else []


def _computes(part: nn.Module) -> bool:
    """Whether it computes a weight from parameters: by a parametrization, or by a hook (torch's older functions)."""
    names = {name for name, _ in part.named_parameters(recurse=False)}
    return is_parametrized(part) or any({f"{name}_g", f"{name}_orig"} & names for name in vars(part))


def by_initializer(
    initializer: Initializer, rows: Sequence[Row], activations: Mapping[str, Activation], module: nn.Module, seed: int
) -> list[str]:
    """Weights of layers as `initializer` promises, biases as it has them (0 unless it says); all else as found.

    `rows` are a trace's: they say which layers there are and what follows each. Draws of a layer are those of every
    other command for its place, fans and seed. Raises `UsageError` where an activation is refused.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    done, kept = set[int](), list[str]()
    stay = {id(parameters[name]) for row in rows if row.form.role == "lookup" for name in row.parameters}
    output = next((row for row in reversed(rows) if row.form.role == "weights"), None)  # unless an activation follows
    for row in rows:
        if row.form is UNKNOWN or row.form.role in ("lookup", "normalization"):
            kept += [name for name in row.parameters if row.form.role != "normalization"]
            continue
        if row.form.role == "weights" and not row.parameters:
            kept.append(f"{row.known['module']}, whose weight is computed")
        activation = activations.get(row.known["activation"]) or ACTIVATIONS.make(LINEAR)
        for name in row.parameters:
            weight = parameters[name]
            if id(weight) in done | stay or (fans := fans_of(row.form, weight)) is None:
                continue
            if row.form.inputs_first and weight.dim() > 2:  # several matrices
                kept.append(name)
                continue
            done.add(id(weight))
            place = Layer(len(done), fans[0], fans[1])
            setting = Setting(place, activation, output=row is output and not row.known["activation"])
            _draw(initializer, setting, row, weight, _biases(module, name), seed)
    return [f"left as found: {', '.join(dict.fromkeys(kept))}"] if kept else []


@torch.no_grad()
def _draw(
    initializer: Initializer, setting: Setting, row: Row, weight: nn.Parameter, biases: list[nn.Parameter], seed: int
) -> None:
    """The promise is of torch's fans, the draw of the weight as a matrix with a row for each of its units.

    What has weights at a kernel's centre alone is promised and drawn as the matrix of each group's channels there.
    """
    drawn, groups = weight.t() if row.form.inputs_first else weight.detach(), 1
    if initializer.central and row.form.has_kernel:
        centre: tuple[Any, ...] = (..., *(size // 2 for size in drawn.shape[2:]))
        drawn, groups = drawn.zero_()[centre], row.known["groups"]
        setting = replace(setting, layer=Layer(setting.layer.index, drawn.shape[1], len(drawn) // groups))
    try:
        promise = initializer.alone(setting)
    except UsageError as refused:
        raise UsageError(f"{row.known['module']}: {refused}") from None
    matrix = Layer(setting.layer.index, drawn[0].numel(), len(drawn) // groups)
    unit = initializer.basis.weights(matrix, seed, groups)
    drawn.copy_((unit * (promise.variance + promise.mean**2) ** 0.5).view_as(drawn))
    for bias in biases:
        basis, column = initializer.bias_basis or NORMAL, Layer(matrix.index, matrix.fan_in, len(bias))
        bias.copy_(basis.biases(column, seed) * promise.bias_variance**0.5 if promise.bias_variance else 0 * bias)


def _biases(module: nn.Module, weight: str) -> list[nn.Parameter]:
    """The biases of the module that holds this weight."""
    owner = module.get_submodule(weight.rpartition(".")[0])
    return [own for name, own in owner.named_parameters(recurse=False) if "bias" in name and own.dim() == 1]


def _parts_first(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """In the order of `nn.Module.apply`: what a whole sets of its parts stands."""
    named = dict(module.named_modules())
    for name in sorted(named, key=lambda name: -name.count(".") if name else 1):
        yield name, named[name]
