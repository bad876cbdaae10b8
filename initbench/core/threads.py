"""How many threads small arrays are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Only the calling one, in torch and in numpy's products: a context, or a decorator.

    Small arrays are done sooner than threads are woken.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _loaded().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _loaded() -> ThreadpoolController:
    """The libraries of this process, looked for once: numpy's is among them from the start."""
    return ThreadpoolController()
