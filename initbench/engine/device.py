"""Where to compute."""

from __future__ import annotations

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


def memory(device: torch.device) -> int:
    """Bytes that the stacks under way there may take: on a CPU few, so that other work fits beside it; half a GPU's."""
    return 2**30 if device.type == "cpu" else torch.cuda.get_device_properties(device).total_memory // 2


def workers(device: torch.device) -> int:
    """How many stacks are worth training beside each other there: one a core, or one on a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1
