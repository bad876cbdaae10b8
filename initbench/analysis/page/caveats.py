"""What a result rests on: what was compared and tuned, every factor that was held fixed, and how often."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from initbench.analysis import training
from initbench.analysis.page import words
from initbench.analysis.results import Results

APART = ("kind", "name", "question", "seeds", "compare", "tune", "fix", "exclude", "widths")
"""Keys of a study that are told in their own way."""

BY_DEFAULT, TRAIN = "Held fixed, by default", "train"


@dataclass(frozen=True)
class Rests:
    """Of one part, or of all of them: what is said under each heading."""

    title: str
    rows: list[tuple[str, str]]


def of_parts(parts: Mapping[str, Results]) -> list[Rests]:
    """`rests` of each part; defaults that all parts of training share are told once, before them."""
    trained = [_defaults(results) for results in parts.values() if results.study["kind"] == TRAIN]
    shared = trained[0] if len(trained) > 1 else {}
    shared = {name: level for name, level in shared.items() if all(one.get(name) == level for one in trained)}
    found = [rests(part, results, shared) for part, results in parts.items()]
    return [Rests("Every part of training", [(BY_DEFAULT, _levels(shared))]), *found] if shared else found


def rests(part: str, results: Results, told: Collection[str] = ()) -> Rests:
    """Everything that does not vary in a part, and how what varies was treated, but the defaults `told` already."""
    study = results.study
    train = study["kind"] == TRAIN
    rows = [*(_of_training(results, told) if train else _of_others(study)), ("Seeds", _seeds(study))]
    return Rests(f"Part {part}" if part else "", [(heading, text) for heading, text in rows if text])


def _of_others(study: dict[str, Any]) -> list[tuple[str, str]]:
    plain = {name: value for name, value in study.items() if name not in APART}
    varied = {name: value for name, value in plain.items() if isinstance(value, list) and len(set(map(str, value))) > 1}
    fixed = {**study.get("fix", {}), **{name: value for name, value in plain.items() if name not in varied}}
    shape = _shape(study["widths"]) if "widths" in study else ""
    told = [shape, *(f"{name} {words.level(value)}" for name, value in fixed.items())]
    compared = _levels({**study.get("compare", {}), **varied})
    return [("Compared", compared), ("Held fixed", "; ".join(filter(None, told))), ("Left out", _left_out(study))]


def _defaults(results: Results) -> dict[str, Any]:
    """Factors that no part of the study names, and in which all runs are equal."""
    study, runs = results.study, results.runs
    named = {**study.get("compare", {}), **study.get("tune", {}), **study.get("fix", {})}
    asked = runs.columns[: runs.columns.get_loc("status")]
    others = [name for name in asked if name not in training.NOT_FACTORS | {"seed", *named}]
    return {name: runs[name].iloc[0] for name in others if len(runs[name].unique()) == 1}


def _of_training(results: Results, told: Collection[str]) -> list[tuple[str, str]]:
    study = results.study
    default = {name: level for name, level in _defaults(results).items() if name not in told}
    tuned = _levels(study.get("tune", {}))
    how = " on validation data, for each compared combination by itself; what is shown is judged on test data"
    chosen = "nothing: each factor was compared at the same levels of all others"
    return [
        ("Compared", _levels(study.get("compare", {}))),
        ("Tuned", f"{tuned},{how}" if tuned else chosen),
        ("Held fixed", _levels(study.get("fix", {}))),
        (BY_DEFAULT, _levels(default)),
        ("Left out", _left_out(study)),
        ("Runs", training.counts(results.runs)),
    ]


def _levels(factors: dict[str, Any]) -> str:
    return "; ".join(f"{name} {words.level(value)}" for name, value in factors.items())


def _left_out(study: dict[str, Any]) -> str:
    return "; ".join(words.level(one) for one in study.get("exclude", []))


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
