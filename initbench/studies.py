"""Study files: a question, the parts that answer it, what is expected of them before they run, and what is drawn.

question = "Why does a deep ReLU network need twice Xavier's variance?"
source = "He et al. 2015, section 2.2"

[parts.signal]                      # without parts, the file itself is one
kind = "variance"                   # or train, ... (`kinds`): the options of that command, or of a training study
init = ["he", "xavier"]
activation = "relu"
full = { width = 1024 }             # what --full changes

[parts.wide]
like = "signal"                     # a part above, but for what is said here
width = 512

[[expect]]
claim = "Xavier halves the signal in each layer"
answers = true                      # what the report tells first
part = "signal"
measure = "growth(of=z_second_moment)"
where = { init = "xavier" }
between = [0.48, 0.52]

[[figure]]
part = "signal"
measure = "growth(of=z_second_moment)"
x = "init"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from initbench.analysis.expectations import HELD, NOT_HELD, UNDECIDED, Expectation, markdown, outcomes, verdict
from initbench.analysis.figures import relation
from initbench.analysis.figures.relation import MEASURED, Drawing
from initbench.analysis.measures import MEASURES
from initbench.analysis.observations import OF_GRIDS, chosen, observations
from initbench.analysis.results import Results
from initbench.analysis.stored import is_plain
from initbench.core.catalogue import did_you_mean, require_known
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, complaint, require
from initbench.core.files import read_toml
from initbench.grid.factors import SPECS, as_stored, shown
from initbench.grid.study import name_of
from initbench.grid.study_files import listed
from initbench.kinds import Options, Where, Work, require_options, work_of
from initbench.recipe import REGULARIZERS

FACTORS = sorted({*(field.name for field in fields(Cell)), *(entry.name for entry in REGULARIZERS), *OF_GRIDS, "part",
                  "seed", "layer", "step", "scope", "quantity", "weight_variance", "case", "batch",
                  "honest"})  # fmt: skip
"""Names that a `where` may have, by the parts' kinds."""


