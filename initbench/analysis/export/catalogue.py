"""The table that each target's file fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from initbench.analysis.export.parts import Export
from initbench.core.catalogue import Catalogue

Progress = Callable[[int, int], None]
"""Called with the work done and the whole of it."""


@dataclass(frozen=True)
class Target:
    """A format or a tracker that results can be exported to."""

    write: Callable[[Export, Progress], list[str]]
    """Writes what is not there yet, and returns lines that say what is there."""
    needs: tuple[str, ...] = ()
    """Modules of the extra that has the target's name."""
    spec: str = ""


TARGETS: Catalogue[Target] = Catalogue("target")
register = TARGETS.register
