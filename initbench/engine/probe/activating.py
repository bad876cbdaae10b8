"""Which activation a layer's output goes to, and where it goes to what no theory follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from initbench.activations import Activation
from initbench.engine.probe import signals
from initbench.engine.probe.elementwise import NAMED, OTHERS, PRODUCTS, Elementwise, Z, composed, plain, unknown
from initbench.engine.probe.functions import CARRIERS, POOLS, square
from initbench.engine.probe.marks import Mark, Marks, Root, Row
from initbench.engine.probe.nested import first_floating, mapped, tensors
from initbench.engine.probe.nonlinearity import activation_of

BY_HAND = "by hand"
"""In place of the name of a normalization."""
GATED = "its output is multiplied or divided by another signal: no variance is known to keep that"
UNSEEN = "what takes its output is no function of torch: no variance is known to keep that"


class Activating:
    """Finds the activations of the rows that `marks` tell of.

    One that meets a layer's output is its activation, and so is what is made of several forms of that output. All else
    (a square may be no more than a statistic) is when another layer takes it.
    """

    def __init__(self, marks: Marks, measuring: bool) -> None:
        self.found: dict[str, Activation] = {}
        self._marks, self._measuring = marks, measuring
        self._known: dict[str, Activation | None] = {}

    def apply(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """What the call returns, alone in a list, if it works value by value on one tensor; else nothing."""
        name, operands = plain(function), [*args, *kwargs.values()]
        given = {id(each): each for each in tensors(operands) if each in self._marks}
        marks = {number: self._marks.of(each) for number, each in given.items()}
        roots = {id(mark.root): mark.root for mark in marks.values()}
        if name not in NAMED | OTHERS or len(roots) != 1 or not given.keys() <= set(map(id, operands)):
            return []
        (root,), shapes = roots.values(), {each.shape for each in given.values()}
        made = composed(function, args, kwargs, {number: mark.made for number, mark in marks.items()})
        counts = not made.is_linear and (name in NAMED or len(given) > 1) and self._is_more(root, made)
        flat = self._flat(root, made, given, marks) if counts else {}  # before it is overwritten
        result = function(*args, **kwargs)
        if name in PRODUCTS and len(given) > 1 and any(mark.made.is_statistic for mark in marks.values()):
            root, made, counts = self._normalized(root.rows), Z, False
        elif not isinstance(result, Tensor) or {result.shape} != shapes:  # torch.max may work along an axis
            made, counts = unknown(name, made), False
        self._marks.put(result, replace(self._marks.after(marks.values()), root=root, made=made))
        if counts:
            self._find(root, made, result, flat)
        return [result]

    def multiply(self, function: Callable[..., Any], args: Sequence[Any]) -> None:
        """Tell the layers whose outputs this call multiplies with each other: a gate is no activation."""
        marks = [self._marks.of(each) for each in args if each in self._marks]
        if self._is_product(function, marks) and not any(mark.made.is_statistic for mark in marks):
            for row in (row for mark in marks for row in mark.root.rows):
                row.unclear = row.unclear or GATED

    @staticmethod
    def _is_product(function: Callable[..., Any], marks: Sequence[Mark]) -> bool:
        return plain(function) in PRODUCTS and len(marks) == 2 and min(mark.depth for mark in marks) > 0

    @staticmethod
    def _normalized(rows: tuple[Row, ...]) -> Root:
        """What divides by a statistic of itself normalizes these."""
        for row in rows:
            row.known["normalized_by"] = row.known["normalized_by"] or BY_HAND
        return Root(behind=rows)

    def passed(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> tuple[Root, Elementwise]:
        """Of what any other call has made: the tensor to look back at, and what of its values this is."""
        name, given = getattr(function, "__name__", ""), self._marks.among([args, kwargs])
        if name in CARRIERS:
            mark = self._marks.of(args[0] if args else None)
            return mark.root, mark.made
        if self._is_product(function, given) and any(mark.made.is_statistic for mark in given):
            return self._normalized(tuple(row for mark in given for row in mark.root.rows)), Z
        if name in POOLS or (len(given) == 1 and self._is_affine(function, args, kwargs, result)):
            further = next((mark for mark in given if not self._is_told(mark)), None)
            if further is None:
                for row in (row for mark in given if not mark.made.is_linear for row in mark.root.rows):
                    row.leads = True  # its activation's values are pooled: what follows does not show
                return Root(behind=tuple(row for mark in given for row in mark.rows)), Z
            return further.root, unknown(plain(function), further.made)
        if len(given) == 1:
            return given[0].root, unknown(plain(function), given[0].made)
        self.take([args, kwargs])
        return Root(), Z

    def take(self, things: Any, scaled: bool = False, out: bool = False) -> None:
        """A layer, or what is like one, takes these tensors, or they go `out`; a layer takes them with their factors.

        Those of what is summed, or goes out, are not for weights to make up for.
        """
        for tensor in tensors(things):
            mark = self._marks.of(tensor)
            for row in mark.root.rows:
                row.taken, row.leads = True, row.leads or not out
            if not self._is_told(mark, scaled) and self._is_more(mark.root, mark.made):
                self._find(mark.root, mark.made, tensor, {})

    def _is_told(self, mark: Mark, scaled: bool = False) -> bool:
        made, told = mark.made, {Z.spec, mark.root.activation}
        return not mark.root.rows or made.spec in told or (made.core in told and not scaled)

    def _is_more(self, root: Root, made: Elementwise) -> bool:
        """Whether this is the first that is made of a layer's output, or is made of the first."""
        return bool(root.rows) and (not root.activation or (made.phi is not None and root.activation in made.parts))

    def _find(self, root: Root, made: Elementwise, a: Tensor, flat: signals.Numbers) -> None:
        """`made` is the activation of the root's rows; where it meets a layer's output itself, it is measured."""
        activation = self._activation(made)
        spec = activation.spec if activation else made.spec
        if activation:
            self.found[spec] = activation
        root.activation = made.spec
        for row in (row for row in root.rows if row.activated in (None, root)):
            row.activated, row.known["activation"] = root, spec
        own = root.row
        if self._measuring and own and own.activated is root and a.numel() == own.known["elements"]:
            own.known = {name: value for name, value in own.known.items() if name not in signals.FLAT}
            own.known |= flat | signals.moments(a, "a", own.batch)
            if a.requires_grad:
                a.register_hook(partial(self._on_gradient, root, made.spec))

    @staticmethod
    def _on_gradient(root: Root, spec: str, grad: Tensor) -> None:
        if root.activation == spec and root.row:  # nothing more was made of it
            root.row.known["grad_a_second_moment"] = square(grad)

    def _flat(
        self, root: Root, made: Elementwise, given: Mapping[int, Tensor], marks: Mapping[int, Mark]
    ) -> signals.Numbers:
        """How much of the root is flat, where it is at hand."""
        z = next((each for number, each in given.items() if marks[number].made is Z), None)
        activation = self._activation(made)
        if not (self._measuring and root.row and root.row.activated in (None, root)) or z is None or activation is None:
            return {}
        with saved_tensors_hooks(_as_it_is, _as_it_is):  # a checkpoint counts what is saved within it
            return signals.flatness(z, activation, root.row.form.channels)

    def _activation(self, made: Elementwise) -> Activation | None:
        if made.spec not in self._known:
            self._known[made.spec] = activation_of(made)
        return self._known[made.spec]

    def _is_affine(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> bool:
        """Whether f(x) - f(0) = -2 (f(-x/2) - f(0)) here, as for an interpolation and not for a softmax."""
        (x, *_), name = [each for each in tensors([args, kwargs]) if each in self._marks], plain(function)
        if not self._marks.of(x).root.rows or not x.is_floating_point() or function.__name__ == f"{name}_":
            return False

        def of(other: Tensor) -> Tensor | None:
            given = mapped([[*args], {**kwargs}], lambda each: other if each is x else each)
            return first_floating(function(*given[0], **given[1]))

        try:
            with torch.no_grad(), torch.random.fork_rng([x.device.index] if x.is_cuda else []):
                whole, none, half = first_floating(result), of(torch.zeros_like(x)), of(x / -2)
                if whole is None or none is None or half is None:
                    return False
                size = float((whole - none).abs().max())
                return float((whole - none + 2 * (half - none)).abs().max()) <= torch.finfo(x.dtype).eps ** 0.5 * size
        except Exception:  # whatever it is, it does not take other values
            return False


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor
