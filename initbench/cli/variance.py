"""`initbench variance`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from initbench.cli import options, output
from initbench.core.files import require_writable


@click.command("variance")
@options.network
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--out",
    type=options.Folder(),
    default=Path("results/variance"),
    show_default=True,
    help="Folder for the tables.",
)
@options.figures
@options.output_format
def variance_command(form: str, device: str, out: Path, reports: Path, figures: bool, **given: Any) -> None:
    """Propagate activations and gradients through deep MLPs and hold every layer against theory.

    One row a pairing: log10 of the factor by which E[z²] and the squared gradient change from layer to layer,
    measured and predicted (mean field), and a word with its cause. The same command again computes nothing twice.
    """
    from initbench.analysis import report, verdicts
    from initbench.analysis.results import Results
    from initbench.grid.run import run_variance
    from initbench.grid.variance_study import resolve

    given, where = options.split(given)
    study = resolve(**given)
    drawn_into = reports / out.name
    if figures:
        require_writable(drawn_into)  # told before the work
    with output.progress("networks") as count:
        store = run_variance(study, out, device=device, judge=verdicts.verdicts, progress=count, **where)
    if store.replaced:
        click.echo(f"The results of another study in {out} were replaced.", err=True)
    results = Results(out)
    output.echo(verdicts.summary(results.verdicts), form)
    drawn = report.draw_all(results, drawn_into) if figures else []
    if form == "table":
        click.echo(f"Tables:  {out}/ (layers, predictions, verdicts, histograms)")
        for path in drawn:
            click.echo(f"Figure:  {path}")
