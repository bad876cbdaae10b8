"""A study of training: which factors are compared, tuned and fixed, over which seeds; a TOML file or Python.

    question = "Which initialization trains a deep ReLU network?"
    seeds = 5

    [compare]
    init = ["xavier", "he"]
    depth = [2, 10]

    [tune]
    lr = [0.1, 0.01]

    [fix]
    activation = "relu"

    [[exclude]]
    init = "xavier"
    depth = 10

A factor is a field of `Cell`, or a regularizer. What no one names has `Cell`'s default.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError
from initbench.core.files import read_toml
from initbench.grid.cells import Grid
from initbench.grid.factors import Level, Levels, checked, levels, shown, told

MOST_CELLS = 1_000_000
BESIDE = ("source", "caveats", "expect", "figure", "full")
"""What a study file says beside its factors (`initbench.studies`)."""
_ROLES = ("compare", "tune", "fix")
_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""
_WITH_COMMAS = re.compile(rf"""({_QUOTED}|\((?:{_QUOTED}|[^()'"])*\))|,""")
"""What may have commas of its own, or else one comma."""


class Study(BaseModel):
    """Factors by role, as canonical levels. Raises `UsageError` for what cannot be."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: str = ""
    kind: Literal["train"] = "train"
    name: str = Field(default="study", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """Of the file; results and reports go into folders called so."""
    compare: dict[str, Levels | Level] = {}
    """Scientific factors: what the study asks about."""
    tune: dict[str, Levels | Level] = {}
    """Nuisance factors: to be chosen on validation data, not what the study asks about."""
    fix: dict[str, Level] = {}
    """Factors with one level: the study's caveats."""
    seeds: int | list[int] = 1
    """How many (0, 1, ...), or which."""
    exclude: list[dict[str, Levels | Level]] = []
    """Cells that match all entries of one of these are left out."""

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**{name: _plain(value) for name, value in given.items()})
        except ValidationError as error:
            raise UsageError(_first_complaint(error)) from None
        self._check()

    def _check(self) -> None:
        """Every name and level, before a cell is made; the number of cells."""
        named = [name for role in _ROLES for name in getattr(self, role)]
        for name in named:
            if named.count(name) > 1:
                raise UsageError(f"the factor '{name}' is given twice; it is either compared, tuned or fixed")
        if "seed" in named:
            raise UsageError("the factor 'seed' is given as seeds = 3 or seeds = [7, 8]")
        try:
            self.question.encode()
        except UnicodeEncodeError:
            raise UsageError("question: not a text that can be written") from None
        for role in _ROLES:
            for name, given in getattr(self, role).items():
                levels(name, given, f"{role}.{name}")
        for place, rule in enumerate(self.exclude, 1):
            for name, given in rule.items():
                levels(name, given, f"exclude {place}.{name}")
        if not self.seed_list:
            raise UsageError("seeds: at least one is needed")
        if len(set(self.seed_list)) < len(self.seed_list):
            raise UsageError("seeds: one is given twice")
        seeds = self.seeds if isinstance(self.seeds, int) else len(self.seeds)
        count = seeds * math.prod(len(given) for given in self.factors.values())
        if count > MOST_CELLS:
            raise UsageError(f"the grid has {count:,} cells; at most {MOST_CELLS:,} are accepted")
        for seed in self.seed_list:
            checked("seed", seed, "seeds")

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves."""
        if isinstance(self.seeds, int):
            return list(range(min(self.seeds, MOST_CELLS + 1)))
        return self.seeds

    @property
    def factors(self) -> dict[str, Levels]:
        """Every factor that is named, in the order given, with its canonical levels."""
        given = {name: value for role in _ROLES for name, value in getattr(self, role).items()}
        return {name: levels(name, value, name) for name, value in given.items()}

    @property
    def _rules(self) -> list[dict[str, Levels]]:
        return [{name: levels(name, given, name) for name, given in rule.items()} for rule in self.exclude]

    def cells(self) -> Grid:
        """All cells, seeds innermost. Equal levels (`he` and `he_normal`) were made one."""
        return Grid({**self.factors, "seed": self.seed_list}, self._rules)

    def as_toml(self) -> dict[str, Any]:
        """What study.toml holds: canonical levels."""
        held: dict[str, Any] = {"question": self.question, "kind": self.kind, "name": self.name, "seeds": self.seeds}
        for role in _ROLES:
            several = {name: levels(name, given, name) for name, given in getattr(self, role).items()}
            held[role] = {name: given if role != "fix" else given[0] for name, given in several.items()}
        if self.exclude:
            held["exclude"] = self._rules
        return held


def read_study(path: Path) -> Study:
    """The study in a TOML file; raises `UsageError` with the file's name and what is wrong with it."""
    given = {key: value for key, value in read_toml(path).items() if key not in BESIDE}
    if "parts" in given:
        raise UsageError(f"{path}: a study of several parts; `initbench run` answers it")
    try:
        return Study(**{"name": name_of(path), **given})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except TypeError as error:  # a key that is no word
        raise UsageError(f"{path}: {error}") from None


def name_of(path: Path) -> str:
    """What a study is called that does not say so itself: as its file, with _ for what a name may not have."""
    return re.sub(r"[^A-Za-z0-9_.-]|^[.-]", "_", path.stem) or "study"


def with_settings(study: Study, settings: Iterable[tuple[str, str]]) -> Study:
    """`study` with each factor of `settings` given anew, in its own role (fixed, if it had none).

    A value is TOML (``0.1``, ``[1, 2]``, ``true``) or words between commas.
    """
    given, settings = study.model_dump(), list(settings)
    names = [name for name, _ in settings]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"the factor '{twice[0]}' is set twice; several levels are one list, such as lr=0.1,0.01")
    for name, text in settings:
        value = _parsed(text)
        if name == "seed":
            raise UsageError("--set seed: seeds are given as seeds=3 or seeds=[7, 8]")
        if name == "seeds":
            given["seeds"] = value
            continue
        role = next((role for role in _ROLES if name in given[role]), "fix")
        if role == "fix" and isinstance(value, list):
            given["fix"].pop(name, None)
            role = "compare"
        given[role][name] = value
    return Study(**given)


def _plain(value: Any) -> Any:
    """What Python's callers give in place of lists and numbers: tuples, ranges, numpy's."""
    if isinstance(value, dict):
        return {name: _plain(level) for name, level in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(level) for level in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _parsed(text: str) -> Any:
    """TOML's reading of a value; where it is none, a word, or several between commas outside of brackets and quotes."""
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
        return value
    except (ValueError, RecursionError):
        whole = text.strip().removeprefix("[").removesuffix("]")
        parts = _WITH_COMMAS.sub(lambda found: found[1] or "\0", whole).split("\0")
        return [_parsed(part.strip()) for part in parts] if len(parts) > 1 else parts[0].strip()


def _first_complaint(error: ValidationError) -> str:
    """One line: the key, what was given, what is accepted."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][:2])
    if first["loc"][0] == "seeds":
        return f"seeds: give how many, or a list of whole numbers, not {shown(first['input'])}"
    if first["loc"][0] == "fix" and isinstance(first["input"], list):
        return f"{where}: a fixed factor has one level; compare or tune one that has several"
    if first["loc"][0] in _ROLES and len(first["loc"]) > 2:
        return f"{where}: a level is a number, a word, true or false, not {shown(first['input'])}"
    if first["type"] == "extra_forbidden":
        return f"unknown key '{where}'{did_you_mean(where, Study.model_fields)}"
    return f"{where}: {told(first)}"


def default_study() -> Study:
    """The lecture's factors in small, on the embedded digits: what `train-grid` runs when no study is named."""
    return Study(
        question="How much do initialization, activation, depth and learning rate decide, with and without momentum?",
        name="digits",
        compare={
            "init": ["xavier", "he", "normal", "uniform", "zeros", "ones"],
            "activation": ["relu", "tanh", "sigmoid"],
            "depth": [1, 3],
            "lr": [0.1, 0.01, 0.001],
            "momentum": [0.0, 0.9],
            "nesterov": [False, True],
            "optimizer": ["sgd", "adam"],
            "batch_size": [32, 64],
        },
        fix={"width": 50, "steps": 200, "dataset": "digits"},
        seeds=2,
    )


def resolve(study: Study | None, settings: Sequence[tuple[str, str]] = (), dataset: str | None = None) -> Study:
    """The study to run: `study` or the default one, with what the command line sets; that has another question."""
    if dataset is not None:
        settings = [*settings, ("dataset", json.dumps(dataset, ensure_ascii=False))]  # as TOML writes a text
    if study or not settings:
        return with_settings(study or default_study(), settings)
    return with_settings(default_study().model_copy(update={"question": ""}), settings)