class Inquiry(BaseModel):
    """What a study file says beside its parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = ""
    source: str = ""
    """What is reproduced: paper, equation, figure."""
    caveats: list[str] = []
    expect: list[Expectation] = []
    figure: list[Drawing] = []
    parts: dict[str, Options] = {}

    def works(self, path: Path, where: Where) -> dict[str, Work]:
        """What there is to do, by part; raises `UsageError` for what cannot be before anything is done."""
        works = {}
        for part, options in self.parts.items():
            try:
                works[part] = work_of(options, name_of(path) + (part and f"_{part}"), where)
            except UsageError as error:
                raise UsageError(f"{path}: {part and f'part {part}: '}{error}") from None
        return works

    def outcomes(self, parts: Mapping[str, Results]) -> pd.DataFrame:
        """A row per expectation (`analysis.expectations.outcomes`)."""
        return outcomes(self.expect, lambda part, measure, table: _observed(parts[part], measure.spec, table))

    def figures(self, parts: Mapping[str, Results]) -> dict[str, pd.DataFrame]:
        """Name and numbers of all that the file asks to be drawn (`analysis.figures.relation`)."""
        drawn = {}
        for drawing in self.figure:
            titled = drawing.model_copy(update={"title": drawing.title or self.question})
            drawn[drawing.name] = _drawn(titled, parts)
        return drawn


def read(path: Path, full: bool = False) -> Inquiry:
    """The study file at `path`; with `full`, as its parts' `full` change them.

    Raises `UsageError` with the file's name and the first thing that is wrong with it.
    """
    told = read_toml(path)
    own = {key: told.pop(key) for key in Inquiry.model_fields if key in told}
    if "parts" not in own:
        own["parts"] = {"": told | ({"question": own["question"]} if "question" in own else {})}
        told = {}
    try:
        require_known(told, Inquiry.model_fields)
        inquiry = Inquiry(**own)
        _require_sound(inquiry)
        parts = _resolved(inquiry.parts, full)
        expect = [expectation.model_copy(update=_canonical(expectation)) for expectation in inquiry.expect]
        _require_parts(inquiry, parts)
        _require_told(expect, parts)
    except ValidationError as error:
        raise UsageError(f"{path}: {complaint(error)}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return inquiry.model_copy(update={"parts": parts, "expect": expect})


def _require_sound(inquiry: Inquiry) -> None:
    """Names that become those of folders and files lead nowhere else; what is read of all parts is of its kind."""
    rule = "a name has letters, digits, and _ . - between"
    for part, options in inquiry.parts.items():
        require(list(inquiry.parts) == [""] or is_plain(part), f"part '{part}': {rule}")
        for key, (kind, what) in _OF_ALL.items():
            fits = isinstance(options.get(key, kind()), kind)
            require(fits, f"{part and f'part {part}: '}{key} is {what}, not {shown(options.get(key))}")
    for drawing in inquiry.figure:
        require(is_plain(drawing.name), f"figure '{drawing.name}': {rule}")
        alike = [other.name for other in inquiry.figure].count(drawing.name)
        require(alike == 1, f"{alike} figures are called '{drawing.name}'; each needs a name of its own")
        require(drawing.part != [], f"figure {drawing.name}: part names none")
        require(drawing.measure != [], f"figure {drawing.name}: measure names none")
        for measure in _several(drawing.measure):
            MEASURES.make(measure)  # an unknown one is told now
        alone = isinstance(drawing.measure, str) or not (drawing.panel or drawing.y or drawing.alike)
        require(alone, f"figure {drawing.name}: with several measures there is no panel, y or alike")


_OF_ALL: dict[str, tuple[type, str]] = {"kind": (str, "a name"), "like": (str, "a name"), "full": (dict, "a table")}


def _require_parts(inquiry: Inquiry, parts: Mapping[str, Options]) -> None:
    asked = [(e.claim, part) for e in inquiry.expect for part in (e.part, (e.versus or {}).get("part", e.part))]
    asked += [(f"figure {d.name}", part) for d in inquiry.figure for part in _several(d.part)]
    asked += [(f"figure {d.name}", d.over.part) for d in inquiry.figure if d.over]
    for what, part in asked:
        if part not in list(parts):  # a file may say anything, and not all of it is hashable
            raise UsageError(f"{what}: there is no part '{part}'{did_you_mean(str(part), parts)}")


def _require_told(expect: Sequence[Expectation], parts: Mapping[str, Options]) -> None:
    """What can be said of expectations before their parts are carried out: names of factors, and what is recorded."""
    for one in expect:
        for name in (*one.where, *(one.versus or {})):
            if (factor := name.partition(".")[0]) not in FACTORS:
                raise UsageError(f"{one.claim}: no factor is called '{factor}'{did_you_mean(factor, FACTORS)}")
        options, measure = parts[one.part], MEASURES.make(one.measure)
        read = measure.table or one.table
        if options.get("kind", "train") == "train" and read in ("curves", "layer_curves"):
            tables = [table for of in ("fix", "compare", "tune") if isinstance(table := options.get(of), dict)]
            recorded = any(table.get("record_every") for table in tables)
            require(recorded, f"{one.claim}: '{one.measure}' is read from {read}, which need record_every")


def _resolved(parts: Mapping[str, Options], full: bool) -> dict[str, Options]:
    """Each part's options, put upon those of the part above that it is `like`; with `full`, that put upon both."""
    whole: dict[str, Options] = {}
    for name, options in parts.items():
        own = dict(options)
        if "like" in own:
            above = str(own.pop("like"))
            require_known([above], whole, f"part above '{name}':")
            own = _put(own, whole[above])
        whole[name] = own
    told = {name: {key: value for key, value in options.items() if key != "full"} for name, options in whole.items()}
    for name, options in whole.items():
        changes = options.get("full", {})
        require_options({**options, **changes}.get("kind", "train"), changes, f"full{name and f' in part {name}'}")
    return {name: _put(whole[name].get("full", {}), told[name]) if full else told[name] for name in whole}


def _put(changes: Options, upon: Options) -> Options:
    """The options `upon` with changes, in tables entry by entry."""
    merged = dict(upon)
    for name, value in changes.items():
        before = merged.get(name, {})
        merged[name] = {**before, **value} if isinstance(value, dict) and isinstance(before, dict) else value
    return merged


def _canonical(expectation: Expectation) -> dict[str, Any]:
    def canonical(levels: Options | None) -> Options | None:
        return levels and {name: as_stored(name, level) for name, level in levels.items()}

    return {"where": canonical(expectation.where) or {}, "versus": canonical(expectation.versus)}


@lru_cache(maxsize=32)  # one is asked for by many expectations, and of a sweep it takes seconds
def _observed(results: Results, measure: str, table: str = "", law: str = "") -> pd.DataFrame:
    """Observations, with the parameters of the specs as columns of their own: ``init.std``. Not to be changed."""
    found = observations(results, MEASURES.make(measure), table, law)
    for factor in [name for name in found.columns if name in SPECS]:
        told = {spec: SPECS[factor].arguments(spec) for spec in found[factor].unique()}
        for key in dict.fromkeys(key for arguments in told.values() for key in arguments):
            found[f"{factor}.{key}"] = [told[spec].get(key) for spec in found[factor]]
    return found


