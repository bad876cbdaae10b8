"""`kill -9`: at random moments of a run's life, and before and after every step of writing a file."""

import os
import signal
import time

import pandas as pd

from torture import program
from torture.counts import Counts

STEPS = ("replace", "fsync")
"""Functions of `os` without which nothing is kept."""


def at_random_moments(whole, folder, random, tries):
    """Each try is one run, killed once somewhere between its first instruction and a little past its end."""
    counts = Counts("kill -9 at a random moment")
    life = _life(folder / "life")
    for number in range(tries):
        out = folder / f"random{number}"
        process = program.grid(out)
        time.sleep(random.uniform(0, 1.1 * life))
        _kill(process)
        counts.attempt(out, (), process)
        counts.finish(out, whole)
        counts.tries += 1
    return counts


def again_and_again(whole, folder, random, tries):
    """One folder, whose runs are killed one after the other, until it is finished all the same."""
    counts = Counts("kill -9, again and again in one folder")
    out, life = folder / "again", _life(folder / "life")
    for _ in range(tries):
        before = program.durable(out)
        process = program.grid(out)
        time.sleep(random.uniform(0, life / 2))
        _kill(process)
        counts.attempt(out, before, process)
        counts.require(before <= program.durable(out), f"{out}: what was there is there no more")
        counts.tries += 1
    counts.finish(out, whole)
    return counts


def while_writing(whole, folder, _, tries):
    """Killed before the k-th call of each step of writing, and after it, for every k (or `tries` of them)."""
    counts = Counts("kill -9 before and after every rename and fsync")
    moments = [(step, call, after) for step in STEPS for call in range(_calls(folder / step, step))
               for after in (False, True)]  # fmt: skip
    for step, call, after in moments[:: max(1, len(moments) // tries)]:
        out = folder / f"{step}{call}{'after' if after else 'before'}"
        process = program.grid(out, lambda moment=(step, call, after): die_at(*moment))
        counts.require(process.wait() == -signal.SIGKILL, f"{step} {call} was not reached")
        counts.attempt(out, (), process)
        counts.finish(out, whole)
        counts.tries += 1
    return counts


def of_other_kinds(_, folder, __, tries):
    """Propagation, and Jacobians through a study file: killed before and after every rename."""
    counts = Counts("kill -9 before and after every rename, of other kinds of results")
    for run in (program.variance, program.jacobian):
        whole = folder / run.__name__
        calls = _calls(whole, "replace", run)
        for call in range(calls)[:: max(1, 4 * calls // tries)]:
            for after in (False, True):
                out = folder / f"{run.__name__}{call}{after}"
                run(out, lambda moment=(call, after): die_at("replace", *moment)).wait()
                parts = {path: path.stat().st_mtime_ns for path in _durable(out)}
                process = run(out)
                counts.require(process.wait() == 0, process.err)
                counts.repeated += sum(path.stat().st_mtime_ns != before for path, before in parts.items())
                _compare(counts, out, whole)
                counts.tries += 1
    return counts


def _durable(out):
    """Files of parts that have all of their tables."""
    files = list(out.glob("parts/*.parquet"))
    return [path for path in files if path.with_name(path.name.replace("histograms", "layers")) in files
            and path.with_name(path.name.replace("layers", "histograms")) in files]  # fmt: skip


def _compare(counts, out, whole):
    for path in sorted(whole.glob("*.parquet")):
        found = pd.read_parquet(out / path.name)
        counts.require(found.equals(pd.read_parquet(path)), f"{out}: {path.name}")
        counts.lost += len(pd.read_parquet(path)) - len(found)
    counts.require_tidy(out)


def _life(out):
    """Seconds that a whole run takes."""
    start = time.monotonic()
    assert program.grid(out).wait() == 0
    return time.monotonic() - start


def _kill(process):
    process.kill()
    process.wait()


def _calls(out, step, run=program.grid):
    """How often a whole run into `out` calls `step`."""
    counted = out.with_suffix(".count")

    def count():
        real, file = getattr(os, step), os.open(counted, os.O_WRONLY | os.O_CREAT)

        def call(*arguments, **options):
            os.write(file, b".")
            return real(*arguments, **options)

        setattr(os, step, call)

    assert run(out, count).wait() == 0
    return counted.stat().st_size


def die_at(step, number, after):
    real, calls = getattr(os, step), iter(range(number + 1))

    def call(*arguments, **options):
        last = next(calls) == number
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*arguments, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(os, step, call)
