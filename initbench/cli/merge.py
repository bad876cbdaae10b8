"""`initbench merge`."""

from __future__ import annotations

from pathlib import Path

import click

from initbench.cli import options, output
from initbench.core.errors import WorkError
from initbench.core.files import require_writable


@click.command("merge")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="A B...")
@click.option("--out", type=options.Folder(), required=True, help="Folder for the results of all.")
@click.option("--keep", type=click.Choice(["first", "last"]), help="Whose is taken, where they differ.")
@options.output_format
def merge_command(folders: tuple[Path, ...], out: Path, keep: str | None, form: str) -> None:
    """Merge results folders of one study, or of studies that differ in which cells they have, into one.

    A row for each table that several of them hold, or for each column that differs there. The same cells must agree
    within the tolerance, or nothing is written, unless --keep says whose is taken. A run that failed gives way to one
    that did not. The folders themselves stay as they are.
    """
    from initbench.analysis import merging
    from initbench.merging import conflict, write

    require_writable(out)
    found = merging.merged(folders, keep or merging.FIRST)
    if form != "table" or len(found.differences):
        output.echo(found.differences, form)
    for note in found.notes:
        click.echo(f"Note: {output.printable(note)}", err=True)
    if keep is None and len(found.conflicts):
        raise WorkError(conflict(found.conflicts))
    write(found, out)
    if form == "table":
        rows = ", ".join(f"{name} {len(table):,}" for name, table in found.tables.items())
        click.echo(f"Merged:  {len(folders)} folders into {out}/ (rows: {rows})")