def _drawn(drawing: Drawing, parts: Mapping[str, Results]) -> pd.DataFrame:
    measures = list(map(MEASURES.make, _several(drawing.measure)))
    line = _line(drawing, parts)
    drawn = [relation.summary(_shown(drawing, measure.spec, parts), drawing, measure, line) for measure in measures]
    return pd.concat(drawn, ignore_index=True)


def _shown(drawing: Drawing, measure: str, parts: Mapping[str, Results]) -> pd.DataFrame:
    """Observations of what is drawn, measured and by the law."""
    where = {name: as_stored(name, level) for name, level in drawing.where.items()}
    frames = []
    for part in _several(drawing.part):
        for law in ("", drawing.law) if drawing.law else ("",):
            found = chosen(_observed(parts[part], measure, drawing.table, law), where)
            frames.append(found.assign(part=part, source=law or MEASURED))
    found = pd.concat(frames, ignore_index=True)
    for name in (drawing.x, drawing.y, drawing.hue, drawing.panel):
        if name and name not in found:
            raise UsageError(f"figure {drawing.name}: no factor '{name}' varies{did_you_mean(name, found.columns)}")
    return found


def _line(drawing: Drawing, parts: Mapping[str, Results]) -> pd.DataFrame | None:
    if not (over := drawing.over):
        return None
    table = parts[over.part].table(over.table)
    asked = [name for name in (over.x, over.y, over.hue) if name]
    require_known(asked, table.columns, f"column of figure {drawing.name}'s line:")
    table = chosen(table, {name: as_stored(name, level) for name, level in over.where.items()})
    hue = table[over.hue] if over.hue else ""
    return pd.DataFrame({"x": table[over.x], "y": table[over.y] * over.times, "hue": hue})


def _several(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def report(inquiry: Inquiry, path: Path, parts: Mapping[str, Results], found: pd.DataFrame, drawn: list[Path]) -> str:
    """What was asked, found and is to be kept in mind, in Markdown."""
    lines = [f"# {inquiry.question}", ""]
    if len(found):
        lines += [f"**{verdict(found)}.**", "", markdown(found), ""]
    lines += [f"![{figure.stem}]({figure.name})" for figure in drawn]
    lines += ["", "Caveats:", "", *(f"- {caveat}" for caveat in inquiry.caveats)]
    lines += [f"- {name or path.stem}: {_fixed(results)}" for name, results in parts.items()]
    source = f"Source: {inquiry.source}. " if inquiry.source else ""
    return "\n".join([*lines, "", f"{source}Again: `initbench run {path.as_posix()}`.", ""])


def index(folder: Path, found: Mapping[str, pd.DataFrame]) -> str:
    """A README of the study files in `folder`, with the outcomes of those that were run."""
    outcomes = [word for table in found.values() for word in table["outcome"]]
    held, not_held, undecided = map(outcomes.count, (HELD, NOT_HELD, UNDECIDED))
    lines = ["Questions, one TOML file each. `initbench run FILE` answers one; `make studies` answers all but the",
             "calibration of the verdicts and writes this file.", "",
             f"**Of {len(outcomes)} expectations {held} held, {not_held} did not, and {undecided} are undecided.** "
             "Their bounds were fixed before this run, most after a pilot of a few seeds; a caveat tells where "
             "figures had been seen. Each interval is one of 95 %, not corrected for the number of expectations. "
             "*Published* is what the source says, or what its formula gives for this setting.", ""]  # fmt: skip
    for row in listed(folder).to_dict("records"):
        source = f" ({row['source']})" if row["source"] else ""
        lines += [f"## {row['name']}", "", f"{row['question']}{source}", ""]
        if row["name"] not in found:
            lines += [f"Not run here: `initbench run {folder.as_posix()}/{row['name']}.toml`.", ""]
        elif len(table := found[row["name"]]):
            lines += [f"**{verdict(table)}.**", "", markdown(table), ""]
    return "\n".join(lines)


def _fixed(results: Results) -> str:
    """Everything that does not vary in a part."""
    study = results.study
    told = {**study, **study.get("fix", {})}
    plain = {name: _one_level(value) for name, value in told.items() if name != "question"}
    return ", ".join(f"{name} {value}" for name, value in plain.items() if value is not None)


def _one_level(value: Any) -> Any:
    """A value that does not vary; None for what does."""
    if isinstance(value, list) and len(set(map(str, value))) == 1:
        return f"{value[0]} ({len(value)} times)" if len(value) > 1 else value[0]
    return None if isinstance(value, list | dict) else value
