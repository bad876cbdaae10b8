"""`initbench predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from initbench.cli import options, output
from initbench.core.errors import UsageError
from initbench.core.files import require_writable

OF_PHASES = ("phases", "critical_line", "reports", "figures", "figure_format")
"""The parameters that speak of an activation alone."""
LONG = 200
"""Rows that are printed as a table, of every layer."""


@click.command("predict")
@options.network
@click.option("--law", "laws", multiple=True, type=options.Spec("laws"), help="A law; may be repeated. Default: all.")
@click.option("--phase", "phases", multiple=True, type=options.Spec("activations"), metavar="ACTIVATION",
              help="Instead of layers, the phase diagram of an activation over the variances of weights and biases;"
              " may be repeated.")  # fmt: skip
@click.option(
    "--critical-line", is_flag=True, help="With --phase: csv and json hold where chi_1 = 1, all its branches."
)
@options.drawn("", "With --phase: ")
@options.output_format
@click.pass_context
def predict_command(
    ctx: click.Context,
    form: str,
    laws: tuple[str, ...],
    phases: tuple[str, ...],
    critical_line: bool,
    reports: Path,
    figures: tuple[str, ...],
    **given: Any,
) -> None:
    """What theory says of every layer of every pairing, by each law; no sampling.

    A row per initializer, activation, law and layer (as a table, where these are many: the first and the last layer).
    `initbench list columns` says what each column is.

    With --phase, of an activation in networks of infinite width: where it is ordered, chaotic or critical, a row per
    weight variance fan_in·Var(w) and bias variance (as a table: the critical line, and some of the rows).
    """
    _require_one_subject(ctx, bool(phases))
    if phases:
        _show_phases(phases, form, critical_line, reports, figures)
        return
    from initbench.api import predict

    table = predict(laws=laws, **given)
    if form != "table" or len(table) <= LONG:
        output.echo(table, form, pager=True)
        return
    ends = [1, table["layer"].max()]  # where gradients arrive, and where signals do
    output.echo(table[table["layer"].isin(ends)], form, pager=True)
    click.echo(f"The first and the last layer, of {len(table):,} rows (all with --format csv).")


def _require_one_subject(ctx: click.Context, of_phases: bool) -> None:
    """Options of networks do not go with --phase, nor its own without it."""
    given = [
        param for param in ctx.command.params
        if param.name not in (None, "form", "plugin")
        and ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT
    ]  # fmt: skip
    odd = ["/".join([*param.opts, *param.secondary_opts]) for param in given if (param.name in OF_PHASES) != of_phases]
    if not odd:
        return
    if of_phases:
        raise UsageError(f"--phase is of an activation alone, without a network: leave out {', '.join(odd)}")
    raise UsageError(f"{', '.join(odd)}: only with --phase ACTIVATION")


def _show_phases(
    specs: tuple[str, ...], form: str, critical_line: bool, reports: Path, figures: tuple[str, ...]
) -> None:
    """Each activation's phase diagram once: printed, and drawn into `reports`."""
    if figures:
        require_writable(reports)  # told before the work
    import pandas as pd

    from initbench.activations import ACTIVATIONS
    from initbench.analysis.figures import phase_diagram as figure
    from initbench.analysis.figures import save
    from initbench.grid.phases import phase_diagram

    names = dict.fromkeys(ACTIVATIONS.canonical(spec) for spec in specs)
    diagrams = [phase_diagram(name) for name in names]
    if form != "table":
        tables = [diagram.line if critical_line else diagram.points for diagram in diagrams]
        output.echo(pd.concat(tables, ignore_index=True), form)
    for diagram in diagrams:
        if form == "table":
            click.echo("Critical line, where chi_1 = 1 (a row for each branch):")
            output.echo(diagram.few_of_line, form)
            click.echo("Fixed points, of some variances (all with --format csv):")
            output.echo(diagram.few_points, form)
        if figures:
            drawn = figure.summary(diagram.points, diagram.line)
            path = save(figure.draw(drawn), drawn, reports, f"phase_diagram_{diagram.activation}", figures)
            if form == "table":
                click.echo(f"Figure:  {path}")
