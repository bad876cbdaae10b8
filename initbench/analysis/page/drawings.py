"""The figures of a page: each drawn, told in words, and with the CSV of exactly the numbers drawn."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from initbench.analysis import report
from initbench.analysis.figures import relation
from initbench.analysis.page.alternatives import in_words
from initbench.analysis.page.answers import Answer
from initbench.analysis.page.svg import Inline, inline
from initbench.analysis.results import Results
from initbench.core.errors import WorkError


class Made(NamedTuple):
    """A figure, the numbers that it draws, and the part that it is of, where there are several."""

    name: str
    summary: pd.DataFrame
    figure: Figure
    part: str = ""


MOST_PLAIN = 60_000
"""Letters of a CSV, beyond which it is compressed: ``.csv.gz``, which pandas and R read as it is."""


@dataclass(frozen=True)
class Drawn:
    """One figure of the page."""

    id: str
    name: str
    title: str
    words: str
    """What it shows, for those who do not see it."""
    drawing: Inline
    file: str
    """What the download is called."""
    link: str
    """A data: link with the whole CSV in it."""


def drawn(made: Iterable[Made], prefix: str = "f") -> Iterator[Drawn]:
    """Figures as the page has them."""
    for place, one in enumerate(made, 1):
        yield _drawn(f"{prefix}{place}", one)


def figures(answer: Answer, parts: dict[str, Results]) -> Iterator[Made]:
    """All figures that the study asks for, and a sweep's; where it asks for none, those that its parts' kinds have."""
    for name, numbers in answer.figures.items():
        yield Made(name, numbers, _relation(name, numbers))
    for part, results in parts.items():
        if not answer.figures or report.is_sweep(results, report.LARGE_SWEEP):
            for name, numbers, figure in report.figures(results):
                yield Made(f"{part}_{name}".lstrip("_"), numbers, figure, part)


def _relation(name: str, numbers: pd.DataFrame) -> Figure:
    try:
        return relation.draw(numbers)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:  # anyone may have written the file
        raise WorkError(f"the figure '{name}' cannot be drawn: {type(error).__name__}: {error}") from None


def _drawn(place: str, made: Made) -> Drawn:
    drawing = inline(made.figure, f"{place}-")
    title = drawing.title or made.name.replace("_", " ")
    title = f"{made.part}: {title}" if made.part else title
    file, link = csv_link(made.name, made.summary)
    return Drawn(place, made.name, title, in_words(made.name, title, made.summary), drawing, file, link)


def csv_link(name: str, frame: pd.DataFrame) -> tuple[str, str]:
    """A file's name and the data: link that holds it: nothing need be fetched."""
    told = frame.to_csv(index=False).encode()
    if len(told) <= MOST_PLAIN:
        return f"{name}.csv", f"data:text/csv;charset=utf-8;base64,{base64.b64encode(told).decode()}"
    packed = base64.b64encode(gzip.compress(told, mtime=0)).decode()
    return f"{name}.csv.gz", f"data:application/gzip;base64,{packed}"
