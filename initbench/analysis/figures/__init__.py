"""Figures, one a file: ``summary(frames) -> frame`` does all computing, ``draw(summary) -> Figure`` none.

`style` is common to all. A figure is kept with `save`, and never without the numbers that it draws.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from initbench.core.files import write_whole

DOTS_PER_INCH = 150


def save(figure: Figure, summary: pd.DataFrame, folder: Path, name: str) -> Path:
    """Write ``NAME.csv``, the numbers drawn, and then ``NAME.png``; the image's path.

    Each file is there whole or not at all, whatever ends the process. `folder` is made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.csv", lambda path: summary.to_csv(path, index=False))
    return write_whole(folder / f"{name}.png", lambda path: figure.savefig(path, format="png", dpi=DOTS_PER_INCH))
