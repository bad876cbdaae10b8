"""What was found fastest on this machine, kept in the user's cache folder by processor and torch version."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from initbench.core.errors import WorkError
from initbench.core.files import make_folder, write_text
from initbench.engine import products


@dataclass(frozen=True)
class Tuning:
    """Choices that change a result by rounding alone, and the time by a lot."""

    forward: str = "batched"
    """The routine of `initbench.engine.products` for minibatches."""
    gradient: str = "batched"
    evaluation: str = "batched"
    """The routine for the large batches of evaluation."""
    stack: int = 32
    """Networks like the cell of reference that are trained at once on one core, or a few more or fewer."""

    @classmethod
    def told(cls, told: Any) -> Tuning | None:
        """The tuning that a file tells, None if it tells none that this program knows."""
        try:
            tuning = cls(**told)
            known = {tuning.forward, tuning.gradient, tuning.evaluation} <= set(products.ROUTINES)
            return tuning if known and type(tuning.stack) is int and tuning.stack > 0 else None
        except (TypeError, AttributeError):
            return None


UNTUNED = Tuning()


def kept(measure: Callable[[], Tuning]) -> Tuning:
    """What the cache folder knows of this machine; where it knows nothing, what `measure` finds, kept from now on."""
    path = cache_folder() / "tuning.json"
    told = _read(path)
    if known := Tuning.told(told.get(machine())):
        return known
    found = measure()
    text = json.dumps({**told, machine(): asdict(found)}, indent=2) + "\n"
    with contextlib.suppress(WorkError):  # where nothing can be written, it is measured again next time
        make_folder(path.parent)
        write_text(path, text)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def cache_folder() -> Path:
    """The user's folder for what can be found again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "initbench"


def machine() -> str:
    """Processor, cores and torch: what the fastest way depends on."""
    return f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}"


def processor() -> str:
    """The processor's name, and the widest vectors that torch uses on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} {torch.backends.cpu.get_cpu_capability()}"
