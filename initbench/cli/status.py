"""`initbench status`."""

from __future__ import annotations

from pathlib import Path

import click

from initbench.cli import output


@click.command("status")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--check", is_flag=True, help="Name each damaged, missing or foreign file; exit with 3 if there is one.")
def status_command(out: Path, check: bool) -> None:
    """Say how far the results in the folder OUT are."""
    from initbench.analysis.results import faults_of, progress_of
    from initbench.core.folder import results_in

    if not check:
        for name in results_in(out) or [""]:
            click.echo(f"{output.printable(name)}:\n" if name else "", nl=False)
            for label, text in progress_of(out / name).items():
                click.echo(f"{label:<10} {output.printable(text)}")
        return
    found = faults_of(out)
    for fault in found:
        click.echo(output.printable(f"{fault.path}: {fault.why}"))
    if found:
        raise SystemExit(3)
    click.echo("all files are as they were written")
