"""Each benchmark records a ratio to a yardstick measured beside it: machines differ and are shared, ratios less so."""

import gc
import os
import platform
import sys
import time
from importlib.metadata import version

import numpy as np
import pytest
import torch

import initbench
from initbench.datasets import Data
from initbench.recipe.samples import split

PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "seaborn")
"""What the times rest on, beside Python."""


@pytest.fixture
def beside(benchmark):
    """Time `work` and `yardstick` in turn, record how often `work` would fit into `yardstick`, and return that.

    Of each side the shortest turn is kept: neighbours on the machine only ever add time, and between many short turns
    there is a moment without them. The range is that of single turns, each between two yardsticks.
    """

    def compare(work, yardstick, per_work=1.0, per_yardstick=1.0, turns=5):
        ratios, ours, theirs, before = [], [], [], seconds(yardstick)

        def turn():
            nonlocal before
            ours.append(seconds(work) / per_work)
            after = seconds(yardstick)
            theirs.append(after / per_yardstick)
            ratios.append((before + after) / 2 / per_yardstick / ours[-1])
            before = after

        gc.collect()
        gc.freeze()  # what other benchmarks left is not to be looked through again
        benchmark.pedantic(turn, rounds=turns, warmup_rounds=1)
        gc.unfreeze()
        benchmark.extra_info["ratio"] = min(theirs[1:]) / min(ours[1:])  # without the warm-up
        benchmark.extra_info["ratio_range"] = (min(ratios[1:]), max(ratios[1:]))
        return benchmark.extra_info["ratio"]

    return compare


def seconds(work):
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.fixture(scope="session")
def images():
    """Noise, as pictures and labels."""
    drawn = np.random.default_rng(0)
    return drawn.integers(0, 256, (70_000, 28, 28), dtype=np.uint8), drawn.integers(0, 10, 70_000)


@pytest.fixture(scope="session")
def data(images):
    """The same, prepared for training."""
    pixels, labels = (torch.from_numpy(array) for array in images)
    x = pixels.flatten(1).float() / 255
    whole = Data(x[:60_000], labels[:60_000], x[60_000:], labels[60_000:], shape=(1, 28, 28), classes=10)
    return split(whole, "standardize", 10_000, 0)


@pytest.fixture
def forget():
    """Empty all that functions of initbench remember, so that each turn works as a new process does."""

    def empty():
        for name in [name for name in sys.modules if name.partition(".")[0] == "initbench"]:
            for value in list(vars(sys.modules[name]).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()

    return empty


def pytest_benchmark_update_machine_info(config, machine_info):
    """What a baseline has to say of where it was measured; and which initbench it was."""
    machine_info["versions"] = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    machine_info["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine_info["initbench"] = initbench.__file__


def pytest_terminal_summary(terminalreporter, config):
    """The ratios, which pytest-benchmark's own table leaves out."""
    session = getattr(config, "_benchmarksession", None)
    told = [bench for bench in getattr(session, "benchmarks", ()) if "ratio" in bench.extra_info]
    if told:
        terminalreporter.section("ratios: yardstick / ours, shortest turns (single turns, lowest to highest)")
    for bench in told:
        low, high = bench.extra_info["ratio_range"]
        terminalreporter.write_line(f"{bench.extra_info['ratio']:8.2f}  ({low:.2f} to {high:.2f})  {bench.name}")
