"""Stacks as tasks of a Ray cluster; the only module that imports Ray.

What all tasks need (data sets, plug-ins, settings) is in the object store once a node. A worker holds versions and
plug-ins to the driver's before it trains anything, and uses as many threads: the numbers are those of threads here.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Self

import ray
import torch
from ray.exceptions import (
    AuthenticationError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from initbench.core.cell import Cell
from initbench.core.errors import InitbenchError, UsageError, WorkError, require
from initbench.engine.timing import Stopwatch
from initbench.grid.at_work import STARTED, shared, train, train_watched
from initbench.grid.costs import bytes_of
from initbench.grid.executors import Attempt
from initbench.grid.stacks import OUT_OF_MEMORY, Done, Failed
from initbench.grid.training import Job

AHEAD = 3
"""Tasks for each that can run, so that a worker need not wait for its next; a cluster that grows on demand grows."""
LOOK_AGAIN = 2.0
"""Seconds after which the cluster is asked anew how large it is."""
WORKER, GRAIN = 512 * 2**20, 256 * 2**20
"""Bytes of a worker beside data and stack; and in which memory is asked for: tasks that ask alike share workers."""
UNHEARD = 10.0
"""Seconds after which a worker that should have ended by itself is given up."""
REACH = 10.0
"""Seconds to find out whether a cluster's address answers."""
TOKEN = (
    "the right one was not found here: put it into ~/.ray/auth_token or a file named by RAY_AUTH_TOKEN_PATH,"
    " and set RAY_AUTH_MODE=token"
)

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def executor(job: Job, profile: Stopwatch | None) -> OnRay:
    """Tasks on the cluster that the job names; raises `UsageError` for what cannot be."""
    require(profile is None, "where the time goes is measured in this process alone; give --executor threads")
    return OnRay(job)


@dataclass
class _Flight:
    attempt: Attempt
    began: float = math.inf


