"""A results folder as one HTML file: the question, the answer and what it rests on, before figures and tables.

The file loads nothing: styles, scripts, figures and numbers stand in it. `html` makes it; a template says what stands
where, `findings` what is told of each kind of study, `page.js` what happens in a browser.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from initbench.analysis.figures import PNG, save
from initbench.analysis.page import caveats, content, findings, provenance
from initbench.analysis.page.answers import Answer, keep, opened
from initbench.analysis.page.drawings import Drawn, Made, drawn, figures
from initbench.analysis.page.expected import Outcome, outcomes
from initbench.analysis.page.tables import Grid, Table
from initbench.analysis.page.templates import ASSETS, environment
from initbench.analysis.results import Results
from initbench.core.files import write_text

__all__ = ["Answer", "html", "keep", "write_all"]


@dataclass(frozen=True)
class Subject:
    """All that a page tells of one results folder."""

    id: str
    heading: str
    """Empty, where the page is of it alone."""
    finding: findings.Finding
    outcomes: list[Outcome]
    answer: Answer
    rests: list[caveats.Rests]
    parts: list[tuple[str, findings.Finding]]
    """What each part found by itself, where the study has several or expects something."""
    figures: list[Drawn]
    tables: list[Grid | Table]
    provenance: list[tuple[str, list[tuple[str, str]]]]
    again: str
    setup: str
    cite: str


def html(*folders: str | Path, title: str = "", made: Iterable[Made] = ()) -> str:
    """The page of the results in `folders`, as text: a study's, one command's, or several under one `title`.

    `made` are the figures of one folder, where they are drawn already (`analysis.report.figures`). Raises `UsageError`
    where a folder holds no results.
    """
    subjects = list(_subjects([Path(folder) for folder in folders], list(made)))
    grids = [table for subject in subjects for table in subject.tables if isinstance(table, Grid)]
    scripts = list(_scripts(grids))
    return environment().get_template("page.html.j2").render(
        title=title or " · ".join(subject.finding.question for subject in subjects),
        alone=len(subjects) == 1,
        subjects=subjects,
        grids=grids,
        styles=[Markup(text) for text in _styles(grids)],
        scripts=[Markup(text) for text in scripts],
        hashes=[_hash(text) for text in [_read("theme.js"), *scripts]],
        theme=Markup(_read("theme.js")),
        licences=_read("vendor/LICENSES.txt") if grids else "",
        made=datetime.now(UTC).isoformat(timespec="minutes"),
        version=version("initbench"),
    )  # fmt: skip


def write_all(out: Path, folder: Path, formats: Sequence[str] = (PNG,)) -> list[Path]:
    """Write into `folder` the figures of the results in `out`, each with its CSV, and ``report.html`` with all of them.

    Each is drawn once, and kept in each of the `formats`. The paths, the page's first, then each figure's first.
    """
    made = list(figures(*opened(out)))
    images = [save(figure, summary, folder, name, formats) for name, summary, figure in made]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.html", html(out, made=made))
    return [folder / "report.html", *images]


def _subjects(folders: list[Path], made: list[Made]) -> Iterator[Subject]:
    for place, folder in enumerate(folders):
        answer, parts = opened(folder)
        alone = len(folders) == 1
        yield _subject(f"s{place}-" if place else "", "" if alone else answer.name, answer, parts, made)


def _subject(place: str, heading: str, answer: Answer, parts: dict[str, Results], made: list[Made]) -> Subject:
    found = {part: findings.of_results(results) for part, results in parts.items()}
    first = next(iter(found.values()))
    expects = len(answer.outcomes) > 0
    question = answer.question or (first.question if len(found) == 1 else f"What do the results in {answer.name} say?")
    if expects:
        finding = findings.of_outcomes(question, answer.outcomes)
    else:
        lead = first.lead if len(found) == 1 else " ".join(f"{part}: {one.lead}" for part, one in found.items())
        finding = findings.Finding(question, lead, first.facts, first.groups)
    return Subject(
        id=place,
        heading=heading,
        finding=finding,
        outcomes=outcomes(answer.outcomes),
        answer=answer,
        rests=[caveats.rests(part, results) for part, results in parts.items()],
        parts=list(found.items()) if expects or len(found) > 1 else [],
        figures=list(drawn(made or figures(answer, parts), f"{place}f")),
        tables=content.tables(parts, f"{place}t"),
        provenance=[(part, provenance.rows(results)) for part, results in parts.items()],
        again=provenance.again(answer, parts),
        setup=provenance.setup(parts),
        cite=provenance.cite(answer, parts),
    )


def _styles(grids: list[Grid]) -> Iterator[str]:
    if grids:
        yield _read("vendor/table.min.css")
    yield _read("page.css")


def _scripts(grids: Iterable[Grid]) -> Iterator[str]:
    grids = list(grids)
    if grids:
        yield _read("vendor/table.min.js")
    if any(grid.parallel for grid in grids):
        yield _read("vendor/parallel.min.js")
    yield _read("page.js")


@cache
def _read(name: str) -> str:
    """A file that stands in the page as it is; none may end the element that it stands in."""
    text = (ASSETS / name).read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script").replace("</style", "<\\/style")


def _hash(script: str) -> str:
    """By which the page's policy lets this very script run, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
