"""What a study will take, told before it runs."""

from __future__ import annotations

import time

import numpy as np
import torch

from initbench.core.cell import Cell
from initbench.datasets import Data
from initbench.engine.timing import Stopwatch
from initbench.grid.costs import bytes_of, disk_of, multiply_adds
from initbench.grid.training import Job
from initbench.recipe.samples import held_out, steps_of

EFFICIENCY = 0.45
"""Of the best rate of products, what training and evaluation reach as a whole; measured on two cores, small MLPs."""
STEP_OVERHEAD = 5e-4
"""Seconds that an update of a stack takes beside its products."""
SIDE, TURNS = 1024, 5


def estimate(job: Job) -> dict[str, str]:
    """Cells, distinct trainings, stacks, and about how much time, memory and disk they take."""
    plan = job.plan
    stacks = [(many, cell, job.data[cell.dataset])
              for many, cell in zip(plan.stacks.sizes, plan.stacks.firsts(), strict=True)]  # fmt: skip
    work = sum(many * 2 * multiply_adds(cell, data) for many, cell, data in stacks)
    steps = sum(_steps(cell, data) for _, cell, data in stacks)
    seconds = work / (EFFICIENCY * _rate(job.device)) + steps * STEP_OVERHEAD
    held = sum(4 * sum(t.numel() for t in (d.train_images, d.test_images)) for d in job.data.values())
    sizes = sorted(many * bytes_of(cell, data) for many, cell, data in stacks)
    together = sum(sizes[-job.workers :])
    refused = f" ({refusals:,} impossible)" if (refusals := np.count_nonzero(plan.why)) else ""
    return {
        "cells": f"{len(plan.cells):,}{refused}",
        "trainings": f"{plan.distinct:,} distinct",
        "stacks": f"{len(plan.stacks):,} of up to {max(plan.stacks.sizes)} networks",
        "time": f"about {_rounded(seconds)}",
        "memory": f"about {(2 * held + together) / 2**30 + 0.5:.1f} GiB",
        "disk": f"about {max(1, round(disk_of(plan.cells) / 2**20))} MiB",
    }


def _steps(cell: Cell, data: Data) -> int:
    images = len(data.train_images)
    return steps_of(cell, images - held_out(images, cell.validation))


def _rate(device: torch.device) -> float:
    """Operations per second of a square product there: the best of a few."""
    square = torch.randn(SIDE, SIDE, device=device)
    best = float("inf")
    for _ in range(TURNS):
        watch = Stopwatch(device, time.perf_counter)
        with watch.lap("product"):
            square @ square
        best = min(best, watch.seconds("product"))
    return 2 * SIDE**3 / best


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
