"""What a run takes beside training: memory by the number of cells, and time by the number of stacks. Minutes of work.

PYTHONPATH=tests python -m benchmarks.memory [--cells 10000 --cells 100000] [--address HOST:PORT]

Memory: a process for each size plans a study, stores and joins it with an engine that trains nothing; its peak is told
after each step. Overhead: tiny networks are really trained; time between two parts, times workers, less a stack's own
time, by medians.
"""

import itertools
import json
import resource
import statistics
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
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training

FIX = {"depth": 1, "width": 8, "steps": 1, "activation": "relu", "batch_size": 16}


def peak():
    """MiB that this process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(cells):
    """The peaks after loading, planning, storing and joining so many cells, in MiB."""
    ENGINES["stacked"] = Engine(lambda stack, *_: [Outcome(metrics=dict.fromkeys(METRICS, 0.5)) for _ in stack])
    told, seeds = {"cells": cells, "loaded": peak()}, 100
    compare = {"init": ["he", "xavier"], "lr": [0.1 / (1 + n) for n in range(cells // (2 * seeds))]}
    job = prepare(Study(compare=compare, fix=FIX, seeds=seeds), device="cpu")
    told["planned"] = peak()

    def note(done, of):
        if done == of:
            told["stored"] = peak()

    with tempfile.TemporaryDirectory() as folder:
        run_training(job, Path(folder) / "results", progress=note)
    return {**told, "joined": peak()}


def overhead(hands, stacks=200):
    """Milliseconds of a worker that a stack takes beside itself."""
    moments = []
    compare = {"width": list(range(8, 8 + stacks)), "init": ["he", "xavier"]}
    study = Study(compare=compare, fix={name: level for name, level in FIX.items() if name not in compare})
    job = prepare(study, device="cpu", hands=hands)
    with tempfile.TemporaryDirectory() as folder:
        store = run_training(job, Path(folder) / "results", progress=lambda *_: moments.append(time.perf_counter()))
        inside = store.read_parts("runs")["stack_seconds"].drop_duplicates().median()
    between = statistics.median(after - before for before, after in itertools.pairwise(moments[1:]))
    return {"executor": hands.executor, "stacks": len(job.plan.stacks), "workers": job.workers,
            "overhead_ms": 1000 * (between * job.workers - inside)}  # fmt: skip


@click.command()
@click.option("--cells", type=int, multiple=True, default=[10_000, 100_000], show_default=True)
@click.option("--address", help="Of a running Ray cluster; without one, one is started here.")
@click.option("--one", type=int, hidden=True, help="Of this size alone, as JSON: what the process of a size does.")
def main(cells, address, one):
    """Measure, and print both tables."""
    if one:
        click.echo(json.dumps(memory(one)))
        return
    sizes = [subprocess.run([sys.executable, "-m", "benchmarks.memory", "--one", str(size)], check=True, text=True,
                            stdout=subprocess.PIPE).stdout for size in cells]  # fmt: skip
    click.echo(pd.DataFrame(map(json.loads, sizes)).round().astype(int).to_string(index=False) + "\n")
    hands = [Hands(name, address if name != "threads" else None) for name in EXECUTORS]
    overhead(hands[0], 10)  # what is done once a process
    click.echo(pd.DataFrame(map(overhead, hands)).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
