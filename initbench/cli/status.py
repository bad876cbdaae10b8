"""`initbench status`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("status")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
def status_command(out: Path) -> None:
    """Say how far the results in the folder OUT are."""
    from initbench.analysis.results import progress_of

    for label, text in progress_of(out).items():
        click.echo(f"{label:<10} {text}")
