"""A plain function as an entry: its first parameter is what it works on, the others are those of the spec.

``def mine(tensor, generator=None, scale=2.0)`` is written ``mine`` or ``mine(scale=3)``.
"""

from __future__ import annotations

import functools
import inspect
import keyword
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter
from typing import Any, TypeVar

from initbench.core.catalogue import Catalogue
from initbench.core.errors import require
from initbench.core.plugins import blamed, defined_at

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
WORDS: dict[Any, type] = {kind: kind for kind in (bool, int, float, str)} | {
    kind.__name__: kind for kind in (bool, int, float, str)
}
"""Annotations, as they are or as text, that a spec string can hold a value of."""
NUMBER: Any = int | float


def register(
    catalogue: Catalogue[T],
    function: F,
    name: str,
    build: Callable[[str, F, dict[str, Any]], T],
    kind: type[T],
    leading: int | None = None,
    apart: Collection[str] = (),
    about: Mapping[str, Any] | None = None,
) -> F:
    """Add `function` to `catalogue` and give it back.

    An entry is made by ``build(name, function, arguments of the spec)``, which do not hold the function's `leading`
    parameters, nor those named in `apart`. Where `leading` is None that is the first, of a plain function; any other
    function is a factory itself. Raises `UsageError` for a name that no spec string can hold, or that is taken.
    """
    name = name or getattr(function, "__name__", "")
    is_name = name.isidentifier() and not keyword.iskeyword(name)
    require(is_name, f"{catalogue.kind} '{name}': a name has letters, digits and underscores; give name=...")
    parameters = _parameters(function)
    if leading is None and not is_plain(parameters):
        build = lambda _name, itself, given: itself(**given)  # noqa: E731
    skipped = is_plain(parameters) if leading is None else leading
    kept = [p for p in parameters[skipped:] if p.name not in apart and _kind(p) is not None]
    defaults = {p.name: p.default for p in kept if p.default is not Parameter.empty}
    what = f"{catalogue.kind} '{name}'"

    @functools.wraps(function, updated=())
    def factory(**given: Any) -> T:
        with blamed(what, function):
            made = build(name, function, {**defaults, **given})
        returned = f"{what}{defined_at(function)} returned {type(made).__name__}"
        require(isinstance(made, kind), f"{returned}, not {kind.__name__}")
        return made

    shown: Any = factory
    shown.__signature__ = inspect.Signature([p.replace(kind=Parameter.POSITIONAL_OR_KEYWORD) for p in kept])
    shown.__annotations__ = {p.name: _kind(p) for p in kept}
    first = (inspect.getdoc(function) or "").partition("\n")[0]
    catalogue.register(name, **{"summary": first, **{key: value for key, value in (about or {}).items() if value}})(
        factory
    )
    return function


def is_plain(parameters: list[Parameter]) -> bool:
    """Whether the first parameter is what a function works on: without a default, and no number."""
    return bool(parameters) and parameters[0].default is Parameter.empty and parameters[0].annotation not in WORDS


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    try:
        found = list(inspect.signature(function).parameters.values())
    except ValueError:  # compiled, such as torch.tanh: a function of one tensor
        return [Parameter("z", Parameter.POSITIONAL_ONLY)]
    return [p for p in found if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)]


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether it has a parameter of this name."""
    return any(p.name == name for p in _parameters(function))


def _kind(parameter: Parameter) -> Any:
    """What its values in a spec are; None where a spec can hold none. A whole number as default is any number."""
    if parameter.annotation in WORDS:
        return WORDS[parameter.annotation]
    if parameter.default is Parameter.empty:
        return NUMBER
    kind = WORDS.get(type(parameter.default))
    return NUMBER if kind is int else kind
