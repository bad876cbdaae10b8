"""Time by phase: CUDA events on a GPU, a monotonic clock on a CPU. Every sample is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Clock = Callable[[], float]


class Stopwatch:
    """Samples of seconds for each phase that was timed with `lap`."""

    def __init__(self, device: torch.device, clock: Clock = time.perf_counter) -> None:
        self._device, self._clock = device, clock
        self._samples: dict[str, list[float]] = {}
        self._events: list[tuple[str, Any, Any]] = []

    @contextmanager
    def lap(self, phase: str) -> Iterator[None]:
        """Time what runs inside. On a GPU nothing is waited for: events are read when samples are asked for."""
        if self._device.type == "cuda":
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(torch.cuda.current_stream(self._device))  # by itself, of the thread's current device
            yield
            stop.record(torch.cuda.current_stream(self._device))
            self._events.append((phase, start, stop))
        else:
            before = self._clock()
            yield
            self._samples.setdefault(phase, []).append(self._clock() - before)

    @property
    def samples(self) -> dict[str, list[float]]:
        """Seconds of each lap, by phase."""
        if self._events:
            torch.cuda.synchronize(self._device)
        for phase, start, stop in self._events:
            self._samples.setdefault(phase, []).append(start.elapsed_time(stop) / 1e3)
        self._events.clear()
        return self._samples

    def seconds(self, phase: str) -> float:
        """All laps of `phase` together."""
        return sum(self.samples.get(phase, []))


class Untimed(Stopwatch):
    """A stopwatch that does not run: for phases that are timed only if the user asks."""

    @contextmanager
    def lap(self, phase: str) -> Iterator[None]:
        yield


def warm_up(device: torch.device) -> None:
    """Let a GPU load its kernels and raise its clock before anything is timed; nothing to do on a CPU."""
    if device.type == "cuda":
        square = torch.randn(1024, 1024, device=device)
        for _ in range(10):
            square = (square @ square).tanh()
        torch.cuda.synchronize(device)
