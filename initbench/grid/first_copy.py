"""The process of which those that train are copies: it loads torch, and does nothing.

Light to import: a command begins it before it loads torch itself, on another core, and need not wait for it later.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver

POSSIBLE = "forkserver" in multiprocessing.get_all_start_methods()
METHOD = "forkserver" if POSSIBLE else "spawn"
"""How workers begin: as copies of that process, where the system can; else each loads torch."""
LOADED = ["initbench.grid.at_work", "torch._dynamo"]
"""By that process, once for all: optimizers of torch load the latter when one is made, which takes seconds."""

_begun = False


def begin() -> None:
    """Let it begin, unless it has: it loads while the caller goes on."""
    global _begun
    if not POSSIBLE:
        return
    forkserver.set_forkserver_preload(LOADED)
    with _deaf(signal.SIGINT):  # as its copies then are, from their first moment
        forkserver.ensure_running()
    _begun = True


def is_begun() -> bool:
    """Whether workers take no seconds to begin."""
    return _begun


@contextmanager
def _deaf(to: signal.Signals) -> Iterator[None]:
    """A process that begins meanwhile ignores the signal, and leaves the judgement to this one."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other set a handler
        yield
        return
    before = signal.signal(to, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(to, before)
