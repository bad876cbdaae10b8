"""Tensors inside what modules take and return: tuples, lists, mappings, data classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors(thing: Any) -> Iterator[Tensor]:
    """All tensors in it, first to last."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for value in thing.values():
            yield from tensors(value)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from tensors(value)
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        for each in dataclasses.fields(thing):
            yield from tensors(getattr(thing, each.name))


def first_floating(thing: Any) -> Tensor | None:
    """The first tensor of real numbers in it."""
    return next((tensor for tensor in tensors(thing) if tensor.is_floating_point()), None)


def mapped(thing: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same, with `change` done to every tensor in tuples, lists and dictionaries."""
    if isinstance(thing, Tensor):
        return change(thing)
    if isinstance(thing, Mapping):
        return {key: mapped(value, change) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        values = [mapped(value, change) for value in thing]
        return type(thing)(*values) if hasattr(thing, "_fields") else type(thing)(values)
    return thing
