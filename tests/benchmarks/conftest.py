"""Each benchmark records a ratio to a yardstick measured beside it: machines differ and are shared, ratios less so."""

import statistics
import time

import pytest


@pytest.fixture
def beside(benchmark):
    """Time `work` and `yardstick` in turn, record how often `work` would fit into `yardstick`, and return that.

    The median of the turns' ratios is kept: whatever slows the machine for a while slows both sides of a turn.
    """

    def compare(work, yardstick, per_work=1.0, per_yardstick=1.0, turns=5):
        ratios = []

        def turn():
            start = time.perf_counter()
            yardstick()
            middle = time.perf_counter()
            work()
            ratios.append((middle - start) / per_yardstick / ((time.perf_counter() - middle) / per_work))

        benchmark.pedantic(turn, rounds=turns, warmup_rounds=1)
        kept = ratios[1:]  # without the warm-up
        benchmark.extra_info["ratio"] = statistics.median(kept)
        benchmark.extra_info["ratio_range"] = (min(kept), max(kept))
        return benchmark.extra_info["ratio"]

    return compare


def pytest_terminal_summary(terminalreporter, config):
    """The ratios, which pytest-benchmark's own table leaves out."""
    session = getattr(config, "_benchmarksession", None)
    told = [bench for bench in getattr(session, "benchmarks", ()) if "ratio" in bench.extra_info]
    if told:
        terminalreporter.section("ratios: yardstick / ours, median of the turns (lowest to highest)")
    for bench in told:
        low, high = bench.extra_info["ratio_range"]
        terminalreporter.write_line(f"{bench.extra_info['ratio']:8.2f}  ({low:.2f} to {high:.2f})  {bench.name}")
