"""`initbench test-plugin`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from initbench.cli import output
from initbench.cli.options import output_format


@click.command("test-plugin")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@output_format
def test_plugin_command(file: Path, form: str) -> None:
    """Hold all that FILE registers to the laws of its kind; exit with 3 if one does not hold.

    Of an initializer shape, dtype, generator and promised variance; of an activation that it is elementwise and
    differentiable, and its kinks; of a data set that it can be trained on and is the same each time; of an optimizer
    that it steps a stack of networks as each alone.
    """
    import pandas as pd

    from initbench.battery import outcomes
    from initbench.core.plugins import load

    load(file)
    frame = pd.DataFrame([asdict(row) for row in outcomes(file)])
    output.echo(frame, form)
    failed = int((frame["outcome"] == "fail").sum())
    if form == "table":
        click.echo(f"{len(frame) - failed} of {len(frame)} laws hold.")
    if failed:
        raise SystemExit(3)
