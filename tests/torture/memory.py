"""Memory that does not hold a stack."""

import pandas as pd
import torch

from initbench.grid.stacks import ENGINES, Engine
from torture import program
from torture.counts import Counts

MOST = 3
"""Networks that memory holds at once."""


def out_of_memory(whole, folder, _, tries):
    """A stack of more than three networks: it is halved, goes on, and the table tells how many were together."""
    counts = Counts("out of memory in a stack")
    for number in range(tries):
        out = folder / f"memory{number}"
        process = program.grid(out, _with_little_memory)
        counts.require(process.wait() == 0, process.err)
        counts.compare(out, whole)
        sizes = pd.read_parquet(out / "runs.parquet").stack_size
        counts.require(sizes.between(1, MOST).all(), f"{out}: stacks of {sorted(set(sizes))}")
        counts.tries += 1
    return counts


def _with_little_memory():
    real = ENGINES["stacked"]

    def train(cells, *rest):
        if len(cells) > MOST:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(cells)} GiB")
        return real.train(cells, *rest)

    ENGINES["stacked"] = Engine(train, alone=real.alone)
