"""What a stack costs beside its training: two tiny networks each, really trained, on every executor. Some minutes.

PYTHONPATH=tests python -m benchmarks.overhead [--stacks 200] [--repeats 5] [--address HOST:PORT]

All in milliseconds a stack, the medians of the repeats, of medians over stacks: `bare` its training alone, in a plain
loop; `between` the time between two parts, times workers; `overhead` what is between beyond bare, and `least` in the
best repeat; `within` what is between beyond the stack's own time, as its worker took it beside all else that goes on;
`cpu` the processor time of the process that was started: with threads, training among it.

Each measurement is a process of its own: one that has trained networks of these shapes before is faster by a third.
"""

import itertools
import json
import subprocess
import sys
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

BARE = "bare"
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


def through(job):
    """The same stacks by an executor: seconds each."""
    moments, spent = [], []

    def note(*_):
        moments.append(time.perf_counter())
        spent.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        store = run_training(job, Path(folder) / "results", progress=note)
        own = store.read_parts("runs")["stack_seconds"].drop_duplicates().median()
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments[1:])]
    between = median(gaps) * job.workers
    return {"between": between, "within": between - own, "cpu": (spent[-1] - spent[1]) / len(gaps)}


def measured(name, stacks, address):
    """One measurement, in this process: `bare`, or that executor's."""
    here = Hands("threads")
    through(tiny(here, 10))  # what is done once a process
    if name == BARE:
        return {BARE: median(bare(tiny(here, stacks)))}
    return through(tiny(Hands(name, address if name == "ray" else None), stacks))


@click.command()
@click.option("--stacks", default=200, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--address", help="Of a running Ray cluster; without one, one is started here for each repeat.")
@click.option("--one", hidden=True)
def main(stacks, repeats, address, one):
    """Measure, and print a table."""
    if one:
        click.echo(json.dumps(measured(one, stacks, address)))
        return
    # in turn: other load comes and goes
    rounds = [{name: _apart(name) for name in (BARE, *EXECUTORS)} for _ in range(repeats)]
    for name in EXECUTORS:
        table = 1000 * pd.DataFrame([{**found[BARE], **found[name]} for found in rounds])
        table["overhead"] = table["between"] - table[BARE]
        told = {"executor": name, "stacks": stacks, **table.median(), "least": table["overhead"].min()}
        click.echo(pd.DataFrame([told]).round(1).to_string(index=False))


def _apart(name):
    """`measured` in a process of its own, with the options that this one was given."""
    command = [sys.executable, "-m", "benchmarks.overhead", *sys.argv[1:], "--one", name]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()
