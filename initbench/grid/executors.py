"""Who trains the stacks beside each other, and what becomes of one that fails, or whose worker dies or hangs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, Self

from initbench.core.catalogue import did_you_mean
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, require
from initbench.engine.timing import Stopwatch
from initbench.grid import costs, first_copy
from initbench.grid.stacks import Done, Failed

if TYPE_CHECKING:
    from initbench.grid.training import Job

EXECUTORS = {"threads": "on_threads", "processes": "on_processes", "ray": "on_ray"}
"""Names, and the modules of this folder whose function `executor` makes them: loaded when one is asked for."""
AUTO = "auto"
"""Threads, or processes where these gain."""
ANEW, BEGUN = 4.0, 0.5
"""Seconds of calls, in which threads take turns, that are worth the start of processes: with the first copy, and
where that is there (`initbench.grid.first_copy`)."""
SHARE = 0.1
"""Of the work, that such calls are at least."""
COPIED = 2**28
"""Bytes of data that processes may take for copies of their own before they are asked for by name."""


@dataclass(frozen=True)
class Hands:
    """Who is to train, as a user says it. Raises `UsageError` for what cannot be."""

    executor: str = AUTO
    address: str | None = None
    """Of a running Ray cluster; None: Ray starts one on this machine, and the others need none."""
    stack_timeout: float | None = None
    """Seconds after which a stack counts as hanging; None: none does."""

    def __post_init__(self) -> None:
        known, executor = (AUTO, *EXECUTORS), self.executor
        require(executor in known, f"unknown executor '{executor}'{did_you_mean(str(executor), known)}")
        require(self.patience > 0, f"a stack's time must be above 0 seconds, not {self.patience:g}")

    @property
    def patience(self) -> float:
        """Seconds that a stack may take."""
        return math.inf if self.stack_timeout is None else self.stack_timeout


HERE = Hands()


@dataclass(frozen=True, eq=False)
class Attempt:
    """Cells that are to be trained together, once."""

    cells: Sequence[Cell]
    tried: int = 0
    """How often that was in vain."""


class Executor(Protocol):
    """Carries out attempts beside each other; used in a `with`, whose end halts what is under way."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def slots(self) -> int:
        """How many attempts may be under way now."""

    def start(self, attempt: Attempt) -> None:
        """Begin, or put it in line."""

    def next(self) -> tuple[Attempt, Sequence[Done]]:
        """Wait for one that is done: what became of its cells. Raises `InitbenchError` for what ends the work."""


def executor_of(job: Job, profile: Stopwatch | None) -> Executor:
    """The one that the job asks for; raises `UsageError` where it cannot be."""
    name = chosen(job, profile)
    try:
        made: Executor = import_module(f"initbench.grid.{EXECUTORS[name]}").executor(job, profile)
    except ModuleNotFoundError as error:
        raise UsageError(f'{error.name} is not installed here: pip install "initbench[{name}]"') from None
    return made


def chosen(job: Job, profile: Stopwatch | None = None, begun: bool | None = None) -> str:
    """Of `EXECUTORS`, who is to train; `begun`, whether the first copy of worker processes is there by then."""
    if job.hands.executor != AUTO:
        return job.hands.executor
    worth = BEGUN if (first_copy.is_begun() if begun is None else begun) else ANEW
    return "processes" if _processes_gain(job, profile, worth) else "threads"


def _processes_gain(job: Job, profile: Stopwatch | None, worth: float) -> bool:
    """Whether calls are `worth` seconds or more, a good part of the work, and nothing ties it to this process."""
    only_here = profile is not None or job.hands.address is not None or job.device.type != "cpu" or job.plugins
    copies = job.workers * sum(data.bytes for data in job.data.values())
    if only_here or min(job.workers, len(job.plan.stacks)) == 1 or copies > COPIED:
        return False
    calls = arithmetic = 0.0
    for many, cell in zip(job.plan.stacks.sizes, job.plan.stacks.firsts(), strict=True):
        calls += costs.calls(cell, job.data[cell.dataset])
        arithmetic += many * costs.arithmetic(cell, job.data[cell.dataset])
    return calls > max(worth, SHARE * (calls + arithmetic))


def carried_out(executor: Executor, stacks: Iterable[Sequence[Cell]]) -> Iterator[Done]:
    """What became of all stacks, as soon as it is known; one is taken when there is a slot for it.

    What failed is tried again: as often as its kind of failure may happen by chance (`Failed.tries`), then, if it may
    be one network's fault, in halves.
    """
    waiting = map(Attempt, stacks)
    again: deque[Attempt] = deque()
    ready: list[Done] = []
    under_way = 0
    while True:
        while under_way < executor.slots and (attempt := again.popleft() if again else next(waiting, None)):
            executor.start(attempt)
            under_way += 1
        yield from ready  # when the next is at work: what the caller makes of it takes time
        if not under_way:
            return
        attempt, found = executor.next()
        under_way -= 1
        ready = []
        for done in found:
            retries = _retries(attempt.tried + 1, done) if isinstance(done, Failed) else []
            again += retries
            ready += [] if retries else [done]


def _retries(tried: int, failed: Failed) -> list[Attempt]:
    cells, middle = failed.cells, len(failed.cells) // 2
    if tried < failed.tries:
        return [Attempt(cells, tried)]
    return [Attempt(half, tried) for half in (cells[:middle], cells[middle:])] if failed.divides and middle else []
