"""Cost by the number of runs and by depth: measured, drawn, written. Minutes of work.

PYTHONPATH=tests python -m benchmarks.scaling reports/readme
"""

import tempfile
import time
from pathlib import Path

import click
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from initbench.analysis.figures import style
from initbench.core.files import write_whole
from initbench.grid.run import run_variance
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training
from initbench.grid.variance_study import resolve

RUNS = (100, 300, 1_000, 3_000, 10_000)
DEPTHS = (5, 10, 20, 40, 80)
PANELS = {"runs": "Training, by distinct runs\n(digits, 64-50-10, Adam, 200 updates)",
          "depth": "Propagation, by depth\n(2 initializers, 2 activations, 5 seeds, width 512)"}  # fmt: skip


def training(runs):
    """Seconds from plan to table of so many distinct trainings."""
    seeds = 20
    compare = {"init": ["he", "xavier"], "lr": [0.1 / (1 + n) for n in range(-(-runs // (2 * seeds)))]}
    fix = {"optimizer": "adam", "activation": "relu", "depth": 1, "width": 50, "steps": 200, "data_seed": 0}
    study = Study(compare=compare, fix=fix, seeds=seeds)
    return _seconds(lambda out: run_training(prepare(study, device="cpu"), out))


def propagation(depth):
    """Seconds from plan to tables of networks so deep."""
    study = resolve(init=["he_normal", "orthogonal"], activation=["relu", "tanh"], depth=depth, seeds=5)
    return _seconds(lambda out: run_variance(study, out, device="cpu"))


def _seconds(work):
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        work(Path(folder) / "results")
        return time.perf_counter() - start


def measure():
    """A row per size: seconds, and seconds for one."""
    training(100)  # what is done once a process
    sizes = [("runs", n, training(n)) for n in RUNS] + [("depth", n, propagation(n)) for n in DEPTHS]
    table = pd.DataFrame(sizes, columns=["axis", "size", "seconds"])
    return table.assign(each=table["seconds"] / table["size"])


@style.styled
def draw(table):
    """Seconds over size, both on log axes; the line has slope 1 and goes through the largest."""
    figure = style.page(
        9.0, 4.6, "Cost grows linearly in runs and in depth", "Dots: measured, n = 1. Grey: proportional."
    )
    for axes, (axis, label) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        rows = table[table["axis"] == axis]
        axes.plot(rows["size"], rows["size"] * rows["each"].iloc[-1], color="0.7", zorder=1)
        axes.scatter(rows["size"], rows["seconds"], color=style.hue(0), zorder=2)
        axes.set(xscale="log", yscale="log", ylabel="seconds")
        axes.set_xticks(rows["size"], [f"{size:,}" for size in rows["size"]])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_title(label, loc="left", size=8)
    return figure


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder):
    """Measure, and write scaling.csv and scaling.png into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    table = measure()
    click.echo(table.to_string(index=False))
    write_whole(folder / "scaling.csv", lambda path: table.to_csv(path, index=False, float_format="%.4g"))
    figure: Figure = draw(table)
    write_whole(folder / "scaling.png", lambda path: figure.savefig(path, format="png", dpi=150))


if __name__ == "__main__":
    main()
