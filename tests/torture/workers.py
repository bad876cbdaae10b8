"""Training in processes of its own: one of these killed with a stack in hand, or left alone by one that was killed."""

import os
import signal
import time

from torture import program
from torture.counts import Counts

LEFT = 20.0
"""Seconds within which a worker that was left alone ends."""


def killed(whole, folder, random, tries):
    """Each try kills the worker that has just got the k-th stack, at once or a moment later."""
    counts = Counts("kill -9 of a process that trains")
    for number in range(tries):
        out = folder / f"killed{number}"
        moment = _moment(number, random)
        process = program.grid(out, lambda at=moment: _when_given(*at, _kill_worker), "processes")
        counts.require(process.wait() == 0, process.err)
        counts.attempt(out, (), process)
        counts.compare(out, whole)
        counts.tries += 1
    return counts


def orphaned(whole, folder, random, tries):
    """Each try kills the program when it has just given away its k-th stack."""
    counts = Counts("kill -9 of the program while other processes train")
    for number in range(tries):
        out, noted = folder / f"orphaned{number}", folder / f"orphaned{number}.pid"
        moment, kill = _moment(number, random), _kill_program(noted)
        process = program.grid(out, lambda at=moment, kill=kill: _when_given(*at, kill), "processes")
        counts.require(process.wait() == -signal.SIGKILL, f"{out}: it was not killed: {process.err}")
        worker, end = int(noted.read_text()), time.monotonic() + LEFT
        while program.is_at_work(worker) and time.monotonic() < end:
            time.sleep(0.02)
        counts.require(not program.is_at_work(worker), f"{out}: a worker is left over")
        counts.attempt(out, (), process)
        counts.finish(out, whole)
        counts.tries += 1
    return counts


def _moment(number, random):
    """Which stack, of four, and how many seconds later: every other time at once."""
    return number % 4, random.uniform(0, 0.05) * (number % 2)


def _when_given(number, later, do):
    """Do it to the worker that has got the stack of that number."""
    from initbench.grid.on_processes import Processes

    real, calls = Processes.start, iter(range(number + 1))

    def start(self, attempt):
        real(self, attempt)
        if next(calls, None) == number:
            time.sleep(later)
            do(next(worker.process for worker in self._workers if worker.attempt is attempt))

    Processes.start = start


def _kill_worker(worker):
    os.kill(worker.pid, signal.SIGKILL)


def _kill_program(noted):
    def kill(worker):
        noted.write_text(str(worker.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    return kill
