"""Catalogues: names -> entries, with spec strings, aliases and "did you mean".

A *spec string* is ``name`` or ``name(key=value, ...)``: ``he_normal``, ``normal(std=0.01)``,
``variance_scaling(scale=2, mode=fan_out)``. Its canonical form names the entry itself (never an alias) and only
the parameters that differ from their defaults, so equal things have equal names in every table.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import keyword
import math
import reprlib
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from initbench.core import plugins
from initbench.core.errors import UsageError

T = TypeVar("T")

LONGEST_SPEC = 200
LARGEST_NUMBER = 1e100
"""Parameters are squared: twice this exponent still fits float64."""


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One named thing: how to make it, and what `initbench show` says of it."""

    name: str
    factory: Callable[..., T]
    summary: str
    formula: str = ""
    source: str = ""
    aliases: tuple[str, ...] = ()
    default: bool = False
    """Whether commands use it when the user names none."""
    origin: plugins.Origin | None = None
    """Of a plug-in; None for the package's own."""

    @property
    def signature(self) -> str:
        """The spec with every parameter: ``normal(std=1.0)``."""
        parameters = inspect.signature(self.factory).parameters.values()
        listed = [p.name if p.default is p.empty else f"{p.name}={_written(p.default)}" for p in parameters]
        return f"{self.name}({', '.join(listed)})" if listed else self.name

    @property
    def complete(self) -> bool:
        """Whether the name alone is a spec: no parameter must be given."""
        return all(p.default is not p.empty for p in inspect.signature(self.factory).parameters.values())


class Catalogue(Generic[T]):
    """An ordered table of entries of one kind, filled by `register` where each entry is defined.

    What installed packages offer under the entry points `group` is looked for when all entries are asked for, or one
    that is not here.
    """

    def __init__(self, kind: str, group: str = "") -> None:
        self.kind = kind
        self._group = group
        self._entries: dict[str, Entry[T]] = {}
        self._names: dict[str, str] = {}  # names and aliases -> names
        self._made: dict[str, T] = {}

    def register(self, name: str, *, aliases: tuple[str, ...] = (), **about: Any) -> Callable[[Callable[..., T]], Any]:
        """Decorate the factory of a new entry. `about` fills the fields of `Entry`.

        A plug-in's file, or a cell of a notebook, that runs again replaces what it registered before.
        """

        def add(factory: Callable[..., T]) -> Callable[..., T]:
            given = {"origin": plugins.origin_of(factory), **about}
            entry = Entry(name=name, factory=factory, aliases=aliases, **given)
            before = self._entries.get(name)
            if before and before.origin and entry.origin and entry.origin.again(before.origin):
                self._forget(before)
            for word in (name, *aliases):
                if word in self._names:
                    raise UsageError(f"{self.kind} '{word}' is registered twice; give another name")
                self._names[word] = name
            self._entries[name] = entry
            return factory

        return add

    def _forget(self, entry: Entry[T]) -> None:
        self._names = {word: name for word, name in self._names.items() if name != entry.name}
        words = (entry.name, *entry.aliases)
        self._made = {spec: made for spec, made in self._made.items() if spec.partition("(")[0].strip() not in words}

    def _look_further(self) -> None:
        """Load what installed packages offer, once."""
        group, self._group = self._group, ""
        if group:
            plugins.load_installed(group)

    def __iter__(self) -> Iterator[Entry[T]]:
        self._look_further()
        return iter(self._entries.values())

    def __contains__(self, name: str) -> bool:
        if name not in self._names:
            self._look_further()
        return name in self._names

    @property
    def defaults(self) -> list[str]:
        """The names that commands use when the user gives none."""
        return [entry.name for entry in self._entries.values() if entry.default]

    def entry(self, name: str) -> Entry[T]:
        """The entry called `name`, by name or alias; raises `UsageError` with the closest matches."""
        if name not in self:
            raise UsageError(f"unknown {self.kind} '{name}'{did_you_mean(name, self._names)}")
        return self._entries[self._names[name]]

    def canonical(self, spec: str) -> str:
        """`spec` in the one form that tables hold."""
        entry, arguments = self._parse(spec)
        parameters = inspect.signature(entry.factory).parameters
        told = [f"{key}={_written(value)}" for key, value in arguments.items() if value != parameters[key].default]
        return f"{entry.name}({', '.join(told)})" if told else entry.name

    def make(self, spec: str) -> T:
        """The thing that `spec` names, carrying its canonical spec in its field ``spec``; one object for one spec."""
        if isinstance(spec, str) and spec in self._made:  # whatever else a study file may say is told by `_split`
            return self._made[spec]
        entry, arguments = self._parse(spec)
        canonical = self.canonical(spec)
        if canonical not in self._made:
            made: Any = entry.factory(**arguments)
            self._made[canonical] = dataclasses.replace(made, spec=canonical)
        return self._made[canonical]

    def arguments(self, spec: str) -> dict[str, Any]:
        """Every parameter of `spec`, those left out at their defaults, and its ``name``."""
        entry, given = self._parse(spec)
        parameters = inspect.signature(entry.factory).parameters.values()
        return {"name": entry.name, **{p.name: given.get(p.name, p.default) for p in parameters}}

    def _parse(self, spec: str) -> tuple[Entry[T], dict[str, Any]]:
        name, positional, keywords = _split(spec, self.kind)
        entry = self.entry(name)
        try:
            bound = inspect.signature(entry.factory).bind(*positional, **keywords)
        except TypeError as error:
            unknown = [key for key in keywords if key not in inspect.signature(entry.factory).parameters]
            known = list(inspect.signature(entry.factory).parameters)
            hint = did_you_mean(unknown[0], known) if unknown and known else ""
            raise UsageError(f"{self.kind} '{spec}': {error}; it is written {entry.signature}{hint}") from None
        return entry, {key: self._checked(entry, spec, key, value) for key, value in bound.arguments.items()}

    def _checked(self, entry: Entry[T], spec: str, key: str, value: Any) -> Any:
        """`value`, if it is of the kind that the factory's annotation of `key` names."""
        wanted = inspect.get_annotations(entry.factory, eval_str=True).get(key, object)
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) <= LARGEST_NUMBER else math.inf
        if isinstance(value, (int, float)) and not abs(value) <= LARGEST_NUMBER:
            raise UsageError(f"{self.kind} '{spec}': {key} is too large a number; at most {LARGEST_NUMBER:g}")
        if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
            kind = {int: "a whole number", bool: "true or false", str: "a word"}.get(wanted, "a number")
            raise UsageError(f"{self.kind} '{spec}': {key} must be {kind}, not {_written(value)}")
        return value


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """``; did you mean 'x'?`` with the closest of `known`, or those that begin so; else `otherwise`, or all of them."""
    known, word = list(known), word.lower()
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.65)
    near = near or [name for name in known if word and name.startswith(word)][:2]
    if near:
        return f"; did you mean {' or '.join(repr(name) for name in near)}?"
    return f"; {otherwise or 'accepted: ' + ', '.join(known)}"


