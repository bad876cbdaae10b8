"""Tables of a page: small ones as HTML, large ones as columns of numbers that the page's script shows."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from initbench.analysis.observations import are_numbers
from initbench.analysis.page import words
from initbench.core.columns import COLUMNS

MOST_LEVELS = 256
"""Different values of a column, up to which each row holds the place of its value in a list of them."""
MOST_CHOICES = 40
"""Levels that a filter offers."""
MOST_AXES = 14
SHORT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""What would end a script, or begin markup, inside one."""


@dataclass(frozen=True)
class Grid:
    """A table that is searched, sorted and filtered; `payload` is JSON that may stand in a page."""

    id: str
    title: str
    note: str
    rows: int
    payload: str
    parallel: bool


def grid(
    place: str,
    title: str,
    frame: pd.DataFrame,
    shown: list[str] | None = None,
    *,
    note: str = "",
    axes: list[str] | None = None,
    color: str = "",
    sort: tuple[str, str] | None = None,
) -> Grid:
    """A table of `frame`: the columns `shown` first and visible, the others to be chosen.

    `axes` are the columns of parallel coordinates, coloured by `color`; `sort` is a column and ``asc`` or ``desc``.
    Columns in which nothing stands are left out.
    """
    frame = frame.dropna(axis="columns", how="all")
    frame = frame[[name for name in frame if not frame[name].astype(str).eq("").all()]]
    visible = [name for name in (frame.columns if shown is None else shown) if name in frame]
    order = [*visible, *(name for name in frame if name not in visible)]
    told: dict[str, Any] = {
        "name": place,
        "rows": len(frame),
        "columns": [_column(frame[name], str(name), name in visible, name in (axes or [])) for name in order],
        "axes": [order.index(name) for name in (axes or [])[:MOST_AXES] if name in order],
        "color": order.index(color) if color in order else -1,
        "sort": [order.index(sort[0]), sort[1]] if sort and sort[0] in order else None,
    }
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Grid(place, title, note, len(frame), text.translate(SHORT), bool(told["axes"]))


def _column(values: pd.Series, name: str, visible: bool, factor: bool) -> dict[str, Any]:
    """``levels`` and each row's place among them, or ``values``; numbers to seven digits, infinite ones as words."""
    numeric = are_numbers(values)
    whole = numeric and pd.api.types.is_integer_dtype(values)
    told = {"title": name, "numeric": numeric, "whole": whole, "visible": visible, "help": _help(name)}
    plain = [_number(value) for value in values] if numeric else [_text(value) for value in values]
    levels = list(dict.fromkeys(plain))
    if numeric:
        levels.sort(key=lambda value: (value is None, value))
    if len(levels) > min(MOST_LEVELS, max(2, len(plain) // 2)):
        return {**told, "values": [_json(value) for value in plain]}
    tones = {} if numeric else {"tones": [words.TONES.get(str(one), "") for one in levels]}
    if not any(tones.get("tones", [])):
        tones = {}
    place = {one: at for at, one in enumerate(levels)}
    choose = (factor or not numeric) and 1 < len(levels) <= MOST_CHOICES
    return {
        **told,
        "levels": [_json(value) for value in levels],
        "codes": [place[one] for one in plain],
        "choose": choose,
        **tones,
    }


def _help(name: str) -> str:
    return COLUMNS.entry(name).summary if name in COLUMNS else ""


def _number(value: Any) -> int | float | None:
    if pd.isna(value):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.7g}")


def _json(value: Any) -> Any:
    """JSON has no infinity: a word in a column of numbers is one."""
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _text(value: Any) -> str:
    return (
        "" if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA else words.level(value)
    )


@dataclass(frozen=True)
class Table:
    """A table that is read at once. The first column is the rows' heading."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]


def table(title: str, frame: pd.DataFrame, digits: int = 4) -> Table:
    """A small table of `frame`, numbers to so many digits."""
    numeric = [are_numbers(frame[name]) for name in frame]
    rows = [[words.number(value, digits) for value in row] for row in frame.itertuples(index=False)]
    return Table(title, [str(name).replace("_", " ") for name in frame], rows, numeric)
