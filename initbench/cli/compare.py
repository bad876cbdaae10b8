"""`initbench compare`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from initbench.cli import options, output

UNDONE = ("failed", "impossible")
"""Statuses of runs that were not made."""

SHOWN = {
    "differences": ["level", "mean", "difference", "low", "high", "effect", "wins", "p_holm", "p_equivalent", "word"],
    "ranks": ["level", "rank", "critical_difference", "not_worse_than_best", "p_friedman", "blocks"],
    "explained": ["factor", "and", "explained", "levels"],
    "divergence": ["level", "rate", "low", "high", "diverged", "n", "p_holm"],
}
"""Columns to read; csv and json have all."""
DRAWN = {"differences": "forest", "ranks": "rank_diagram"}
"""Table -> the figure that shows it."""


@click.command("compare")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--by", required=True, help="The factor whose levels are compared: init, activation, lr, ...")
@click.option("--baseline", help="The level that the others are compared with. Default: the study's first.")
@click.option("--metric", default="", help="A column of runs, or a measure (`initbench list measures`).")
@click.option("--tune", multiple=True, help="A factor whose level is chosen on validation, for each compared cell.")
@click.option("--where", multiple=True, type=options.Setting(), help="Only this level of another factor; repeatable.")
@click.option("--test", default="t", show_default=True, help="t, wilcoxon or permutation, of paired differences.")
@click.option("--bound", type=click.FloatRange(min=0, min_open=True),
              help="Differences within ±BOUND are practically none: tested too.")  # fmt: skip
@click.option("--table", "name", type=click.Choice(list(SHOWN)), default="differences", show_default=True,
              help="Which comparison.")  # fmt: skip
@options.figures
@options.output_format
def compare_command(
    out: Path, by: str, baseline: str | None, metric: str, tune: tuple[str, ...], where: tuple[tuple[str, str], ...],
    test: str, bound: float | None, name: str, reports: Path, figures: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Compare the levels of one factor in the results folder OUT.

    Differences are paired within the seed, which is the unit of replication; all other factors are averaged over. Every
    row says its method, its n, and what it assumes (--format csv or json). A diverged run's accuracy is 0; seeds with a
    run that failed have no number, and are told.
    """
    from initbench.analysis.comparison import answer
    from initbench.analysis.figures import save
    from initbench.comparing import compare

    kept = options.levels(where)
    with output.changes_told(out):
        table = compare(out, by, baseline, metric=metric, tune=tune or None, where=kept, table=name, test=test,
                        bound=bound)  # fmt: skip
    undone = _undone(out)
    if form != "table":
        output.echo(table, form)
        _note(undone)
        return
    drawn = []
    if figures and name in DRAWN:
        figure = import_module(f"initbench.analysis.figures.{DRAWN[name]}")
        numbers = figure.summary(table, by)
        drawn = [save(figure.draw(numbers), numbers, reports / out.name, f"{name}_by_{by}", figures)]
    shown = table[SHOWN[name]].dropna(axis="columns", how="all")
    if name == "differences" and table["ratio"].all():
        shown = shown.rename(columns={"difference": "ratio"})
    output.echo(shown, form, pager=True)
    click.echo(f"{answer(table)}\n" if name == "differences" else "", nl=False)
    first = table.iloc[0]
    click.echo(f"{first['method']}; assumes {first['assumes']}.")
    output.echo_paths(drawn)
    _note(undone)


def _undone(out: Path) -> str:
    """How many runs have no number because they were not made; empty where all were."""
    from initbench.analysis.results import Results

    results = Results(out)
    if results.study["kind"] != "train":
        return ""
    statuses = results.runs["status"]
    found = [f"{(statuses == status).sum():,} {status}" for status in UNDONE if (statuses == status).any()]
    return f"of {len(statuses):,} runs {' and '.join(found)}: they have no number" if found else ""


def _note(undone: str) -> None:
    if undone:
        click.echo(f"Note: {undone}", err=True)
