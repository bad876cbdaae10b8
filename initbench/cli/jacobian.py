"""`initbench jacobian`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from initbench.cli import options, output
from initbench.core.files import require_writable


@click.command("jacobian")
@options.network
@click.option("--spectrum", is_flag=True, help="All singular values too: largest, smallest, condition number, rank.")
@click.option("--at", type=int, default=4, show_default=True, help="Jacobians at this many inputs of the batch.")
@click.option("--probes", type=int, default=64, show_default=True, help="Random vectors an input, for the trace.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@options.drawn("", "With --spectrum: ")
@options.output_format
def jacobian_command(form: str, reports: Path, figures: tuple[str, ...], **given: Any) -> None:
    """What deep MLPs do to small changes of their input: Jacobians of each layer, and of the whole network.

    A row per initializer, activation, seed and layer, and one for the network: the mean squared singular value
    tr(J'J)/fan_in with its standard error beside mean field's product of chi; with --spectrum the condition number,
    which tells orthogonal weights from Gaussian ones; the effective rank of the activations and the cosine of the
    pre-activations beside mean field's; the condition number of the neural tangent kernel of the batch.
    """
    from initbench.analysis.figures import jacobian_spectrum, save
    from initbench.grid.jacobians import jacobians

    drawn = figures if given["spectrum"] else ()
    if drawn:
        require_writable(reports)  # told before the work
    with output.progress("Networks") as count:
        frame = jacobians(progress=count, **given)
    output.echo(frame, form, pager=True)
    if drawn:
        numbers = jacobian_spectrum.summary(frame)
        path = save(jacobian_spectrum.draw(numbers), numbers, reports, "jacobian_spectrum", drawn)
        if form == "table":
            click.echo(f"Figure:  {path}")
