"""Several processes on one folder: one works, the others say which."""

import re
import socket

from torture import program
from torture.counts import Counts

REFUSED = re.compile(
    r"Error: process (\d+) on (\S+) since \S+ is at work in (\S+); wait for it, or give another --out\n"
)


def two(whole, folder, _, tries):
    """Started at one moment."""
    return _several(Counts("two processes at once"), 2, whole, folder, tries)


def four(whole, folder, _, tries):
    """Started at one moment."""
    return _several(Counts("four processes at once"), 4, whole, folder, tries)


def a_dead_ones_lock(whole, folder, _, tries):
    """The lock, and the name in it, of a process that was killed at work."""
    counts = Counts("the lock of a dead process")
    for number in range(tries):
        out = folder / f"dead{number}"
        process = program.grid(out)
        program.until((out / "study.toml").exists)
        process.kill()
        process.wait()
        counts.require((out / ".owner").exists(), f"{out}: was not at work")
        counts.finish(out, whole)
        counts.tries += 1
    return counts


def _several(counts, number, whole, folder, tries):
    for attempt in range(tries):
        out = folder / f"{number}at{attempt}"
        processes = [program.grid(out) for _ in range(number)]
        codes = [process.wait() for process in processes]
        counts.require(0 in codes, f"none worked: {codes}")
        for process, code in zip(processes, codes, strict=True):
            if code:
                told = REFUSED.fullmatch(process.err)
                others = {str(other.pid) for other in processes if other is not process}
                named = told and told[1] in others and told[2] == socket.gethostname()
                counts.require(code == 1 and named, f"exit code {code}: {process.err}")
        started = [each for process in processes for each in process.started]
        counts.repeated += len(started) - len(set(started))
        counts.compare(out, whole)
        counts.tries += 1
    return counts
