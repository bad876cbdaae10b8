"""Updates as CUDA graphs: all kernels of a step, launched by one call.

A step of a stack of small networks is some hundred kernels of a few microseconds each, which take a processor longer
to launch than a GPU to run. A graph is a recording of them. It reads and writes the memory that they did, and takes no
notice of Python: what changes from step to step is copied into that memory before each replay.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from initbench.core.errors import UsageError, ran_out_of_memory
from initbench.core.plugins import told
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

    def __init__(self, noise: Noise, updates: Updates, device: torch.device) -> None:
        self._noise, self._updates = noise, updates
        self._met: Counter[int] = Counter()
        self._recordings: dict[int, _Recording] = {}
        self._stream = _stream(device)
        self._pool: Any = torch.cuda.graph_pool_handle()
        """Memory of all the graphs: nothing that one computes on its way is read by another."""
        self._possible = True

    def __call__(self, step: Step, images: Tensor, targets: Tensor) -> None:
        """One update of all networks, by `step`, the same each time; it may hold what holds this, and is not kept."""
        with self._noise.lasting(len(images)):
            self._update(step, images, targets)

    def _update(self, step: Step, images: Tensor, targets: Tensor) -> None:
        size = len(images)
        self._met[size] += 1
        if self._possible and self._met[size] > EAGER and size not in self._recordings:
            self._capture(step, images, targets)
        if recording := self._recordings.get(size):
            recording.images.copy_(images)
            recording.targets.copy_(targets)
            self._updates.renew_rates()
            recording.graph.replay()
        elif self._possible and self._met[size] == EAGER:
            with _Watch() as watch:
                self._one_by_one(step, images, targets)
            if watch.refused:
                self._impossible(f"{watch.refused} waits for the GPU")
        else:
            self._one_by_one(step, images, targets)

    def _one_by_one(self, step: Step, images: Tensor, targets: Tensor) -> None:
        """On the stream of the capture: what autograd keeps of another one would be waited for in it."""
        before = torch.cuda.current_stream(images.device)
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            step(images, targets)
        before.wait_stream(self._stream)

    def _capture(self, step: Step, images: Tensor, targets: Tensor) -> None:
        """Record the step; nothing is computed."""
        recording = _Recording(torch.cuda.CUDAGraph(), images.clone(), targets.clone())
        try:
            with (
                torch.cuda.stream(torch.cuda.current_stream(images.device)),  # torch forgets it if the capture fails
                self._updates.rates_in_memory(),
                # other threads may prepare data meanwhile
                torch.cuda.graph(
                    recording.graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                step(recording.images, recording.targets)
        except (RuntimeError, UsageError) as error:  # the latter by an activation of one's own
            if ran_out_of_memory(error):
                raise
            self._impossible(told(error))
        else:
            self._recordings[len(images)] = recording

    def _impossible(self, why: str) -> None:
        self._possible = False
        warnings.warn(f"updates are launched kernel by kernel: no CUDA graph: {why}", stacklevel=2)


_own = threading.local()


def _stream(device: torch.device) -> Any:
    """This thread's for captures: torch keeps memory to work in, for good, for each that has products."""
    streams = _own.__dict__.setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)
    return streams[device]


class _Watch(TorchDispatchMode):
    """Looks for what a capture would refuse, in an update that is none.

    A capture that CUDA broke off leaves torch's allocator waiting for its end as long as the process lives: the next
    time that memory runs out, or is given back, an assertion fails.
    """

    refused = ""
    """The first operation that looks at a number, or whose result's size depends on one, or that crosses devices."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if not self.refused and (not WAITING.isdisjoint(function.tags) or _crosses(function, (args, found))):
            self.refused = str(function)
        return found


WAITING = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})


def _crosses(function: Any, tensors: Any) -> bool:
    """Whether it copies between devices. That of ``torch.tensor(..., device=...)`` is done where it is lifted."""
    devices = {each.device.type for each in tree_leaves(tensors) if isinstance(each, Tensor)}
    copies = function in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
    return len(devices) > 1 if copies else function is torch.ops.aten.lift_fresh.default and devices != {"cpu"}
