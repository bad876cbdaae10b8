"""Where numbers come from: versions, commit, device, times."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from initbench.core.catalogue import Catalogue
from initbench.engine import device as devices
from initbench.engine.tuning import processor

PACKAGES = ("initbench", "torch", "numpy", "scipy", "pandas")


def versions() -> dict[str, str]:
    """What decides the numbers, beside the study itself."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def plugins(used: Mapping[Catalogue[Any], Iterable[str]]) -> dict[str, dict[str, str]]:
    """``plugins``: a hash of the code of each entry that these specs use and a plug-in made; nothing where none did."""
    entries = [(catalogue, catalogue.entry(spec.partition("(")[0].strip()))
               for catalogue, specs in used.items() for spec in specs]  # fmt: skip
    found = {f"{catalogue.kind} {entry.name}": entry.origin.fingerprint for catalogue, entry in entries if entry.origin}
    return {"plugins": found} if found else {}


def commit() -> str | None:
    """The commit of the checkout that initbench runs from, with ``+`` if it was changed; None outside one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        here = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return here + ("+" if changed.stdout.strip() else "")


class Told:
    """What a manifest says of one run, from when this is made."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._processor, self._threads = device, processor(), torch.get_num_threads()
        self._started, self._clock = datetime.now(UTC), time.monotonic()

    def now(self) -> dict[str, Any]:
        """Versions, commit, device, processor, torch's threads, and the times up to now."""
        return {
            "versions": versions(),
            "commit": commit(),
            "device": devices.describe(self._device),
            "processor": self._processor,
            "threads": self._threads,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._clock, 3),
        }
