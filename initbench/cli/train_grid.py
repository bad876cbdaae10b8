"""`initbench train-grid`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from initbench.cli import options, output
from initbench.core.errors import WorkError
from initbench.core.files import require_writable

if TYPE_CHECKING:
    import pandas as pd

    from initbench.engine.timing import Stopwatch


@click.command("train-grid")
@click.argument("study", required=False, type=click.Path(path_type=Path), metavar="[STUDY.toml]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    type=options.Setting(),
    metavar="KEY=VALUE",
    help="A factor in place of the study's, such as lr=[0.1,0.01], seeds=3; may be repeated.",
)
@click.option("--dataset", type=options.Spec("datasets"), help="A data set in place of the study's.")
@options.data
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--engine", default="stacked", show_default=True, help="stacked, or the plain loop: reference.")
@options.hands
@click.option("--out", type=options.Folder(), help="Folder for the tables. Default: results/NAME.")
@click.option("--dry-run", is_flag=True, help="Print what would be trained, and what it would take.")
@click.option("--profile", is_flag=True, help="Say where the time of the updates goes.")
@options.figures
@options.output_format
def train_grid_command(
    study: Path | None,
    settings: tuple[tuple[str, str], ...],
    dataset: str | None,
    data_root: Path | None,
    download: bool,
    device: str,
    engine: str,
    executor: str,
    address: str | None,
    stack_timeout: float | None,
    out: Path | None,
    dry_run: bool,
    profile: bool,
    reports: Path,
    figures: tuple[str, ...],
    form: str,
) -> None:
    """Train every network of a grid, thousands at once; without a STUDY a small grid on the embedded digits.

    The best runs come first, chosen on validation; below them, what each factor explains of the test accuracy. The
    same command again trains nothing twice, and goes on where it was interrupted.
    """
    if not dry_run:
        options.begin_ahead(executor, device)
    from initbench.engine.timing import Stopwatch
    from initbench.grid.executors import Hands
    from initbench.grid.study import read_study, resolve
    from initbench.grid.training import prepare, run_training

    chosen = resolve(read_study(study) if study else None, settings, dataset)
    job = prepare(chosen, data_root, download, device, engine, Hands(executor, address, stack_timeout))
    if dry_run:
        from initbench.grid.estimate import estimate

        tell_estimate(estimate(job))
        return
    out = out or Path("results") / chosen.name
    drawn_into = reports / out.name
    if figures:
        require_writable(drawn_into)  # told before the work
    watch = Stopwatch(job.device) if profile else None
    with output.progress("runs") as count:
        run_training(job, out, profile=watch, progress=count)
    from initbench.analysis.results import Results

    runs = Results(out).runs
    drawn = output.drawn(out, drawn_into, figures)
    tell_runs(runs, form)
    if form == "table":
        if watch and watch.samples:  # the plain loop is not profiled
            _tell_profile(watch)
        click.echo(f"Tables:  {out}/ ({', '.join(job.tables)})")
        output.echo_paths(drawn)
    require_all_trained(runs)


def tell_runs(runs: pd.DataFrame, form: str) -> None:
    """All runs, or as a table to read the best and what each factor explains."""
    from initbench.analysis import training

    if form != "table":
        output.echo(training.best(runs, most=len(runs)), form)
        return
    click.echo(f"{training.counts(runs)}\n")
    output.echo(training.best(runs), form)
    if len(explained := training.factors(runs)):
        click.echo("What each factor explains of the variance of test accuracy (eta²; diverged runs apart):\n")
        output.echo(explained, form)


def require_all_trained(runs: pd.DataFrame) -> None:
    """Raises `WorkError` that says how many failed and why, when all is told."""
    failed = runs[runs["status"] == "failed"]
    if len(failed):
        (reason, *others) = failed["note"].value_counts().index
        more = f", and {len(others)} other reasons" if others else ""
        raise WorkError(
            f"{len(failed):,} of {len(runs):,} runs failed: {reason}{more}; the same command tries them again"
        )


def tell_estimate(takes: dict[str, str]) -> None:
    """What a training would take, line by line."""
    for label, text in takes.items():
        click.echo(f"{label:<10} {text}")


def _tell_profile(watch: Stopwatch) -> None:
    whole = sum(map(watch.seconds, watch.samples)) or 1.0
    click.echo("Where the time of the updates goes:\n")
    for phase, samples in watch.samples.items():
        seconds = watch.seconds(phase)
        click.echo(f"  {phase:<10} {seconds:8.2f} s  {seconds / whole:6.1%}  ({len(samples):,} samples)")
    click.echo()
