"""Plug-ins: entries of catalogues from a user's file, a package's entry point, or a notebook.

What registers an entry is trusted code: it runs because the user named its file (`--plugin FILE`), installed its
package or typed it. Files of studies never load any.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import marshal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from initbench.core.errors import InitbenchError, UsageError, ran_out_of_memory

MODULES = "initbench_plugin_"
"""Before a file's name: the module that it becomes."""


@dataclass(frozen=True)
class Origin:
    """Where an entry that is not the package's own comes from."""

    path: str
    """Of its file; empty where it has none, as in a notebook."""
    line: int
    fingerprint: str
    """A hash of the file's content, or of the function's text where there is no file."""
    loading: int = 0
    """Which file's loading it was, counted in this process; 0 for none: a script or a notebook."""

    def __str__(self) -> str:
        return f"{self.path or 'this session'}{f', line {self.line}' if self.line else ''}"

    def again(self, before: Origin) -> bool:
        """Whether this is another run of the file, or cell, that the other is from; in one run a name is given once."""
        return self.path == before.path and (self.loading != before.loading or not self.loading)


@dataclass
class _Loading:
    """A file that is being run: what it registers is its own, whoever's code calls."""

    path: Path
    fingerprint: str
    number: int
    registers: bool = False


_under_way: list[_Loading] = []
_numbers = itertools.count(1)


def load(path: Path) -> None:
    """Run the file, which registers its entries. Raises `UsageError`, with file and line, where it does not."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"plug-in {path}: {error.strerror}") from None
    module = ModuleType(MODULES + path.stem)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and annotations look there
    loading = _Loading(path, _hash(content), next(_numbers))
    _under_way.append(loading)
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""  # a null byte is on none
        raise UsageError(f"plug-in {error.filename or path}{line}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise UsageError(f"plug-in {_place(error, str(path))}: {told(error)}") from None
    finally:
        _under_way.pop()
    if not loading.registers:
        raise UsageError(
            f"plug-in {path} registers nothing; decorate a function with @initbench.initializer, .activation, .dataset"
            " or .optimizer"
        )


def load_installed(group: str) -> None:
    """Import what installed packages offer under `group`; each registers its entries by doing so."""
    for point in entry_points(group=group):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            raise UsageError(f"{_named(point)} {_place(error)}: {told(error)}") from None


def _named(point: EntryPoint) -> str:
    package = f" of the package {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"the installed plug-in '{point.value}'{package}:"


def origin_of(factory: Callable[..., Any]) -> Origin | None:
    """Where the factory of a new entry comes from; None for the package's own."""
    own = inspect.unwrap(factory.func if isinstance(factory, partial) else factory)
    if (getattr(own, "__module__", None) or "").partition(".")[0] == "initbench":
        return None
    line = getattr(getattr(own, "__code__", None), "co_firstlineno", 0)
    if _under_way:
        now = _under_way[-1]
        now.registers = True
        return Origin(str(now.path), line, now.fingerprint, now.number)
    try:
        path = Path(inspect.getsourcefile(own) or "")
        if path.is_file():
            return Origin(str(path), line, _hash(path.read_bytes()))
        return Origin("", line, _hash(inspect.getsource(own).encode()))
    except (OSError, TypeError):  # typed at a prompt, or compiled
        code = getattr(own, "__code__", None)
        return Origin("", line, _hash(code.co_code + marshal.dumps(code.co_consts) if code else repr(own).encode()))


def defined_at(function: Callable[..., Any]) -> str:
    """Where a function, or a class, is written, in brackets behind its name; empty where no file is known."""
    own = inspect.unwrap(function)
    code = getattr(getattr(own, "__init__") if isinstance(own, type) else own, "__code__", None)  # noqa: B009
    return f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""


@contextmanager
def blamed(what: str, function: Callable[..., Any]) -> Iterator[None]:
    """Code of a user's in the block: what it raises becomes a `UsageError` of one line that says where.

    Memory that ran out is no fault of its, and stays the error that it is.
    """
    try:
        yield
    except InitbenchError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        code = getattr(inspect.unwrap(function), "__code__", None)
        place = _place(error, code.co_filename, code.co_firstlineno) if code else _place(error)
        raise UsageError(f"{what}: {place}: {told(error)}") from None


def told(error: BaseException) -> str:
    """An error in one line: ours as it is, others with their kind."""
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, InitbenchError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _place(error: BaseException, path: str = "", otherwise: int = 0) -> str:
    """The last line of `path` that the error went through, or `otherwise`; without a path, the last line of all."""
    frames = traceback.extract_tb(error.__traceback__)
    if not path:
        return f"{frames[-1].filename}, line {frames[-1].lineno}"
    return f"{path}, line {next((f.lineno for f in reversed(frames) if f.filename == path), otherwise)}"


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
