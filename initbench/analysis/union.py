"""Several studies of one kind as one: what each of their results holds, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pandas as pd

from initbench.analysis import verdicts
from initbench.core.cell import Cell
from initbench.core.errors import require

Study = dict[str, Any]
Tables = dict[str, pd.DataFrame]
Rule = dict[str, list[Any]]
"""Levels by factor: cells that match all entries."""
PROSE = ("question", "name")
_ROLES = ("tune", "compare", "fix")
_DEFAULTS = {each.name: each.default for each in fields(Cell)}
_OWN_DATA_SEED = "data_seed"


@dataclass(frozen=True)
class Kind:
    """How studies of a kind become one, and which of its tables are judged anew of the others."""

    united: Callable[[Sequence[Study]], Study]
    require_whole: Callable[[Study, Tables], None] = lambda study, tables: None
    judged: Mapping[str, Callable[[Tables], pd.DataFrame]] = field(default_factory=dict)


def united(studies: Sequence[Study]) -> Study:
    """One study of all that these hold; raises `UsageError` where there is none."""
    kinds = list(dict.fromkeys(study["kind"] for study in studies))
    require(len(kinds) == 1, f"results of one kind can be merged, not of {' and '.join(kinds)}")
    if len({repr(_numbers(study)) for study in studies}) == 1:
        return studies[0]
    require(kinds[0] in KINDS, f"a study of kind {kinds[0]} is made as one: merge results of the very same")
    return KINDS[kinds[0]].united(studies)


def _numbers(study: Study) -> Study:
    """The study without what changes no number."""
    return {name: value for name, value in sorted(study.items()) if name not in PROSE}


def _lists(*names: str, most: str = "") -> Callable[[Sequence[Study]], Study]:
    """Unites the lists `names`, takes the largest of `most`; all else must be the same."""

    def unite(studies: Sequence[Study]) -> Study:
        found = dict(studies[0])
        for name in dict.fromkeys(key for study in studies for key in study if key not in PROSE):
            given = [study.get(name) for study in studies]
            if name in names:
                found[name] = _distinct(itertools.chain(*map(_listed, given)))
            elif name == most and all(name in study for study in studies):
                found[name] = max(study[name] for study in studies)
            else:
                require(all(value == given[0] for value in given), _differ(name, given))
        return found

    return unite


def _differ(name: str, given: Sequence[Any]) -> str:
    other = next((value for value in given if value != given[0]), None)
    return f"the studies differ in {name}: {given[0]} and {other}; such results are not of one study"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Without repetition; true and 1 are two."""
    return list({repr(value): value for value in values}.values())


def _every_pairing(table: str) -> Callable[[Study, Tables], None]:
    """Raises `UsageError` unless `table` has each initializer of the study with each activation, and each seed."""

    def require_whole(study: Study, tables: Tables) -> None:
        rows = tables[table]
        there = set(zip(rows["init"], rows["activation"], strict=True))
        inits, activations = (_distinct(rows[name]) for name in ("init", "activation"))
        for init, activation in itertools.product(inits, activations):
            lacks = (
                f"together they lack {init} with {activation}, and a study has every initializer with every activation"
            )
            require((init, activation) in there, lacks)
        measured = tables.get("layers", rows)
        if "seed" in measured:
            seeds = measured.groupby(["init", "activation"])["seed"].nunique()
            few = seeds[(seeds > 0) & (seeds < seeds.max())]
            require(few.empty, f"together they lack seeds: {few.index[0] if len(few) else ''} has fewer than others")

    return require_whole


def _training(studies: Sequence[Study]) -> Study:
    """Each factor with the levels of all, in the strongest of its roles; cells that none has are excluded."""
    grids = [_levels(study) for study in studies]
    named = list(dict.fromkeys(name for grid in grids for name in grid))
    for grid in grids:
        require(_OWN_DATA_SEED in grid or _OWN_DATA_SEED not in named, "one of the studies says data_seed alone")
        grid |= {name: [_DEFAULTS.get(name, 0.0)] for name in named if name not in grid}
    levels = {name: _distinct(itertools.chain(*(grid[name] for grid in grids))) for name in named}
    present = pd.concat([_cells({n: grid[n] for n in named}, study.get("exclude", []))
                         for grid, study in zip(grids, studies, strict=True)]).drop_duplicates()  # fmt: skip
    found = {**studies[0], **{role: {} for role in _ROLES}}
    seeds = sorted(levels.pop("seed"))
    found["seeds"] = len(seeds) if seeds == list(range(len(seeds))) else seeds
    for name, several in levels.items():
        role = next((role for role in _ROLES[:2] if any(name in study.get(role, {}) for study in studies)), "")
        role = role or ("compare" if len(several) > 1 else "fix")
        found[role][name] = several if role != "fix" else several[0]
    rules = list(_excluding({**levels, "seed": seeds}, present))
    return {
        **{name: value for name, value in found.items() if name != "exclude"},
        **({"exclude": rules} if rules else {}),
    }


def _levels(study: Study) -> dict[str, list[Any]]:
    seeds = study.get("seeds", 1)
    named = {name: _listed(given) for role in ("compare", "tune", "fix") for name, given in study.get(role, {}).items()}
    return {**named, "seed": list(range(seeds)) if isinstance(seeds, int) else seeds}


def _cells(levels: Mapping[str, list[Any]], rules: Sequence[Rule]) -> pd.DataFrame:
    """A row per cell of the grid that no rule leaves out; levels by their place."""
    grid = pd.DataFrame(itertools.product(*levels.values()), columns=list(levels), dtype=object)
    for rule in rules:
        grid = grid[~_matches(grid, rule)]
    return grid


def _matches(cells: pd.DataFrame, rule: Rule) -> pd.Series:
    found = pd.Series(True, index=cells.index)
    for name, levels in rule.items():
        found &= cells[name].isin(levels)
    return found


def _excluding(levels: Mapping[str, list[Any]], present: pd.DataFrame) -> Iterable[Rule]:
    """Rules that leave out of the whole grid all cells that are not present: each as wide as it can be."""
    whole = _cells(levels, [])
    left = whole.merge(present, how="left", indicator=True).query("_merge == 'left_only'").drop(columns="_merge")
    while len(left):
        rule: Rule = {name: [left.iloc[0][name]] for name in levels}
        for name in levels:
            wider = {other: given for other, given in rule.items() if other != name}
            if wider and not _matches(present, wider).any():
                rule = wider
        for name in rule:
            rule[name] = [level for level in levels[name] if not _matches(present, {**rule, name: [level]}).any()]
        yield rule
        left = left[~_matches(left, rule)]


def _judged(tables: Tables) -> pd.DataFrame:
    return verdicts.verdicts(tables["layers"], tables["predictions"], tables["residuals"])


KINDS: dict[str, Kind] = {
    "train": Kind(_training),
    "variance": Kind(_lists("init", "activation", most="seeds"), _every_pairing("predictions"), {"verdicts": _judged}),
    "jacobian": Kind(_lists("init", "activation", most="seeds"), _every_pairing("jacobians")),
    "calibration": Kind(_lists("cases")),
}
"""Kinds whose studies can be united; of others only the very same."""
