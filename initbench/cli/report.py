"""`initbench report`."""

from __future__ import annotations

from pathlib import Path

import click

from initbench.cli import options, output
from initbench.core.errors import require
from initbench.core.files import make_folder, require_writable, write_text


@click.command("report")
@click.argument("outs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="OUT...")
@click.option("--title", default="", help="Of the page. Default: the question.")
@click.option("--reports", type=options.Folder(), default=Path("reports"), show_default=True,
              help="Folder for the page: REPORTS/NAME/report.html, NAME as OUT's.")  # fmt: skip
@click.option("--out", "file", type=click.Path(path_type=Path), help="The page's file, in place of that.")
@click.option("--open", "shown", is_flag=True, help="Show it in the browser.")
def report_command(outs: tuple[Path, ...], title: str, reports: Path, file: Path | None, shown: bool) -> None:
    """Make one HTML file of the results in the folder OUT, or in several.

    The question, the answer with its interval and what it rests on come first; then the figures, each with its
    numbers, the tables, and how to have it all again. The file holds all that it shows: it opens offline, and can be
    mailed.
    """
    from initbench.analysis import page

    path = file or reports / "+".join(out.resolve().name for out in outs) / "report.html"
    require(not path.is_dir(), f"{path} is a folder; give the name of a file")
    require_writable(path.parent)
    with output.changes_told(*outs):
        text = page.html(*outs, title=title)
    make_folder(path.parent)
    write_text(path, text)
    click.echo(f"Report:  {path}")
    if shown:
        click.launch(str(path))
