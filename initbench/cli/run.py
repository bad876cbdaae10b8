"""`initbench run`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click

from initbench.cli import options, output
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError
from initbench.core.files import read_toml, require_writable

KINDS = ("train", "variance", "calibration")


@click.command("run")
@click.argument("study", type=click.Path(path_type=Path), metavar="STUDY.toml")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", type=options.Folder(), help="Folder for the tables. Default: results/NAME.")
@options.figures
@options.output_format
@click.pass_context
def run_command(
    ctx: click.Context, study: Path, device: str, out: Path | None, reports: Path, figures: bool, form: str
) -> None:
    """Answer the question of a study file.

    It is of training, of propagation, or of the verdicts themselves (kind = "train", "variance" or "calibration").

    The same command again computes nothing twice, and goes on where it was interrupted.
    """
    told = read_toml(study)
    kind = told.pop("kind", "train")
    out = out or Path("results") / study.stem
    common: dict[str, Any] = {"device": device, "out": out, "reports": reports, "figures": figures, "form": form}
    if kind == "train":
        from initbench.cli.train_grid import train_grid_command

        ctx.invoke(train_grid_command, study=study, **common)
    elif kind == "variance":
        from initbench.cli.variance import variance_command

        ctx.invoke(variance_command, **_options(study, told), **common)
    elif kind == "calibration":
        _calibrate(study, **common)
    else:
        raise UsageError(f"{study}: unknown kind '{kind}'{did_you_mean(str(kind), KINDS)}")


def _options(study: Path, told: dict[str, Any]) -> dict[str, Any]:
    """The network's options that a study of propagation gives; raises `UsageError` for another key."""
    from initbench.grid.variance_study import resolve

    known = inspect.signature(resolve).parameters
    for key in told:
        if key not in known:
            raise UsageError(f"{study}: unknown key '{key}'{did_you_mean(key, known)}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}


def _calibrate(study: Path, device: str, out: Path, reports: Path, figures: bool, form: str) -> None:
    from initbench.analysis import report
    from initbench.analysis.agreement import agreement
    from initbench.analysis.figures import calibration
    from initbench.analysis.results import Results
    from initbench.grid.calibration import read_calibration, run_calibration

    chosen = read_calibration(study)
    if figures:
        require_writable(reports / out.name)  # told before the work
    with output.progress("parts") as count:
        run_calibration(chosen, out, agreement, device, count)
    results = Results(out)
    if form == "table":
        click.echo(f"{chosen.question}\n")
    output.echo(calibration.summary(results.table("alarms")), form)
    drawn = report.draw_all(results, reports / out.name) if figures else []
    if form == "table":
        click.echo(f"Tables:  {out}/ (alarms)")
        for path in drawn:
            click.echo(f"Figure:  {path}")
