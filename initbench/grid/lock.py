"""One process at a time works in a folder, and tells who it is."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from initbench.core.errors import WorkError
from initbench.core.files import write_text

LOCK, OWNER = ".lock", ".owner"
PATIENCE = 2.0
"""Seconds for the one that is in to say who it is: it has the lock a moment earlier."""


class Lock:
    """Keeps other processes out of a folder while it is entered; the system frees it when the process dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / LOCK, timeout=0)
        self._mine = ""

    def __enter__(self) -> Lock:
        """Raises `WorkError`, with the other's process, host and time, where another is in."""
        until = time.monotonic() + PATIENCE
        while not self._is_acquired():
            if (other := _owner(self._folder)) or time.monotonic() > until:
                told = f"{other or 'another process'} is at work in {self._folder}"
                raise WorkError(f"{told}; wait for it, or give another --out")
            time.sleep(0.01)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        told = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since})
        try:
            write_text(self._folder / OWNER, told)
        except BaseException:
            self._lock.release()
            raise
        self._mine = told
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_held():
            (self._folder / OWNER).unlink()
        self._mine = ""
        self._lock.release()

    def require(self) -> None:
        """Raises `WorkError` where the folder was removed while this process worked in it, or is another's by now."""
        if self._mine and not self._is_held():
            raise WorkError(
                f"{self._folder} was removed or replaced while this process worked in it; run the same command again"
            )

    def _is_acquired(self) -> bool:
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def _is_held(self) -> bool:
        return bool(self._mine) and _read(self._folder) == self._mine


def _read(folder: Path) -> str:
    try:
        return (folder / OWNER).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _owner(folder: Path) -> str:
    """Who is in the folder; empty where it has not said so yet, and only one that died before it has."""
    try:
        told = json.loads(_read(folder))
        number, host, since = int(told["process"]), str(told["host"]), str(told["since"])
    except (ValueError, KeyError, TypeError):
        return ""
    is_dead = host == socket.gethostname() and not _is_alive(number)
    return "" if is_dead else f"process {number} on {host} since {since}"


def _is_alive(number: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True
