"""Signals that end the work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, as a scheduler or a container sends it, raises `KeyboardInterrupt` as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other set a handler
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        exec("")  # CPython dies of SIGINT at its end if an interrupt left an exec of text; another exec undoes that
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
