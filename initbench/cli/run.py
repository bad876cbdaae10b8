"""`initbench run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from initbench.cli import options, output
from initbench.core.files import make_folder, require_writable, write_text

if TYPE_CHECKING:
    import pandas as pd

    from initbench.analysis.results import Results
    from initbench.kinds import Where


@click.command("run")
@click.argument("studies", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="STUDY.toml...")
@click.option("--full", is_flag=True, help="As the files' `full` says: real data, more seeds.")
@options.data
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@options.hands
@click.option("--out", type=options.Folder(), help="Folder for the tables. Default: results/NAME.")
@click.option("--dry-run", is_flag=True, help="Read the files, and print what training would take; compute nothing.")
@options.figures
@click.option("--check", is_flag=True, help="Exit with 3 unless every expectation held.")
@click.option("--index", type=click.Path(path_type=Path), help="Write a list of all studies beside, with outcomes.")
@options.output_format
def run_command(
    studies: tuple[Path, ...],
    full: bool,
    data_root: Path | None,
    download: bool,
    device: str,
    executor: str,
    address: str | None,
    stack_timeout: float | None,
    out: Path | None,
    dry_run: bool,
    reports: Path,
    figures: tuple[str, ...],
    check: bool,
    index: Path | None,
    form: str,
) -> None:
    """Answer the questions of study files.

    Each says what it expects before it runs, and is told whether that held. The same command again computes nothing
    twice, and goes on where it was interrupted.
    """
    if not dry_run:
        options.begin_ahead(executor, device)
    from initbench import studies as files
    from initbench.core.errors import InitbenchError, require
    from initbench.grid.executors import Hands
    from initbench.kinds import Where

    require(out is None or len(studies) == 1, "--out is for one study")
    where = Where(data_root, download, device, Hands(executor, address, stack_timeout))
    suffix = "_full" if full else ""
    outcomes, failed = {}, 0
    for study in studies:
        folder = out or Path("results") / f"{study.stem}{suffix}"
        try:
            if dry_run:
                _tell_plan(study, full, where)
                continue
            outcomes[study.stem] = _answer(study, full, where, folder, reports / folder.name, figures, form)
        except InitbenchError as error:
            if len(studies) == 1:
                raise
            told = output.printable(f"Error: {study.stem}: {error}")
            click.echo(told, err=True)  # the others are answered all the same
            failed = error.exit_code
    if index and not dry_run:
        write_text(index, files.index(index.parent, outcomes))
    if failed:
        raise SystemExit(failed)
    if check and any((found["outcome"] != "held").any() for found in outcomes.values()):
        raise SystemExit(3)


def _tell_plan(study: Path, full: bool, where: Where) -> None:
    """Each part's kind, and what it would take."""
    from initbench import studies
    from initbench.cli.train_grid import tell_estimate

    inquiry = studies.read(study, full)
    for part, work in inquiry.works(study, where).items():
        kind = inquiry.parts[part].get("kind", "train")
        click.echo(f"{study.stem}{part and f', part {part}'}: {kind}{'' if work.takes else ', which is not estimated'}")
        if work.takes:
            tell_estimate(work.takes())


def _answer(
    study: Path, full: bool, where: Where, out: Path, reports: Path, figures: tuple[str, ...], form: str
) -> pd.DataFrame:
    """Run a study file's parts and tell what they say; the outcomes of its expectations."""
    from initbench import studies
    from initbench.analysis import expectations, page
    from initbench.analysis.results import Results
    from initbench.cli.train_grid import require_all_trained

    inquiry = studies.read(study, full)
    works = inquiry.works(study, where)  # what cannot be is told before the work
    require_writable(reports)
    parts = {}
    for part, work in works.items():
        with output.progress(part or study.stem) as count:
            work(out / part, count)
        parts[part] = Results(out / part)
    found = inquiry.outcomes(parts)
    if form == "table":
        click.echo(f"{inquiry.question}\n")
    if list(parts) == [""] and (form == "table" or found.empty):
        _tell_kind(parts[""], form)
    if len(found):
        output.echo(expectations.shown(found) if form == "table" else found, form)
    make_folder(reports)
    write_text(reports / "expectations.csv", found.to_csv(index=False))
    asked = {name: getattr(inquiry, name) for name in ("question", "source", "caveats")}
    drawings, text = inquiry.figures(parts) if figures else {}, study.read_text(encoding="utf-8")
    page.keep(page.Answer(study.stem, **asked, outcomes=found, figures=drawings, text=text, full=full), out, parts)
    drawn = output.drawn(out, reports, figures)
    write_text(reports / "report.md", studies.report(inquiry, study, parts, found, drawn[1:]))
    if form == "table":
        click.echo(f"{expectations.verdict(found)}\n" if len(found) else "", nl=False)
        click.echo(f"Tables:  {out}/")
        output.echo_paths(drawn or [reports / "report.md"])
    for results in parts.values():
        if results.study["kind"] == "train":
            require_all_trained(results.runs)
    return found


def _tell_kind(results: Results, form: str) -> None:
    """What the command of its kind tells: the verdicts, the best runs, or where paths and curves end."""
    from initbench.analysis import verdicts
    from initbench.analysis.figures import calibration, landscape, predicted_curves
    from initbench.cli.train_grid import tell_runs

    if results.study["kind"] == "variance":
        output.echo(verdicts.summary(results.verdicts), form)
    elif results.study["kind"] == "train":
        tell_runs(results.runs, form)
    elif results.study["kind"] == "calibration":
        output.echo(calibration.summary(results.table("alarms")), form)
    elif results.study["kind"] == "landscape":
        output.echo(landscape.ends(results.curves), form)
    elif results.study["kind"] == "curve":
        output.echo(predicted_curves.times(results.curves), form)
    else:
        output.echo(results.table(f"{results.study['kind']}s"), form)
