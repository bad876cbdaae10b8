"""Where to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from initbench.core.errors import UsageError


def resolve(name: str) -> torch.device:
    """`auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`. Raises `UsageError` for any other."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device '{name}'; accepted: auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device '{name}' is not supported; accepted: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() or "no"
        raise UsageError(f"device '{name}' is not here: torch sees {found} CUDA devices; try --device cpu")
    return device


def describe(device: torch.device) -> str:
    """The device's own name, for the manifest."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


WORTH_THREADS = 4e7
"""Multiply-adds of a step below which one thread is as fast as two: the others would only be waited for, and wherever
another process shares the cores that wait is long (measured: 9 times as slow)."""


@contextmanager
def threads_for(multiply_adds: float) -> Iterator[None]:
    """One thread of torch for steps of so little work; all of them as before for others."""
    before = torch.get_num_threads()
    if multiply_adds < WORTH_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
