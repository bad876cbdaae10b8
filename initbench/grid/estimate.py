"""What a study will take, told before it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from initbench.engine.timing import Stopwatch
from initbench.grid import first_copy
from initbench.grid.beside import Beside
from initbench.grid.costs import bytes_of, calls, disk_of, multiply_adds, traffic
from initbench.grid.executors import chosen
from initbench.grid.training import Job

EFFICIENCY = 0.7
"""Of the rate of large products, what those of small networks reach: so that, with the rest, two sweeps on two cores
are told to within a third (digits 1.8 min for 2, Fashion-MNIST 6.1 for 5.4)."""
SERVER, PROCESS = 500 * 2**20, 50 * 2**20
"""Bytes that worker processes share, and that each takes beside its data and stack."""
SIDE, COPIED, TURNS = 1024, 2**24, 5


def estimate(job: Job) -> dict[str, str]:
    """Cells, distinct trainings, stacks, and about how much time, memory and disk they take."""
    plan = job.plan
    stacks = [(many, cell, job.data[cell.dataset])
              for many, cell in zip(plan.stacks.sizes, plan.stacks.firsts(), strict=True)]  # fmt: skip
    work = sum(many * 2 * multiply_adds(cell, data) for many, cell, data in stacks)
    called = sum(calls(cell, data) for _, cell, data in stacks)
    moved = sum(many * traffic(cell, data) for many, cell, data in stacks)
    rate, bandwidth = _rates(job)
    seconds = work / (EFFICIENCY * rate) + moved / bandwidth + called
    held = sum(data.bytes for data in job.data.values())
    sizes = sorted(many * bytes_of(cell, data) for many, cell, data in stacks)
    together = sum(sizes[-job.workers :])
    executor = chosen(job, begun=first_copy.POSSIBLE)  # commands begin it ahead of all
    apart = SERVER + job.workers * (2 * held + PROCESS) if executor == "processes" else 0
    refused = f" ({refusals:,} impossible)" if (refusals := np.count_nonzero(plan.why)) else ""
    return {
        "cells": f"{len(plan.cells):,}{refused}",
        "trainings": f"{plan.distinct:,} distinct",
        "stacks": f"{len(plan.stacks):,} of up to {max(plan.stacks.sizes)} networks",
        "workers": f"{job.workers} {executor}" if executor != "ray" else "those of the Ray cluster",
        "time": f"about {_rounded(seconds)}",
        "memory": f"about {(2 * held + together + apart) / 2**30 + 0.5:.1f} GiB",
        "disk": f"about {max(1, round(disk_of(plan.cells, job.data) / 2**20))} MiB",
    }


def _rates(job: Job) -> tuple[float, float]:
    """Operations per second of square products, bytes per second of a copy: of all workers, beside each other."""

    def measured(_: int) -> tuple[float, float]:
        square = torch.randn(SIDE, SIDE, device=job.device)
        source, target = torch.ones(COPIED, device=job.device), torch.empty(COPIED, device=job.device)
        product = _shortest(lambda: square @ square, job.device)
        return 2 * SIDE**3 / product, 2 * 4 * COPIED / _shortest(lambda: target.copy_(source), job.device)

    with Beside(job.workers) as beside:
        operations, copied = zip(*beside.results(measured, range(job.workers)), strict=True)
    return sum(operations), sum(copied)


def _shortest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, at its best of a few times."""
    watch = Stopwatch(device, time.perf_counter)
    for _ in range(TURNS):
        with watch.lap("work"):
            work()
    return min(watch.samples["work"])


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
