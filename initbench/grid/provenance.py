"""Where numbers come from: versions, commit, device, times."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("initbench", "torch", "numpy", "scipy", "pandas")


def versions() -> dict[str, str]:
    """What decides the numbers, beside the study itself."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def commit() -> str | None:
    """The commit of the checkout that initbench runs from, with ``+`` if it was changed; None outside one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        here = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return here + ("+" if changed.stdout.strip() else "")