class OnRay:
    """An `initbench.grid.executors.Executor`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        beside = min(job.workers, len(job.plan.stacks))
        self._threads = max(1, torch.get_num_threads() // beside)
        self._local = beside * self._threads
        self._flights: dict[Any, _Flight] = {}
        self._ends = ExitStack()
        self._slots, self._asked = 0, -math.inf
        self._watched = not math.isinf(job.hands.patience)  # to tell when it begins costs a task a millisecond

    def __enter__(self) -> Self:
        silent = self._ends.enter_context(open(os.devnull, "w"))
        self._ends.enter_context(redirect_stdout(silent))  # where Ray prints of workers that died, amid our tables
        self._ends.enter_context(joined(self._job.hands.address, self._local))
        try:
            self._shared = ray.put(shared(self._job, uuid.uuid4().hex, self._threads))
            self._require_room()
        except BaseException:
            self._ends.close()
            raise
        self._train = ray.remote(train_watched if self._watched else train)
        return self

    def __exit__(self, *_: object) -> None:
        # the cluster ends what is under way when its driver leaves; to cancel what just ended has made Ray abort us
        self._ends.close()

    @property
    def slots(self) -> int:
        """`AHEAD` times what the cluster holds now."""
        if time.monotonic() > self._asked + LOOK_AGAIN:
            there, needed = ray.cluster_resources(), self._resources(())
            kind = "GPU" if needed["num_gpus"] else "CPU"
            self._slots = max(1, AHEAD * int(there.get(kind, 0) // max(needed["num_gpus"], needed["num_cpus"])))
            self._asked = time.monotonic()
        return self._slots

    def start(self, attempt: Attempt) -> None:
        returns, limit = ("streaming", [self._job.hands.patience]) if self._watched else (1, [])
        task = self._train.options(num_returns=returns, max_retries=0, **self._resources(attempt.cells))
        self._flights[task.remote(self._shared, tuple(attempt.cells), *limit)] = _Flight(attempt)

    def next(self) -> tuple[Attempt, Sequence[Done]]:
        while True:
            ready, _ = ray.wait(list(self._flights), num_returns=1, timeout=LOOK_AGAIN)
            if not ready:
                if lost := next((task for task in self._flights if self._late(task, UNHEARD)), None):
                    ray.cancel(lost, force=True)
                    return self._failed(lost, **self._too_long())
                continue
            task: Any = ready[0]
            try:
                found = ray.get(next(task) if self._watched else task)
            except RayError as error:
                ended = isinstance(error, WorkerCrashedError) and self._late(task)
                return self._failed(task, **(self._too_long() if ended else _why(error)))
            if found is STARTED:
                self._flights[task].began = time.monotonic()
            else:
                return self._flights.pop(task).attempt, found

    def _failed(self, task: Any, reason: str, tries: int, divides: bool = False) -> tuple[Attempt, Sequence[Done]]:
        attempt = self._flights.pop(task).attempt
        return attempt, [Failed(attempt.cells, reason, tries, divides)]

    def _too_long(self) -> dict[str, Any]:
        return {"reason": f"no end within {self._job.hands.patience:g} s", "tries": 2}

    def _late(self, task: Any, more: float = 0.0) -> bool:
        """Whether it has taken its time, and `more` seconds."""
        return self._flights[task].began + self._job.hands.patience + more <= time.monotonic()

    def _resources(self, cells: Sequence[Cell]) -> dict[str, float]:
        """What a task asks the cluster for; without cells, what every task asks for at least."""
        on_gpu = self._job.device.type == "cuda"
        needed = WORKER + sum(2 * self._job.data[cell.dataset].bytes for cell in cells[:1])
        if not on_gpu:
            needed += sum(bytes_of(cell, self._job.data[cell.dataset]) for cell in cells)
        return {"num_cpus": 1 if on_gpu else self._threads, "num_gpus": int(on_gpu),
                "memory": GRAIN * math.ceil(needed / GRAIN)}  # fmt: skip

    def _require_room(self) -> None:
        """Raises `UsageError` where no node of the cluster could ever take a stack: it would wait for ever."""
        largest = max(map(self._resources, self._job.plan.stacks), key=lambda needed: needed["memory"])
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        names = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        if not any(all(node.get(kind, 0) >= largest[name] for kind, name in names.items()) for node in nodes):
            asked = f"{largest['num_cpus']} CPU, {largest['num_gpus']} GPU and {largest['memory'] / 2**30:.3g} GiB"
            raise UsageError(f"a stack asks for {asked}; no node of the Ray cluster has that (see `ray status`)")


@contextmanager
def joined(address: str | None, cpus: int) -> Iterator[None]:
    """The cluster at `address`, or one of this machine alone; one that the caller has joined is left as it is.

    Raises `WorkError` where it cannot be joined: because it is not there, or for want of its token.
    """
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS")
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        _require_answer(where)
        with _quiet():
            options = (
                {"address": where} if where else {"address": "local", "num_cpus": cpus, "include_dashboard": False}
            )
            ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
    except AuthenticationError:
        raise WorkError(f"the Ray cluster {where or 'here'} asks for a token, and {TOKEN}") from None
    except (ConnectionError, TimeoutError) as error:
        told = str(error).strip().partition("\n")[0]
        raise WorkError(f"cannot join the Ray cluster {where}: {told}; if it asks for a token, {TOKEN}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str | None) -> None:
    """Raises `WorkError` at once where nobody listens: Ray would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not (colon and port.isdigit() and host and "/" not in host):
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH).close()
    except OSError as error:
        raise WorkError(f"there is no Ray cluster at {address}: {error.strerror or error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray's native half writes past Python onto standard error what is told in one line here."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_CHANCE: dict[type[RayError], dict[str, Any]] = {
    OutOfMemoryError: {"reason": OUT_OF_MEMORY, "tries": 1, "divides": True},
    NodeDiedError: {"reason": "its node was lost, again and again", "tries": 6},
    ObjectLostError: {"reason": "its node was lost, again and again", "tries": 6},
    WorkerCrashedError: {"reason": "its worker process died", "tries": 3},
}
"""What may happen to a task that is not its own fault, or not for sure."""


def _why(error: RayError) -> dict[str, Any]:
    """The fields of `Failed`; raises what ends the whole work."""
    for kind, failure in _CHANCE.items():
        if isinstance(error, kind):
            return failure
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, InitbenchError):
        raise cause
    raise WorkError(f"a worker of the Ray cluster cannot train: {str(cause).strip().splitlines()[-1]}")
