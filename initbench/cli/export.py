"""`initbench export`."""

from __future__ import annotations

from pathlib import Path

import click

from initbench.cli import options, output


@click.command("export")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--to", required=True, metavar="TARGET", help="csv, parquet, wandb, mlflow or tensorboard; the last"
              ' three are extras: pip install "initbench[wandb]".')  # fmt: skip
@click.option("--into", type=options.Folder(), help="Folder for what is written. Default: exports/NAME, NAME as OUT's.")
@click.option("--where", multiple=True, type=options.Setting(), help="Only this level of a factor; repeatable.")
def export_command(out: Path, to: str, into: Path | None, where: tuple[tuple[str, str], ...]) -> None:
    """Export the results in the folder OUT to files or an experiment tracker.

    csv and parquet take every table. A tracker gets a run per trained cell, or per pairing and seed: factors as its
    configuration, final numbers, curves by step, and runs that diverged marked as failed. The same command again
    exports nothing twice, and goes on where it was interrupted. Nothing is sent anywhere unless the tracker's own
    WANDB_MODE or MLFLOW_TRACKING_URI says so.
    """
    from initbench.analysis.export import export
    from initbench.comparing import canonical

    with output.changes_told(out), output.progress(to) as count:
        lines = export(out, to, into, options.levels(where), canonical=canonical, progress=count)
    for line in lines:
        click.echo(line)
