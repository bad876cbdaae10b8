"""Which study files there are, and what they ask. Light to import: nothing of them is carried out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from initbench.core.errors import require
from initbench.core.files import read_toml

if TYPE_CHECKING:
    import pandas as pd


def listed(folder: Path) -> pd.DataFrame:
    """The study files in `folder`: name, question, source, and how many expectations each states.

    Raises `UsageError` where there is none, or one is not TOML; what else may be wrong is told when it is run.
    """
    import pandas as pd  # here, so that a command's help need not wait for it

    files = sorted(folder.glob("*.toml"))
    require(bool(files), f"no study files in {folder}/")
    rows = [{"name": path.stem, **_asked(read_toml(path))} for path in files]
    return pd.DataFrame(rows)


def _asked(told: dict[str, Any]) -> dict[str, Any]:
    expect = told.get("expect")
    return {"question": str(told.get("question", "")), "source": str(told.get("source", "")),
            "expectations": len(expect) if isinstance(expect, list) else 0}  # fmt: skip