def require_known(given: Iterable[str], known: Iterable[str], what: str = "key") -> None:
    """Raises `UsageError` for the first of `given` that is none of `known`."""
    known = list(known)
    for name in given:
        if name not in known:
            raise UsageError(f"unknown {what} '{name}'{did_you_mean(name, known)}")


def _split(spec: Any, kind: str) -> tuple[str, list[Any], dict[str, Any]]:
    """``name(1, key=value)`` -> name, positional values, keyword values. Python's own parser reads it; nothing runs."""
    if not isinstance(spec, str):
        raise UsageError(f"{kind}: a name, or name(key=value, ...), not {reprlib.repr(spec)}")
    complaint = f"cannot read the {kind} '{_shortened(spec)}'; write name or name(key=value, ...)"
    if len(spec) > LONGEST_SPEC:
        raise UsageError(f"the {kind} '{_shortened(spec)}' has {len(spec):,} letters; at most {LONGEST_SPEC} are read")
    try:
        with warnings.catch_warnings(action="ignore"):  # Python's own advice on odd code, such as 1if 2else 3
            node = ast.parse(spec.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(complaint) from None
    if isinstance(node, ast.Name):
        return node.id, [], {}
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise UsageError(complaint)
    try:
        keywords = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords if keyword.arg}
        if len(keywords) != len(node.keywords):
            raise ValueError
        return node.func.id, [_value(argument) for argument in node.args], keywords
    except (ValueError, RecursionError):
        raise UsageError(complaint) from None


def _value(node: ast.expr) -> Any:
    """A number, a truth value, a bare word, or any text in quotes."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False}.get(node.id, node.id)
    value = ast.literal_eval(node)
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError
    return value


def _written(value: Any) -> str:
    """`value` as a spec string writes it: the shortest that reads back as the same."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not _is_word(value):
        return repr(value)  # a path, say
    return f"{value:.15g}" if isinstance(value, float) and float(f"{value:.15g}") == value else str(value)


def _is_word(text: str) -> bool:
    """Whether `text` without quotes reads back as itself. Python reads names in normal form: a script H as H."""
    is_name = text.isidentifier() and not keyword.iskeyword(text)
    return is_name and text not in ("true", "false") and unicodedata.normalize("NFKC", text) == text


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
