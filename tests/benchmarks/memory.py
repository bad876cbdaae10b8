"""What a run takes beside training, by the number of cells: memory and time. A million cells take some ten minutes.

PYTHONPATH=tests python -m benchmarks.memory [--cells 10000 --cells 100000 --cells 1000000] [--executor processes]

A process for each size plans a study, stores and joins it. On threads nothing is trained; other executors train where
that cannot be left out, one step of tiny networks. The peak of memory (MiB) of the starting process and the seconds
since its start are told after each step.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import pandas as pd

from initbench.engine.training.trainer import METRICS, Outcome
from initbench.grid.executors import EXECUTORS, Hands
from initbench.grid.stacks import ENGINES, Engine
from initbench.grid.study import Study, read_study
from initbench.grid.training import prepare, run_training

FIX = {"depth": 1, "width": 8, "steps": 1, "activation": "relu", "batch_size": 16}
LECTURE = Path(__file__).parents[2] / "studies" / "mlp_mnist_200_steps.toml"
STEPS = ("loaded", "planned", "stored", "joined")


def of_size(cells):
    """A study of so many cells, all of which are different trainings."""
    seeds = 100
    compare = {"init": ["he", "xavier"], "lr": [0.1 / (1 + n) for n in range(cells // (2 * seeds))]}
    return Study(compare=compare, fix=FIX, seeds=seeds)


def measured(study, executor):
    """The peak in MiB and the seconds after each of `STEPS`."""
    if executor == "threads":
        ENGINES["stacked"] = Engine(lambda stack, *_: [Outcome(metrics=dict.fromkeys(METRICS, 0.5)) for _ in stack])
    began, told = time.perf_counter(), {}

    def note(step):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told.update({step: peak, f"s_{step}": time.perf_counter() - began})

    note("loaded")
    job = prepare(study, device="cpu", hands=Hands(executor))
    note("planned")
    with tempfile.TemporaryDirectory() as folder:
        run_training(job, Path(folder) / "results", progress=lambda done, of: note("stored") if done == of else None)
    note("joined")
    return {"cells": len(job.plan.cells), "trainings": job.plan.distinct, **told,
            "ms_a_cell": 1000 * told["s_joined"] / len(job.plan.cells)}  # fmt: skip


@click.command()
@click.option("--cells", type=int, multiple=True, default=[10_000, 100_000, 1_000_000], show_default=True)
@click.option("--executor", type=click.Choice(tuple(EXECUTORS)), default="threads", show_default=True)
@click.option("--one", type=int, hidden=True, help="Of this size alone, as JSON; 0 is the lecture's grid.")
def main(cells, executor, one):
    """Measure, and print a table; on threads its first row is the lecture's grid, on the digits."""
    if one is not None:
        click.echo(json.dumps(measured(of_size(one) if one else read_study(LECTURE), executor)))
        return
    command = [sys.executable, "-m", "benchmarks.memory", "--executor", executor, "--one"]
    sizes = (0, *cells) if executor == "threads" else cells  # the lecture's grid is not trained to measure memory
    told = [subprocess.run([*command, str(size)], check=True, text=True, stdout=subprocess.PIPE).stdout
            for size in sizes]  # fmt: skip
    click.echo(pd.DataFrame(map(json.loads, told)).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
