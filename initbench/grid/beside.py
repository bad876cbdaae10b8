"""Work on several cores: whole stacks beside each other, each on one thread of torch.

One product split over cores makes them wait for each other many thousand times a second; where another process shares
the cores that wait is long. Stacks need not wait, and what one gives does not depend on how many cores there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")


class Beside:
    """`workers` threads, each with its share of torch's own; use it in a `with`, whose end halts what is under way."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._halt = threading.Event()
        self._threads = torch.get_num_threads()

    def halted(self) -> bool:
        """Whether what is under way should end: asked by the work itself, now and then."""
        return self._halt.is_set()

    def __enter__(self) -> Beside:
        torch.set_num_threads(max(1, self._threads // self._workers))
        self._pool = ThreadPoolExecutor(
            self._workers, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)

    def results(self, work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """What `work` makes of each item, as soon as it is made; an item is taken when a thread is free for it."""
        waiting = iter(items)
        running: set[Future[Made]] = set()
        while True:
            running |= {self._pool.submit(work, item) for item in islice(waiting, self._workers - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
