"""`initbench reproduce`."""

from __future__ import annotations

from pathlib import Path

import click

from initbench.cli import options, output


@click.command("reproduce")
@click.argument("folder", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--runs", type=click.IntRange(min=1), help="Of a training so many runs alone. Default: all.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample of runs.")
@options.data
@click.option("--device", help="auto, cpu, cuda or cuda:N. Default: as the manifest says.")
@click.option("--out", type=options.Folder(), help="Folder to keep what is made again. Default: none is kept.")
@options.output_format
def reproduce_command(
    folder: Path,
    runs: int | None,
    seed: int,
    data_root: Path | None,
    download: bool,
    device: str | None,
    out: Path | None,
    form: str,
) -> None:
    """Make the results in OUT again, as their manifest says, and hold every table against the one that is there.

    A row per table: bit-equal; or per column that differs: within tolerance, within rounding (of a training that
    magnifies it: held to itself in float64, and of images a little apart), or differs. Times are left out. Exit
    code 3 where one differs. Versions, machine and plug-ins that are not those of the manifest are told.
    """
    from initbench.reproducing import reproduce

    with output.progress("again") as count:
        found = reproduce(
            folder,
            out,
            runs=runs,
            seed=seed,
            device=device,
            data_root=data_root,
            download=download,
            progress=count,
        )
    output.echo(found.table, form)
    for note in found.notes:
        click.echo(f"Note: {output.printable(note)}", err=True)
    if form == "table":
        words = found.table["word"].value_counts()
        click.echo(f"Reproduced: {'yes' if found.holds else 'no'} ({', '.join(f'{n} {w}' for w, n in words.items())})")
    if not found.holds:
        raise SystemExit(3)
