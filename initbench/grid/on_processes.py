"""Stacks in processes of this machine, one a core.

Threads take turns in Python, and where networks are small that is most of the work: a process has a Python of its own.
One that dies takes nothing with it, and one that hangs can be ended.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Self

import torch

from initbench.core.errors import InitbenchError, WorkError, require
from initbench.engine.timing import Stopwatch
from initbench.grid import first_copy
from initbench.grid.at_work import STARTED, serve, shared
from initbench.grid.executors import Attempt
from initbench.grid.stacks import Done, Failed
from initbench.grid.training import Job

GRACE = 5.0
"""Seconds that the end waits for workers that were told to halt."""


def executor(job: Job, profile: Stopwatch | None) -> Processes:
    """As many as the job has workers; raises `UsageError` for what cannot be."""
    require(job.hands.address is None, "an address is of a Ray cluster; give --executor ray with it")
    require(profile is None, "where the time goes is measured in this process alone; give --executor threads")
    require(job.device.type == "cpu", "a GPU trains one stack at a time; give --executor threads")
    return Processes(job)


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    line: Connection
    attempt: Attempt | None = None
    began: float = math.inf


class Processes:
    """An `initbench.grid.executors.Executor`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.slots = min(job.workers, len(job.plan.stacks))
        self._context: Any = multiprocessing.get_context(first_copy.METHOD)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        self._shared = shared(self._job, uuid.uuid4().hex, max(1, torch.get_num_threads() // self.slots))
        first_copy.begin()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.line.close()
        end = time.monotonic() + GRACE
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))
        for worker in list(self._workers):
            self._end(worker)

    def start(self, attempt: Attempt) -> None:
        worker = next((worker for worker in self._workers if not worker.attempt), None) or self._employed()
        worker.attempt, worker.began = attempt, math.inf
        with suppress(OSError):  # it died since: who waits for it is told
            worker.line.send(tuple(attempt.cells))

    def next(self) -> tuple[Attempt, Sequence[Done]]:
        busy, patience = [worker for worker in self._workers if worker.attempt], self._job.hands.patience
        while True:
            first = min(busy, key=lambda worker: worker.began)
            left = first.began + patience - time.monotonic()
            ready = wait([worker.line for worker in busy], None if math.isinf(left) else max(0.0, left))
            if not ready:
                self._end(first)
                assert first.attempt
                return first.attempt, [Failed(first.attempt.cells, f"no end within {patience:g} s", tries=2)]
            worker = next(worker for worker in busy if worker.line in ready)
            found = self._heard(worker)
            if found is not STARTED:
                attempt, worker.attempt = worker.attempt, None
                assert attempt
                return attempt, found
            worker.began = time.monotonic()

    def _heard(self, worker: _Worker) -> Sequence[Done] | None:
        """`STARTED`, or what became of its stack."""
        try:
            found: Sequence[Done] | InitbenchError | None = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join(GRACE)
            self._end(worker)
            assert worker.attempt
            return [Failed(worker.attempt.cells, "its worker process died", tries=3, divides=True)]
        if isinstance(found, InitbenchError):
            raise found
        return found

    def _employed(self) -> _Worker:
        mine, its = self._context.Pipe()
        process = self._context.Process(target=serve, args=(its, self._shared), daemon=True)
        try:
            with _nothing_run_again():
                process.start()
        except (OSError, EOFError) as error:
            raise WorkError(f"cannot start a process to train in: {error}") from None
        its.close()
        worker = _Worker(process, mine)
        self._workers.append(worker)
        return worker

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.line.close()
        worker.process.kill()
        worker.process.join()


@contextmanager
def _nothing_run_again() -> Iterator[None]:
    """Without the caller's script, which every new process would run: a worker needs this package alone."""
    script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
