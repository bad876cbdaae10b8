"""Work on several cores: whole stacks beside each other, each on one thread of torch.

One product split over cores makes them wait for each other many thousand times a second; where another process shares
the cores that wait is long. Stacks need not wait, and what one gives does not depend on how many cores there are.
"""

from __future__ import annotations

import ctypes
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")

GRACE = 5.0
"""Seconds that the end waits for what is under way and was told to halt, and again when it was interrupted."""


@dataclass(eq=False)
class _Task:
    work: Callable[[Any], Any]
    item: Any
    made: Any = None
    error: BaseException | None = None
    began: float = math.inf
    hand: threading.Thread | None = None
    abandoned: bool = False


class Beside:
    """`workers` threads, each with its share of torch's own; use it in a `with`, whose end halts what is under way.

    A thread cannot be ended from outside. What takes longer than `patience` seconds is told to halt, is interrupted if
    it runs Python, and is left alone; another thread takes its place, and the process can end without it.
    """

    def __init__(self, workers: int, patience: float = math.inf) -> None:
        self._workers, self._patience = workers, patience
        self._halt = threading.Event()
        self._own = threading.local()
        self._threads = torch.get_num_threads()
        self._waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._running: list[_Task] = []
        self._hands: list[threading.Thread] = []

    def halted(self) -> bool:
        """Whether what is under way in this thread should end: asked by the work itself, now and then."""
        task: _Task | None = getattr(self._own, "task", None)
        return self._halt.is_set() or (task is not None and task.abandoned)

    def __enter__(self) -> Beside:
        torch.set_num_threads(max(1, self._threads // self._workers))
        self._share = torch.get_num_threads()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        for _hand in self._hands:
            self._waiting.put(None)
        self._wait()
        for hand in self._hands:
            _interrupt(hand)
        self._wait()  # until the call of torch that it is in returns, or the process would end within
        torch.set_num_threads(self._threads)

    def _wait(self) -> None:
        end = time.monotonic() + GRACE
        for hand in self._hands:
            hand.join(max(0.0, end - time.monotonic()))

    def results(self, work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """What `work` makes of each item, as soon as it is made; an item is taken when a thread is free for it."""
        waiting = iter(items)
        while True:
            for item in islice(waiting, self._workers - len(self._running)):
                self.start(work, item)
            if not self._running:
                return
            _, made, error = self.next()
            if error:
                raise error
            yield made

    def start(self, work: Callable[[Item], Any], item: Item) -> None:
        """Let a thread make ``work(item)``: at once, if fewer than `workers` are at work."""
        task = _Task(work, item)
        self._running.append(task)
        self._waiting.put(task)
        if len(self._hands) < min(self._workers, len(self._running)):
            self._employ()

    def next(self) -> tuple[Any, Any, BaseException | None]:
        """An item that is done, what was made of it, or the error; `TimeoutError` where it was not done in time."""
        while True:
            try:
                task = self._done.get(timeout=self._left())
            except queue.Empty:
                late = [task for task in self._running if task.began + self._patience <= time.monotonic()]
                if not late:
                    continue
                self._abandon(task := late[0])
            if task in self._running:  # else it was left alone, and came to an end after all
                self._running.remove(task)
                return task.item, task.made, task.error

    def _left(self) -> float | None:
        """Seconds until the first of what is under way has taken too long."""
        if math.isinf(self._patience):
            return None
        first = min([task.began for task in self._running if not math.isinf(task.began)], default=time.monotonic())
        return max(0.0, first + self._patience - time.monotonic())

    def _employ(self) -> None:
        hand = threading.Thread(target=self._serve, daemon=True)
        self._hands.append(hand)
        hand.start()

    def _abandon(self, task: _Task) -> None:
        task.abandoned, task.error = True, TimeoutError()
        if task.hand:
            self._hands.remove(task.hand)
            _interrupt(task.hand)
        self._employ()

    def _serve(self) -> None:
        torch.set_num_threads(self._share)
        while (task := self._waiting.get()) and not self._halt.is_set():
            self._own.task, task.hand, task.began = task, threading.current_thread(), time.monotonic()
            try:
                made, error = task.work(task.item), None
            except BaseException as raised:  # the caller's to judge
                made, error = None, raised
            if task.abandoned:  # another thread is in its place
                return
            task.made, task.error = made, error
            self._done.put(task)
            del task, made, error


def _interrupt(hand: threading.Thread) -> None:
    """Raise `SystemExit` in it when it next runs Python: if it did so while the process ends, that would abort."""
    if hand.ident and hand.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(hand.ident), ctypes.py_object(SystemExit))
