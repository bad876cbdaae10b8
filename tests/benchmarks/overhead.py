"""What a stack costs beside its training: two tiny networks each, really trained, on every executor. A minute of work.

PYTHONPATH=tests python -m benchmarks.overhead [--stacks 200] [--repeats 5] [--address HOST:PORT]

All in milliseconds a stack, the medians of the repeats, of medians over stacks: `bare` its training alone, in a plain
loop of this thread; `between` the time between two parts, times workers; `overhead` what is between beyond bare, and
`least` in the best repeat; `within` what is between beyond the stack's own time, as its worker took it beside all else
that goes on; `cpu` the processor time of this process: with threads, training among it; elsewhere the driver alone.
"""

import itertools
import tempfile
import time
from pathlib import Path
from statistics import median

import click
import pandas as pd
import torch

from initbench.engine import device as devices
from initbench.engine.timing import Stopwatch
from initbench.grid.executors import EXECUTORS, Hands
from initbench.grid.stacks import ENGINES, Session
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training
from initbench.grid.training_plan import split_of
from initbench.recipe.samples import split

FIX = {"depth": 1, "steps": 1, "activation": "relu", "batch_size": 16}


def tiny(hands, stacks):
    """A job of so many stacks of two networks, a width each."""
    compare = {"width": list(range(8, 8 + stacks)), "init": ["he", "xavier"]}
    return prepare(Study(compare=compare, fix=FIX), device="cpu", hands=hands)


def bare(job):
    """Seconds that the training of each stack takes in a plain loop."""
    session = Session(devices.describe(job.device), ENGINES[job.engine], tuning=job.tuning)
    for stack in job.plan.stacks:
        dataset, *how = split_of(stack[0])
        data = split(job.data[dataset], *how).to(job.device, torch.float32)
        before = time.perf_counter()
        session.engine.train(stack, data, Stopwatch(job.device), session)
        yield time.perf_counter() - before


def overhead(job):
    """One repeat: milliseconds a stack."""
    alone = median(bare(job))
    moments, spent = [], []

    def note(*_):
        moments.append(time.perf_counter())
        spent.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        store = run_training(job, Path(folder) / "results", progress=note)
        own = store.read_parts("runs")["stack_seconds"].drop_duplicates().median()
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments[1:])]
    between = median(gaps) * job.workers
    cpu = (spent[-1] - spent[1]) / len(gaps)
    told = {"bare": alone, "between": between, "overhead": between - alone, "within": between - own, "cpu": cpu}
    return {name: 1000 * seconds for name, seconds in told.items()}


@click.command()
@click.option("--stacks", default=200, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--address", help="Of a running Ray cluster; without one, one is started here for each repeat.")
def main(stacks, repeats, address):
    """Measure, and print a table."""
    jobs = [tiny(Hands(name, address if name == "ray" else None), stacks) for name in EXECUTORS]
    overhead(tiny(Hands("threads"), 10))  # what is done once a process
    rounds = [[overhead(job) for job in jobs] for _ in range(repeats)]  # in turn: other load comes and goes
    for job, found in zip(jobs, zip(*rounds, strict=True), strict=True):
        table = pd.DataFrame(found)
        told = {"executor": job.hands.executor, "stacks": stacks, "workers": job.workers, **table.median(),
                "least": table["overhead"].min()}  # fmt: skip
        click.echo(pd.DataFrame([told]).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
