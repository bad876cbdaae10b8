"""Results as a notebook shows them: question, answer, what it rests on, and the tables at hand."""

from __future__ import annotations

from initbench.analysis.page import caveats, findings
from initbench.analysis.page.templates import environment
from initbench.analysis.results import Results, progress_of


def card(results: Results) -> str:
    """A few lines of HTML, without scripts; of results that are not finished, how far they are."""
    template = environment().get_template("card.html.j2")
    if not results.finished:
        return template.render(folder=results.folder, progress=progress_of(results.folder), tables=[])
    finding, rests = findings.of_results(results), caveats.rests("", results)
    tables = [(name, len(frame), list(map(str, frame))) for name in results.manifest["tables"]
              for frame in [results.table(name)]]  # fmt: skip
    return template.render(folder=results.folder, finding=finding, rests=rests, tables=tables)
