"""Figures, one a file: ``summary(frames) -> frame`` does all computing, ``draw(summary) -> Figure`` none.

`style` is common to all. A figure is kept with `save`, and never without the numbers that it draws.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

DOTS_PER_INCH = 150


def save(figure: Figure, summary: pd.DataFrame, folder: Path, name: str) -> Path:
    """Write ``NAME.csv``, the numbers drawn, and then ``NAME.png``; the image's path.

    Each file is there whole or not at all, whatever ends the process. `folder` is made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{name}.csv", lambda path: summary.to_csv(path, index=False))
    return _write(folder / f"{name}.png", lambda path: figure.savefig(path, format="png", dpi=DOTS_PER_INCH))


def _write(target: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a file beside `target`, then put it in its place in one step."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        write(draft)
        return draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
