"""What a result rests on: what was compared and tuned, every factor that was held fixed, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from initbench.analysis import training
from initbench.analysis.page import words
from initbench.analysis.results import Results

APART = ("kind", "name", "question", "seeds", "compare", "tune", "fix", "exclude", "widths")
"""Keys of a study that are told in their own way."""


@dataclass(frozen=True)
class Rests:
    """Of one part: what is said under each heading."""

    part: str
    rows: list[tuple[str, str]]


def rests(part: str, results: Results) -> Rests:
    """Everything that does not vary in a part, and how what varies was treated."""
    study = results.study
    train = study["kind"] == "train"
    rows = [*(_of_training(study, results.runs) if train else _of_others(study)), ("Seeds", _seeds(study))]
    return Rests(part, [(heading, told) for heading, told in rows if told])


def _of_others(study: dict[str, Any]) -> list[tuple[str, str]]:
    plain = {name: value for name, value in study.items() if name not in APART}
    varied = {name: value for name, value in plain.items() if isinstance(value, list) and len(set(map(str, value))) > 1}
    fixed = {name: value for name, value in plain.items() if name not in varied}
    shape = _shape(study["widths"]) if "widths" in study else ""
    told = [shape, *(f"{name} {words.level(value)}" for name, value in fixed.items())]
    return [("Compared", _levels(varied)), ("Held fixed", "; ".join(filter(None, told)))]


def _of_training(study: dict[str, Any], runs: pd.DataFrame) -> list[tuple[str, str]]:
    named = {**study.get("compare", {}), **study.get("tune", {}), **study.get("fix", {})}
    asked = runs.columns[: runs.columns.get_loc("status")]
    constant = [
        name for name in asked if name not in training.NOT_FACTORS | {"seed", *named} and len(runs[name].unique()) == 1
    ]
    default = {name: runs[name].iloc[0] for name in constant}
    tuned = _levels(study.get("tune", {}))
    how = " on validation data, for each compared combination by itself; what is shown is judged on test data"
    chosen = "nothing: each factor was compared at the same levels of all others"
    return [
        ("Compared", _levels(study.get("compare", {}))),
        ("Tuned", f"{tuned},{how}" if tuned else chosen),
        ("Held fixed", _levels(study.get("fix", {}))),
        ("Held fixed, by default", _levels(default)),
        ("Left out", "; ".join(words.level(one) for one in study.get("exclude", []))),
        ("Runs", training.counts(runs)),
    ]


def _levels(factors: dict[str, Any]) -> str:
    return "; ".join(f"{name} {words.level(value)}" for name, value in factors.items())


def _shape(widths: list[int]) -> str:
    """``20 hidden layers of 512 units``."""
    hidden = words.level(widths[1:]).split(" (")[0]
    same = len(set(widths)) == 1
    if same:
        return f"{len(widths) - 1} hidden layers of {hidden} units, as many inputs"
    return f"{len(widths) - 1} hidden layers; dimensions from input to last layer {words.level(widths)}"


def _seeds(study: dict[str, Any]) -> str:
    given = study.get("seeds")
    if isinstance(given, list):
        return f"{len(given)}: {words.level(given)}"
    if given is None:
        return ""
    return f"{given}: 0 to {given - 1}" if given > 1 else "1: with one seed nothing is known of chance"
