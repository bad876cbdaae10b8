"""`initbench variance`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from initbench.cli import options, output
from initbench.core.errors import require
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
@click.option(
    "--widths-sweep",
    type=options.Numbers(),
    help="Several widths: slopes against width and depth; --check fails where one is not as expected.",
)
@click.option("--check", is_flag=True, help="Exit with 3 unless every pairing is stable and as predicted.")
@click.option("--baseline", type=options.Folder(), help="Results to compare with; --check fails where they differ.")
@options.output_format
def variance_command(
    form: str,
    device: str,
    out: Path,
    reports: Path,
    figures: tuple[str, ...],
    widths_sweep: tuple[int, ...] | None,
    check: bool,
    baseline: Path | None,
    **given: Any,
) -> None:
    """Propagate activations and gradients through deep MLPs and hold every layer against theory.

    One row a pairing: log10 of the factor by which E[z²] and the squared gradient change from layer to layer,
    measured and predicted (mean field), a word with its cause, and whether theory at this width agrees. The same
    command again computes nothing twice.
    """
    from initbench.analysis import agreement, verdicts
    from initbench.analysis.results import Results
    from initbench.grid.run import run_variance
    from initbench.grid.variance_study import resolve

    given, where = options.split(given)
    if widths_sweep is not None:
        require(baseline is None, "--widths-sweep goes without --baseline")
        _sweep(form, device, out, reports / out.name, figures, check, widths_sweep, given, where)
        return
    study = resolve(**given)
    drawn_into = reports / out.name
    before = None if baseline is None else Results(baseline).layers
    if before is not None:  # as the next, told before the work
        require(min(study.seeds, before.seed.nunique()) > 1, "--baseline needs two seeds or more, here and there")
    if figures:
        require_writable(drawn_into)
    with output.progress("networks") as count:
        store = run_variance(study, out, device=device, judge=verdicts.verdicts, progress=count, **where)
    results = Results(out)
    drawn = output.drawn(out, drawn_into, figures)
    failed = verdicts.failures(results.verdicts) if check else []
    if before is not None:
        failed += agreement.differences(results.layers, before)
    if store.replaced:  # and no error after it: that is one line alone
        click.echo(f"The results of another study in {out} were replaced.", err=True)
    output.echo(verdicts.summary(results.verdicts), form)
    if form == "table":
        click.echo(f"Tables:  {out}/ (layers, predictions, residuals, verdicts, histograms)")
        output.echo_paths(drawn)
    for line in failed:
        click.echo(line, err=True)
    if check and failed:
        raise SystemExit(3)


def _sweep(
    form: str,
    device: str,
    out: Path,
    reports: Path,
    figures: tuple[str, ...],
    check: bool,
    widths: tuple[int, ...],
    given: dict[str, Any],
    where: dict[str, Any],
) -> None:
    """The study at each width, in a folder of its own, and the slopes over all."""
    from initbench.analysis import slopes, verdicts
    from initbench.analysis.figures import save, width_slopes
    from initbench.analysis.results import Results
    from initbench.core.files import write_text
    from initbench.grid.run import run_variance
    from initbench.grid.variance_study import resolve_sweep

    studies = resolve_sweep(widths, **given)
    if figures:
        require_writable(reports)  # told before the work
    found = {}
    for width, study in studies.items():
        folder = out / f"width_{width}"
        with output.progress(f"networks of width {width}") as count:
            run_variance(study, folder, device=device, judge=verdicts.verdicts, progress=count, **where)
        found[width] = Results(folder)
    layers = {width: results.layers for width, results in found.items()}
    table = slopes.slopes(layers, {width: results.predictions for width, results in found.items()})
    write_text(out / "slopes.csv", table.to_csv(index=False))
    drawn = width_slopes.summary(layers, table)
    paths = [save(width_slopes.draw(drawn), drawn, reports, "width_slopes", figures)] if figures else []
    output.echo(slopes.summary(table) if form == "table" else table, form)
    if form == "table":
        click.echo(f"Tables:  {out}/ (slopes.csv; a folder for each width)")
        output.echo_paths(paths)
    failed = slopes.failures(table) if check else []
    for line in failed:
        click.echo(line, err=True)
    if failed:
        raise SystemExit(3)
