"""The two ways in which a command can end badly, each with its exit code."""

from __future__ import annotations

from typing import Any

MEMORY_WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)
"""By which torch says in a plain RuntimeError that memory ran out; the last words of others may sound alike."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, by the error's type (torch's by its name) or, where that is general, by its words."""
    by_type = isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return by_type or (isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY_WORDS))


class InitbenchError(Exception):
    """A message for the user: what was given, what is accepted, what to try."""

    exit_code = 1


class UsageError(InitbenchError, ValueError):
    """The request itself is wrong; nothing was started."""

    exit_code = 2


class WorkError(InitbenchError, RuntimeError):
    """The request was right and the work could not be done."""

    exit_code = 1


class DamagedError(WorkError):
    """A file's content is not what was written."""


def complaint(error: Any) -> str:
    """The first thing that pydantic's `ValidationError` says, in one line: where, and what."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def require(condition: bool, message: str) -> None:
    """Raises `UsageError` unless `condition`: a parameter's range, told in one line."""
    if not condition:
        raise UsageError(message)
