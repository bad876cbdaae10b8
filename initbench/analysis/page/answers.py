"""What a study file asked and was told, kept beside its results: so that a page can be made where the file is not.

OUT/answer.json   written by `initbench run`; OUT/PART/ holds the tables, or OUT itself where there are no parts
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.analysis import stored
from initbench.analysis.results import Results
from initbench.core.errors import UsageError
from initbench.core.files import write_text
from initbench.core.folder import results_in

FILE = "answer.json"
LAYOUT = 1
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Answer:
    """A study's question, the outcomes of its expectations, and the numbers of the figures that it asks for."""

    name: str = ""
    question: str = ""
    source: str = ""
    caveats: tuple[str, ...] = ()
    outcomes: pd.DataFrame = field(default_factory=pd.DataFrame)
    """`analysis.expectations.outcomes`."""
    figures: Tables = field(default_factory=dict)
    """Name -> what `figures.relation` draws."""
    text: str = ""
    """The study file."""
    full: bool = False


def keep(answer: Answer, out: Path, parts: Mapping[str, Results]) -> None:
    """Write `answer` into the results folder `out`, with the keys of the `parts` that it is of."""
    told = {**vars(answer), "outcomes": _plain(answer.outcomes)}
    told["figures"] = {name: _plain(frame) for name, frame in answer.figures.items()}
    keys = {part: results.manifest.get("key", "") for part, results in parts.items()}
    write_text(out / FILE, json.dumps({"layout": LAYOUT, "parts": keys, **told}, ensure_ascii=False) + "\n")


def opened(out: Path) -> tuple[Answer, dict[str, Results]]:
    """What the folder `out` holds: the answer (an empty one, if none was kept) and the results, by part.

    An answer to results that stand there no more is left out. Raises `UsageError` where there are no results.
    """
    told = _read(out / FILE)
    names = told.get("parts") or results_in(out) or [""]
    parts = {name: Results(out / name) for name in names}
    if not told or any(results.manifest.get("key") != told["parts"][part] for part, results in parts.items()):
        return Answer(name=out.resolve().name), parts
    frames = {name: _frame(frame) for name, frame in told["figures"].items()}
    kept = {name: told[name] for name in ("name", "question", "source", "text", "full")}
    outcomes = _frame(told["outcomes"])
    return Answer(**kept, caveats=tuple(told["caveats"]), outcomes=outcomes, figures=frames), parts


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if stored.read(path, json.loads, stored.Layout)["layout"] > LAYOUT:
        raise UsageError(f"{path} was written by a newer version of initbench; use that")
    return stored.read(path, json.loads, stored.Answer)


def _plain(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): values.tolist() for name, values in frame.items()}


def _frame(told: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(told)
