"""`initbench verify`."""

from __future__ import annotations

from pathlib import Path

import click

from initbench.cli import options, output


@click.command("verify")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--runs", type=click.IntRange(min=1), default=8, show_default=True, help="How many runs to train again.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample of runs.")
@options.data
@click.option("--check", is_flag=True, help="Exit with 3 if a run differs by more than rounding explains.")
@options.output_format
def verify_command(
    out: Path, runs: int, seed: int, data_root: Path | None, download: bool, check: bool, form: str
) -> None:
    """Train a sample of the runs in OUT again with the plain loop, in float64 and float32, and show the differences."""
    from initbench.analysis.results import Results
    from initbench.analysis.verification import beyond_rounding
    from initbench.grid.reproduce import plugins_changed
    from initbench.grid.verify import verify

    results = Results(out)
    for changed in plugins_changed(results.manifest):  # one that is not there is told before its names are unknown
        click.echo(f"Note: the code of the plug-in {changed} is another", err=True)
    with output.changes_told(out), output.progress("runs") as count:
        told = results.manifest.get("data")
        table = verify(
            results.study,
            results.runs,
            beyond_rounding,
            runs,
            seed,
            fingerprints=told,
            data_root=data_root,
            download=download,
            progress=count,
        )
    output.echo(table, form)
    if form == "table":
        numbers = table.filter(regex="^(loss_|accuracy_|rounding)").max().dropna()
        told = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
        click.echo(f"Largest differences: {told or 'none, all of these runs diverged'}")
        click.echo(
            f"{table['agrees'].sum()} of {len(table)} runs agree with the plain loop, as far as rounding lets them."
        )
    if check:
        for row in table[~table["agrees"]].to_dict("records"):
            told = f"{row['name']}, seed {row['seed']}: {row['differs']} beyond what rounding explains"
            click.echo(told, err=True)
        if not table["agrees"].all():
            raise SystemExit(3)
