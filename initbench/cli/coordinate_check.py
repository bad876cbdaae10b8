"""`initbench probe --widths`: one network at several widths, trained for a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from initbench.cli import options, output
from initbench.core.files import make_folder, write_table

if TYPE_CHECKING:
    from initbench.engine.probe.coordinates import Build

TABLE = ["module", "quantity", "step", "slope", "low", "high", "expected", "word"]
FIGURE = "coordinate_check"
FILES = "coordinates.parquet", "slopes.parquet", f"{FIGURE}.csv", f"{FIGURE}.png"
"""What is kept in --out."""

asked = options.together(
    click.option("--widths", type=options.Numbers(), metavar="N,N,...",
                 help="Check coordinates at these widths instead: TARGET is then a function of the width."),
    click.option("--steps", type=int, default=3, show_default=True, help="With --widths: steps of training."),
    click.option("--parametrization", type=click.Choice(["standard", "mup"]), default="standard", show_default=True,
                 help="With --widths: as it is built, or with muP's factors."),
    click.option("--optimizer", type=options.Spec("optimizers"), default="adam", show_default=True,
                 help="With --widths."),
    click.option("--lr", type=float, default=0.01, show_default=True, help="With --widths."),
)  # fmt: skip
"""What is asked of the coordinate check alone."""


def run(build: Build, batch: Any, form: str, check: bool, out: Path | None, **given: Any) -> None:
    """Print the slope of each layer and quantity at the step where it is worst, and the verdict; keep all in `out`."""
    from initbench.analysis import coordinates as judged
    from initbench.grid.coordinates import coordinates

    with output.progress("networks") as count:
        table = coordinates(build, batch, progress=count, **given)
    slopes = judged.check(table)
    output.echo(judged.summary(slopes)[TABLE] if form == "table" else slopes, form)
    click.echo(judged.sentence(slopes), err=form != "table")
    if out is not None:
        from initbench.analysis.figures import coordinates as figure
        from initbench.analysis.figures import save

        make_folder(out)
        for name, kept in zip(FILES, (table, slopes), strict=False):
            write_table(out / name, kept)
        shown = figure.summary(table, slopes)
        output.echo_paths([save(figure.draw(shown), shown, out, FIGURE)])
    if check and judged.verdict(slopes) == "fail":
        raise SystemExit(3)
