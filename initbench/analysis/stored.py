"""What manifest.json, study.toml and answer.json may say: results may come from anyone, and are checked before use."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from initbench.core.errors import WorkError, complaint

PLAIN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
"""Of a file or folder that stands in the one it is asked for: no way leads elsewhere."""


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


PlainName = Annotated[str, Field(pattern=PLAIN_NAME)]
"""Of a file in the folder itself: it leads nowhere else."""
Time = Annotated[str, AfterValidator(_time)]
Version = Annotated[str, Field(pattern=r"^[\w.+!-]*$")]
"""Of a package: it is put into a line for a shell."""
Level = bool | int | float | str
Levels = dict[str, list[Level]]
Column = list[Any]


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Source(_Model):
    """One of the folders that were merged."""

    folder: str
    key: str


class Manifest(_Model):
    """How results came about. What is there is of its kind; nothing need be."""

    layout: int = 1
    key: str = ""
    kind: PlainName = ""
    tables: list[PlainName] = []
    versions: dict[PlainName, Version] = {}
    commit: str | None = None
    device: str = ""
    processor: str = ""
    threads: Annotated[int, Field(ge=1)] = 1
    engine: str = ""
    started: Time = ""
    seconds: float = 0.0
    data: dict[str, str] = {}
    plugins: dict[str, str] = {}
    merged: list[Source] = []
    cells: int = 0
    trainings: int = 0


class Study(_Model):
    """A study as resolved."""

    kind: PlainName
    question: str = ""
    name: str = ""
    compare: Levels = {}
    tune: Levels = {}
    fix: dict[str, Level] = {}
    seeds: int | list[int] | None = None
    exclude: list[dict[str, list[Level]]] = []
    widths: Annotated[list[int], Field(min_length=2)] = [1, 1]


class Outcomes(_Model):
    """A row per expectation, as columns."""

    claim: list[str] = []
    outcome: list[str] = []
    estimate: list[float] = []
    low: list[float] = []
    high: list[float] = []
    bound: list[str] = []
    least: list[float] = []
    most: list[float] = []
    published: list[str] = []
    n: list[int] = []
    measure: list[str] = []
    method: list[str] = []
    explained: list[str] = []
    differs: list[str] = []
    answers: list[bool] = []

    @model_validator(mode="after")
    def _rows(self) -> Outcomes:
        columns = {name: getattr(self, name) for name in Outcomes.model_fields}
        if "answers" not in self.model_fields_set:
            del columns["answers"]  # kept by an older version: without
        _even({**columns, **(self.model_extra or {})})
        return self


def _even(columns: dict[str, Column]) -> dict[str, Column]:
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError("its columns are not of one length")
    return columns


class Layout(_Model):
    """How a file is laid out: newer versions may have others."""

    layout: int


class Answer(Layout):
    """What a study file asked and was told."""

    parts: Annotated[dict[Annotated[str, Field(pattern=f"^$|{PLAIN_NAME}")], str], Field(min_length=1)]
    name: str
    question: str
    source: str
    caveats: list[str]
    outcomes: Outcomes
    figures: dict[PlainName, Annotated[dict[str, Column], AfterValidator(_even)]]
    text: str
    full: bool


def is_plain(name: str) -> bool:
    """Whether a folder may have a file of this name, in itself and nowhere else."""
    return re.fullmatch(PLAIN_NAME, name) is not None


def read(path: Path, parse: Callable[[str], Any], model: type[BaseModel]) -> dict[str, Any]:
    """What the file at `path` tells; raises `WorkError` where it is not as `model` says, or cannot be read."""
    try:
        told = parse(path.read_text(encoding="utf-8"))
        model.model_validate(told)
    except ValidationError as error:
        raise WorkError(f"{path} is not one of ours: {complaint(error)}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WorkError(f"{path} cannot be read: {error}") from None
    return told
