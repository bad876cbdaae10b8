"""A results folder as one HTML file: the question, the answer and what it rests on, before figures and tables.

The file loads nothing: styles, scripts, figures and numbers stand in it. `html` makes it; a template says what stands
where, `findings` what is told of each kind of study, `page.js` what happens in a browser.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from markupsafe import Markup

from initbench.analysis.figures import PNG, save
from initbench.analysis.page import caveats, content, findings, provenance
from initbench.analysis.page.answers import Answer, keep, opened
from initbench.analysis.page.comparisons import Comparison
from initbench.analysis.page.drawings import Drawn, Made, drawn, figures
from initbench.analysis.page.expected import Outcome, outcomes
from initbench.analysis.page.tables import Grid, Table
from initbench.analysis.page.templates import asset, environment
from initbench.analysis.results import Results
from initbench.core.files import make_folder, write_text

__all__ = ["Answer", "html", "keep", "write_all"]


@dataclass(frozen=True)
class Told:
    """What a results folder holds, and what is made of it once: findings and figures."""

    answer: Answer
    parts: Mapping[str, Results]
    found: Mapping[str, findings.Finding]
    figures: list[Made]
    compared: Mapping[str, list[Made]]
    """Figures of each part's comparison, where it makes one."""

    @property
    def plain(self) -> bool:
        """Whether it is of one part, and nothing was expected: the part's finding is then the answer."""
        return len(self.parts) == 1 and self.answer.outcomes.empty


@dataclass(frozen=True)
class Compared:
    """A comparison as the page shows it."""

    title: str
    comparison: Comparison
    figures: list[Drawn]


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
    parts: list[tuple[str, findings.Finding, Compared | None]]
    """What each part found by itself, where the study has several or expects something."""
    compared: Compared | None
    """Else: the comparison that it makes."""
    figures: list[Drawn]
    tables: list[Grid | Table]
    provenance: list[tuple[str, list[tuple[str, str]]]]
    again: str
    setup: str
    cite: str


def html(*folders: str | Path, title: str = "") -> str:
    """The page of the results in `folders`, as text: a study's, one command's, or several under one `title`.

    Raises `UsageError` where a folder holds no results.
    """
    return _html([_told(Path(folder)) for folder in folders], title)


def _html(told: list[Told], title: str = "") -> str:
    subjects = list(_subjects(told))
    grids = [table for subject in subjects for table in subject.tables if isinstance(table, Grid)]
    scripts = list(_scripts(grids))
    page = environment().get_template("page.html.j2").render(
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
    return page.encode(errors="backslashreplace").decode()  # a folder's name may be bytes that are no letters


def write_all(out: Path, folder: Path, formats: Sequence[str] = (PNG,)) -> list[Path]:
    """Write into `folder` the figures of the results in `out`, each with its CSV, and ``report.html`` with all of them.

    Each is drawn once, and kept in each of the `formats`. The paths, the page's first, then each figure's first.
    """
    told = _told(out)
    compared = [*chain.from_iterable(told.compared.values())]
    made = [*compared, *told.figures] if told.plain else [*told.figures, *compared]
    images = [save(one.figure, one.summary, folder, one.name, formats) for one in made]
    make_folder(folder)
    write_text(folder / "report.html", _html([told]))
    return [folder / "report.html", *images]


def _told(folder: Path) -> Told:
    answer, parts = opened(folder)
    found = {part: findings.of_results(results) for part, results in parts.items()}
    told = Told(answer, parts, found, list(figures(answer, parts)), {})
    compared = {part: list(finding.comparison.figures("" if told.plain else part))
                for part, finding in found.items() if finding.comparison}  # fmt: skip
    return replace(told, compared=compared)


def _subjects(all_told: list[Told]) -> Iterator[Subject]:
    for place, told in enumerate(all_told):
        yield _subject(f"s{place}-" if place else "", "" if len(all_told) == 1 else told.answer.name, told)


def _subject(place: str, heading: str, told: Told) -> Subject:
    answer, parts, found = told.answer, told.parts, told.found
    first = next(iter(found.values()))
    question = answer.question or (first.question if len(found) == 1 else f"What do the results in {answer.name} say?")
    if len(answer.outcomes):
        finding = findings.of_outcomes(question, answer.outcomes)
    else:
        lead = first.lead if len(found) == 1 else " ".join(f"{part}: {one.lead}" for part, one in found.items())
        finding = findings.Finding(question, lead, first.facts, first.groups)
    parts_told = list(_parts(told, place))
    return Subject(
        id=place,
        heading=heading,
        finding=finding,
        outcomes=outcomes(answer.outcomes),
        answer=answer,
        rests=caveats.of_parts(parts),
        parts=[] if told.plain else parts_told,
        compared=parts_told[0][2] if told.plain else None,
        figures=list(drawn(told.figures, f"{place}f")),
        tables=content.tables(parts, f"{place}t"),
        provenance=[(part, provenance.rows(results)) for part, results in parts.items()],
        again=provenance.again(answer, parts),
        setup=provenance.setup(parts),
        cite=provenance.cite(answer, parts),
    )


def _parts(told: Told, place: str) -> Iterator[tuple[str, findings.Finding, Compared | None]]:
    for number, (part, finding) in enumerate(told.found.items(), 1):
        yield part, finding, _compared(finding.comparison, told.compared.get(part, ()), f"{place}p{number}c")


def _compared(comparison: Comparison | None, made: Iterable[Made], place: str) -> Compared | None:
    if comparison is None:
        return None
    return Compared(f"Levels of {comparison.by} against {comparison.baseline}", comparison, list(drawn(made, place)))


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
    return asset(name).replace("</script", "<\\/script").replace("</style", "<\\/style")


def _hash(script: str) -> str:
    """By which the page's policy lets this very script run, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
