"""Factors of a study: their names, what a level may be, and its canonical form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from initbench.activations import ACTIVATIONS
from initbench.core.catalogue import Catalogue, did_you_mean
from initbench.core.cell import Cell, Strength
from initbench.core.errors import UsageError
from initbench.datasets import DATASETS, PREPARATIONS
from initbench.initializers import INITIALIZERS
from initbench.recipe import LOSSES, OPTIMIZERS, REGULARIZERS, SCHEDULES

LONGEST_SHOWN = 60
SMALLEST, LARGEST = 1e-30, 1e30
"""Levels that are not 0 lie between: float32 holds what training makes of them."""
SPECS: dict[str, Catalogue[Any]] = {
    "init": INITIALIZERS,
    "activation": ACTIVATIONS,
    "dataset": DATASETS,
    "normalization": PREPARATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
"""Factors whose levels are spec strings, and the catalogue that reads them."""

Level = bool | int | float | str
Levels = list[Level]


def specs_of(cells: Iterable[Cell]) -> dict[Catalogue[Any], set[str]]:
    """What `cells` name, by the catalogue that reads it."""
    cells = list(cells)
    return {catalogue: {getattr(cell, name) for cell in cells} for name, catalogue in SPECS.items()}


def levels(name: str, given: Levels | Level, where: str) -> Levels:
    """Canonical levels of the factor `name`, without repetition; raises `UsageError` that says `where` it stands."""
    several = given if isinstance(given, list) else [given]
    if not several:
        raise UsageError(f"{where}: a factor needs at least one level, none was given")
    return list(dict.fromkeys(checked(name, level, where) for level in several))


def checked(name: str, level: Any, where: str) -> Level:
    """One level in canonical form."""
    types = _types()
    if name not in types:
        raise UsageError(f"{where}: unknown factor '{name}'{did_you_mean(name, types)}")
    try:
        level = types[name].validate_python(level, strict=True)
    except ValidationError as error:
        raise UsageError(f"{where}: {told(error.errors()[0])}") from None
    if name in SPECS:
        try:
            SPECS[name].make(level)  # parameters out of range are told now
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        return SPECS[name].canonical(level)
    if isinstance(level, float) and level != 0 and not SMALLEST <= level <= LARGEST:
        raise UsageError(f"{where}: {level:g} is out of range; accepted: {SMALLEST:g} to {LARGEST:g}")
    if name in REGULARIZERS and not level < (limit := REGULARIZERS.make(name).limit):
        raise UsageError(f"{where}: must be below {limit:g}, not {level:g}")
    return level


def names() -> list[str]:
    """Of all factors."""
    return list(_types())


@cache
def _types() -> dict[str, TypeAdapter]:
    """Factor -> what reads its levels."""
    hints = get_type_hints(Cell, include_extras=True)
    own = {field.name: TypeAdapter(hints[field.name]) for field in fields(Cell) if field.name != "regularizers"}
    return own | {entry.name: TypeAdapter(Strength) for entry in REGULARIZERS}


def as_stored(factor: str, level: Any) -> Any:
    """A level, or a list of them, as tables have it: `xavier` is `xavier_normal` there."""
    if isinstance(level, list):
        return [as_stored(factor, one) for one in level]
    return SPECS[factor].canonical(level) if factor in SPECS else level


def level_of(cell: Cell, name: str) -> Any:
    """The cell's level of a factor, named by the study or not."""
    return cell.strength(name) if name in REGULARIZERS else getattr(cell, name)


def in_one_type(table: pd.DataFrame, residual: Iterable[bool | int]) -> pd.DataFrame:
    """A table with numbers as its `residual` if one of all its levels is 2: a column of a file has one type."""
    mixed = "residual" in table and any(level not in (False, True) for level in residual)
    return table.astype({"residual": int}) if mixed else table


def cell_of(chosen: dict[str, Any]) -> Cell:
    """A cell from factors; regularizers that are off are left out of it."""
    strengths = tuple((e.name, chosen[e.name]) for e in REGULARIZERS if chosen.get(e.name))
    own = {name: level for name, level in chosen.items() if name not in REGULARIZERS}
    return Cell(**own, regularizers=strengths)


def told(error: Any) -> str:
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{message}, not {shown(error['input'])}"


def shown(given: Any) -> str:
    """What was given, in a few letters."""
    try:
        text = repr(given)
    except (ValueError, RecursionError):  # Python writes no integer of thousands of digits
        return f"a {type(given).__name__} that is too long"
    return text if len(text) < LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def lecture_name(cell: Cell) -> str:
    """As the lecture names its runs: init-activation-layers-lr-momentum-batch-width-optimizer-nesterov."""
    short = {name: _shortest(SPECS[name], getattr(cell, name)) for name in ("init", "optimizer")}
    return (
        f"{short['init']}-{cell.activation}-{cell.depth}-{cell.lr}-{cell.momentum}-{cell.batch_size}-{cell.width}"
        f"-{short['optimizer']}-{cell.nesterov}"
    )


def _shortest(catalogue: Catalogue[Any], spec: str) -> str:
    """The shortest name of a spec without parameters: `he` for `he_normal`."""
    if spec not in catalogue:
        return spec
    return min((spec, *catalogue.entry(spec).aliases), key=len)
