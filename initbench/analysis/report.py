"""All figures of a results folder."""

from __future__ import annotations

from pathlib import Path

from initbench.analysis.results import Results


def draw_all(results: Results, folder: Path) -> list[Path]:
    return []
