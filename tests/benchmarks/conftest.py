"""Each benchmark records a ratio to a yardstick measured beside it: machines differ and are shared, ratios less so."""

import gc
import os
import platform
import statistics
import sys
import time
from importlib.metadata import version

import pytest

import initbench

PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "seaborn")
"""What the times rest on, beside Python."""


@pytest.fixture
def beside(benchmark):
    """Time `work` and `yardstick` in turn, record how often `work` would fit into `yardstick`, and return that.

    Each `work` stands between two yardsticks and is held against their mean, and the median of the turns is kept:
    whatever slows the machine for a while slows both sides of a turn.
    """

    def compare(work, yardstick, per_work=1.0, per_yardstick=1.0, turns=5):
        ratios, before = [], seconds(yardstick)

        def turn():
            nonlocal before
            ours, after = seconds(work), seconds(yardstick)
            ratios.append((before + after) / 2 / per_yardstick / (ours / per_work))
            before = after

        gc.collect()
        gc.freeze()  # what other benchmarks left is not to be looked through again
        benchmark.pedantic(turn, rounds=turns, warmup_rounds=1)
        gc.unfreeze()
        kept = ratios[1:]  # without the warm-up
        benchmark.extra_info["ratio"] = statistics.median(kept)
        benchmark.extra_info["ratio_range"] = (min(kept), max(kept))
        return benchmark.extra_info["ratio"]

    return compare


def seconds(work):
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


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
        terminalreporter.section("ratios: yardstick / ours, median of the turns (lowest to highest)")
    for bench in told:
        low, high = bench.extra_info["ratio_range"]
        terminalreporter.write_line(f"{bench.extra_info['ratio']:8.2f}  ({low:.2f} to {high:.2f})  {bench.name}")
