"""Updates as CUDA graphs: all kernels of a step, launched by one call.

A step of a stack of small networks is some hundred kernels of a few microseconds each, which take a processor longer
to launch than a GPU to run. A graph is a recording of them. It reads and writes the memory that they did, and takes no
notice of Python: what changes from step to step is copied into that memory before each replay.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from initbench.engine.training.noise import Noise
from initbench.engine.training.updates import Updates

EAGER = 3
"""Updates on minibatches of a size before they are captured: libraries and optimizers lay out their memory in them."""

Step = Callable[[Tensor, Tensor], object]
"""One update by `batch features` and targets `batch classes`."""


@dataclass(frozen=True)
class _Recording:
    """A graph, and where it looks for its minibatch."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    targets: Tensor


class Captured:
    """A step that is captured, one graph for each size of minibatch, and replayed from then on.

    What cannot be captured (an activation of one's own that looks at a number) goes on kernel by kernel, with a
    warning. Running out of memory is raised.
    """

    def __init__(self, step: Step, noise: Noise, updates: Updates, device: torch.device) -> None:
        self._step, self._noise, self._updates = step, noise, updates
        self._met: Counter[int] = Counter()
        self._recordings: dict[int, _Recording] = {}
        self._stream: Any = torch.cuda.Stream(device)
        self._possible = True

    def __call__(self, images: Tensor, targets: Tensor) -> None:
        """One update of all networks."""
        size = len(images)
        self._met[size] += 1
        if self._possible and self._met[size] > EAGER and size not in self._recordings:
            self._capture(images, targets)
        if recording := self._recordings.get(size):
            recording.images.copy_(images)
            recording.targets.copy_(targets)
            self._noise.renew(size)
            self._updates.renew_rates()
            recording.graph.replay()
        else:
            self._one_by_one(images, targets)

    def _one_by_one(self, images: Tensor, targets: Tensor) -> None:
        """On the stream of the capture: what autograd keeps of another one would be waited for in it."""
        before = torch.cuda.current_stream(images.device)
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            self._step(images, targets)
        before.wait_stream(self._stream)

    def _capture(self, images: Tensor, targets: Tensor) -> None:
        """Record the step; nothing is computed."""
        recording = _Recording(torch.cuda.CUDAGraph(), images.clone(), targets.clone())
        try:
            # other threads may prepare data meanwhile
            with (
                self._noise.lasting(),
                self._updates.rates_in_memory(),
                torch.cuda.graph(recording.graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                self._step(recording.images, recording.targets)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._possible = False
            warnings.warn(f"updates are launched kernel by kernel: no CUDA graph: {error}", stacklevel=2)
        else:
            self._recordings[len(images)] = recording
