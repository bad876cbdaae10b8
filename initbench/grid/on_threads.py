"""Stacks on threads of this process, one a core (`initbench.grid.beside`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Self

import torch

from initbench.core.errors import require
from initbench.engine import device as devices
from initbench.engine.timing import Stopwatch, warm_up
from initbench.grid.beside import Beside
from initbench.grid.executors import Attempt
from initbench.grid.stacks import ENGINES, Done, Failed, Session, attempted
from initbench.grid.training import Job
from initbench.grid.training_plan import split_of
from initbench.recipe.samples import Split, split


def executor(job: Job, profile: Stopwatch | None) -> Threads:
    """As many as the job has workers; raises `UsageError` where another address is asked for."""
    require(job.hands.address is None, "an address is of a Ray cluster; give --executor ray with it")
    return Threads(job, profile)


class Threads:
    """An `initbench.grid.executors.Executor`."""

    def __init__(self, job: Job, profile: Stopwatch | None) -> None:
        self._job = job
        workers = min(job.workers, len(job.plan.stacks))
        self.slots = workers + 1  # one in line, so that no thread waits while what is done is written
        self._beside = Beside(workers, job.hands.patience)
        self._session = Session(devices.describe(job.device), ENGINES[job.engine], profile, job.tuning,
                                self._beside.halted)  # fmt: skip
        self._split = lru_cache(maxsize=1)(self._prepared)

    def __enter__(self) -> Self:
        warm_up(self._job.device)
        self._beside.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._beside.__exit__()

    def start(self, attempt: Attempt) -> None:
        self._beside.start(self._train, (attempt, self._split(*split_of(attempt.cells[0]))))

    def next(self) -> tuple[Attempt, Sequence[Done]]:
        (attempt, _), found, error = self._beside.next()
        if isinstance(error, TimeoutError):
            return attempt, [Failed(attempt.cells, f"no end within {self._job.hands.patience:g} s", tries=2)]
        if error:
            raise error
        return attempt, found

    def _train(self, item: tuple[Attempt, Split]) -> Sequence[Done]:
        attempt, data = item
        with current(self._job.device):  # each thread has a current device of its own
            return attempted(attempt.cells, data, self._session)

    def _prepared(self, dataset: str, normalization: str, validation: float, seed: int) -> Split:
        prepared = split(self._job.data[dataset], normalization, validation, seed)
        return prepared.to(self._job.device, torch.float32)


def current(device: torch.device) -> AbstractContextManager[object]:
    """CUDA's events are recorded on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
