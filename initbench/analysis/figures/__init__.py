"""Figures, one a file: ``summary(frames) -> frame`` does all computing, ``draw(summary) -> Figure`` none.

`style` is common to all. A figure is kept with `save`, and never without the numbers that it draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from initbench.core.files import make_folder, write_whole

PNG = "png"
SETTINGS: dict[Any, Any] = {"pdf.fonttype": 42, "svg.hashsalt": "initbench"}
"""Letters as TrueType, which journals ask for; the same file from the same numbers."""
UNDATED: dict[str, dict[str, Any]] = {PNG: {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""Format -> what its file says of itself, where that is not matplotlib's own."""


def save(figure: Figure, summary: pd.DataFrame, folder: Path, name: str, formats: Sequence[str] = (PNG,)) -> Path:
    """Write ``NAME.csv``, the numbers drawn, and then ``NAME.png`` or as `formats` say; the path of the first.

    Each file is there whole or not at all, whatever ends the process. `folder` is made if need be.
    """
    make_folder(folder)
    write_whole(folder / f"{name}.csv", lambda path: summary.to_csv(path, index=False))
    with mpl.rc_context(SETTINGS):
        first, *_ = (_written(figure, folder / f"{name}.{form}", form) for form in formats)
    return first


def _written(figure: Figure, path: Path, form: str) -> Path:
    def write(temporary: Path) -> None:
        figure.savefig(temporary, format=form, dpi="figure", metadata=UNDATED[form])

    return write_whole(path, write)
