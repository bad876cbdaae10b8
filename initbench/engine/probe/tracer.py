"""Follows a module's forward pass call by call: a row for each layer and each sum, and hooks for the way back.

Calls are seen by a mode of torch's, so modules and plain functions are alike, and tensors are known by identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initbench.activations import Activation
from initbench.core.errors import WorkError
from initbench.engine.probe import signals
from initbench.engine.probe.activating import UNSEEN, Activating
from initbench.engine.probe.copies import in_wide
from initbench.engine.probe.functions import AVERAGES, FRESH, LAYERS, SUMS, Call, Form, square
from initbench.engine.probe.marks import Mark, Marks, Root, Row
from initbench.engine.probe.names import Names
from initbench.engine.probe.nested import first_floating, mapped, tensors

SUM = Form("residual sum", ("trunk", "branch"), "sum")
UNKNOWN = Form("", (), "other", note="a layer that theory does not know")
NO_GRADIENT = "ran without a graph (no_grad, or a checkpoint that recomputes): no gradient is seen"


class Tracer(TorchFunctionMode):
    """The rows of one forward pass of `module`, in order.

    `frozen` are the names of the parameters that no gradient is asked of. Unless `measuring`, rows say only what the
    layers are. `double` is whether all runs in float64.
    """

    def __init__(self, module: nn.Module, frozen: Set[str], measuring: bool = True, double: bool = False) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self._module, self._frozen, self._measuring = module, frozen, measuring
        self._names, self._double = Names(module), double
        self._marks = Marks()
        self._activating = Activating(self._marks, measuring)
        self._inside: list[tuple[str, nn.Module, int]] = []
        self._calls: dict[tuple[str, str], int] = {}
        self._listening = False

    @property
    def activations(self) -> dict[str, Activation]:
        """Those that were found, by their specs."""
        return self._activating.found

    @contextmanager
    def listening(self, batch: Any) -> Iterator[None]:
        """In the block, calls are followed; those made later (by a checkpoint, on the way back) are not."""
        self._marks.put(batch, Mark())
        for name, part in self._module.named_modules():
            part.register_forward_pre_hook(self._entering(name))
            part.register_forward_hook(self._leaving, with_kwargs=True)
        self._listening = True
        try:
            with self:
                yield
        finally:
            self._listening = False

    def finish(self, returned: Any) -> None:
        """Tell every row how many places are averaged over behind it, on the way to the output that counts."""
        self._activating.take(returned, out=True)
        output = first_floating(returned)
        for row, places in zip(self.rows, self._marks.averaged(output, len(self.rows)), strict=True):
            row.known["averaged"] = places
            if not (row.taken or row.known["activation"]):
                row.unclear = row.unclear or UNSEEN

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        if not self._listening:
            return function(*args, **kwargs)
        function, args, kwargs = in_wide(function, args, kwargs, self._double)
        if name in LAYERS and (call := LAYERS[name].read(args, kwargs, self._names.parameters)) and self._of_own(call):
            return self._layer(call, function, args, kwargs)
        given = self._marks.among([*args, *kwargs.values()])
        if not given or name in FRESH:
            return function(*args, **kwargs)
        if applied := self._activating.apply(function, args, kwargs):
            return applied[0]
        if name in SUMS and not kwargs and self._is_sum(args):
            return self._sum(function, args, kwargs)
        self._activating.multiply(function, args)
        result = function(*args, **kwargs)
        self._pass_on(function, args, kwargs, given, result)
        return result

    def _pass_on(self, function: Callable[..., Any], args: Any, kwargs: Any, given: list[Mark], result: Any) -> None:
        made, before = first_floating(result), args[0] if args else None
        if made is None:
            self._marks.put(result, max(given, key=lambda mark: mark.depth))  # whole numbers made of tokens
            return
        root, of_it = self._activating.passed(function, args, kwargs, result)
        mark = replace(self._marks.after(given), made=of_it)
        for number, tensor in enumerate(tensors(result)):
            self._marks.put(tensor, replace(mark, root=replace(root) if number else root))  # halves are apart
        if function.__name__ in AVERAGES and isinstance(before, Tensor) and before.numel() > made.numel() > 0:
            self._marks.average(before.numel() / made.numel(), len(self.rows))

    def _of_own(self, call: Call) -> bool:
        """Whether it has weights of the network's own, or needs none: an activation is no weight."""
        return not any(weight in self._marks for weight in call.weights)

    def _is_sum(self, args: tuple[Any, ...]) -> bool:
        """Whether two activations of one shape are added."""
        one, other = (*args[:2], None, None)[:2]
        if one is other or not (one in self._marks and other in self._marks):
            return False
        passed = self._marks.of(one).depth + self._marks.of(other).depth > 0
        return passed and one.shape == other.shape and one.is_floating_point() and other.is_floating_point()

    def _layer(self, call: Call, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        row, x = self._new(call.form, call.weights, call.form.batch(call.operands)), call.x
        if call.form.role == "weights" and (whole := call.whole_numbers):
            raise WorkError(f"{row.known['module']} takes real numbers and is given {whole}: try batch.float()")
        row.known |= {"role": call.role} | call.shape
        if call.role != call.form.role:
            row.notes.append("running statistics, not the batch's, are taken out")
        if self._measuring:
            row.known |= {"x_second_moment": math.nan if x is None else square(x),
                           "predicted_z_second_moment": call.predicted(), **_weights(call.weights)}  # fmt: skip
        aliases = {id(weight): self._alias(row, weight) for weight in call.weights}
        with_aliases = mapped([[*args], {**kwargs}], lambda tensor: aliases.get(id(tensor), tensor))
        if "sparse" in kwargs:
            with_aliases[1]["sparse"] = False  # a sparse gradient knows no alias
        given, before = self._marks.among([*args, *kwargs.values()]), self._marks.of(x)
        self._activating.take([args, kwargs], scaled=call.form.role == "weights")
        result = function(*with_aliases[0], **with_aliases[1])
        made = self._marks.after(given)
        if call.form.role == "normalization":
            made = replace(made, root=Root(row, before.rows))
        else:
            made = replace(made, layer=", ".join(row.parameters) or made.layer, depth=made.depth + 1, root=Root(row))
        for each in before.rows if call.role == "normalization" else ():
            each.known["normalized_by"] = each.known["normalized_by"] or row.known["module"]
        self._output(row, result, made)
        return result

    def _sum(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        one, other = self._marks.of(args[0]), self._marks.of(args[1])
        swapped = other.depth < one.depth
        branch, row = (one if swapped else other), self._new(SUM, (), 0)
        row.known["branch"] = branch.layer
        if self._measuring:
            squares = [square(args[0]), square(args[1])]
            trunk, added = reversed(squares) if swapped else squares
            row.known |= {"x_second_moment": trunk, "branch_to_trunk": added / trunk if trunk else math.nan,
                           "predicted_z_second_moment": trunk + added}  # fmt: skip
        self._activating.take(args)
        result = function(*args, **kwargs)
        made = self._marks.after([one, other])
        self._output(row, result, replace(made, root=Root(row), depth=made.depth + 1))
        return result

    def _output(self, row: Row, result: Any, mark: Mark) -> None:
        """What `row` put out: its numbers, and its mark."""
        self._marks.put(result, replace(mark, root=Root()))
        if (z := first_floating(result)) is None:
            return
        self._marks.put(z, mark)
        row.known["elements"] = z.numel()
        if self._measuring:
            row.known |= signals.moments(z, "z", row.batch)
            row.known |= signals.likeness(z, row.form.channels, row.batch)
            _on_gradient(z, row, "grad_z_second_moment")
            if not z.requires_grad:
                row.notes.append(NO_GRADIENT)

    def _new(self, form: Form, weights: tuple[Tensor, ...], batch: int) -> Row:
        """A row, under the name of the module that owns the first of its weights, or else in which it runs."""
        here, module, _ = self._inside[-1] if self._inside else ("", self._module, 0)
        name, kind, parameters = self._names.place(form, weights, here, module)
        number = self._calls[name, kind] = self._calls.get((name, kind), 0) + 1
        known = {"module": name, "call": number, "kind": kind, "role": form.role, "branch": ""}
        row = Row(
            known | {"activation": "", "normalized_by": ""},
            form,
            batch,
            tuple(parameters),
            tuple(self._names.all_of(weights[0])) if weights else (),
            [form.note] if form.note else [],
        )
        self.rows.append(row)
        return row

    def _alias(self, row: Row, weight: Tensor) -> Tensor:
        """The weight under another identity, whose gradient is that of this call alone."""
        alias = weight.view_as(weight)
        self._watch(row, weight, alias)
        return alias

    def _watch(self, row: Row, weight: Tensor, alias: Tensor) -> None:
        if not self._frozen.isdisjoint(self._names.all_of(weight)):
            row.notes += [] if "frozen" in row.notes else ["frozen"]
        elif alias.requires_grad and self._measuring:
            alias.register_hook(lambda grad: row.squared_grads.append(square(grad) * grad.numel()))

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, _: Any) -> None:
            self._inside.append((name, module, len(self.rows)))

        return enter

    def _leaving(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Mark what a function unknown to torch has made, and give a layer that theory does not know its row."""
        _, _, rows_before = self._inside.pop()
        if not self._listening:
            return
        self._listening = False
        given, own = self._marks.among([args, kwargs]), tuple(module.parameters(recurse=False))
        if own and next(module.children(), None) is None and len(self.rows) == rows_before:
            row, x = self._new(UNKNOWN, own, 0), first_floating([args, kwargs])
            row.known |= {"x_second_moment": math.nan if x is None else square(x), **_weights(own)}
            for parameter in own:
                self._watch(row, parameter, parameter)
            made = self._marks.after(given)
            self._activating.take([args, kwargs])
            self._output(
                row, output, replace(made, root=Root(row), depth=made.depth + 1, layer=", ".join(row.parameters))
            )
        elif given:
            unmarked = [tensor for tensor in tensors(output) if tensor not in self._marks]
            self._marks.put(unmarked, self._marks.after(given) if unmarked else Mark())
        self._listening = True


def _weights(weights: tuple[Tensor, ...]) -> dict[str, float]:
    """Variance and second moment over all entries."""
    if not weights:
        return {}
    with torch.no_grad():
        sizes = [weight.numel() for weight in weights]
        centred = [square(weight - weight.mean()) for weight in weights]
        told = {"weight_variance": centred, "weight_second_moment": [square(weight) for weight in weights]}
    return {name: sum(s * n for s, n in zip(squares, sizes, strict=True)) / sum(sizes)
            for name, squares in told.items()} | {"weights": sum(sizes)}  # fmt: skip


def _on_gradient(tensor: Tensor, row: Row, column: str) -> None:
    if tensor.requires_grad:
        tensor.register_hook(lambda grad: row.known.__setitem__(column, square(grad)))
