"""Train a stack of cells at once: the same loop as `initbench.reference`, on tensors with a models axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from initbench.core.cell import Cell
from initbench.engine.timing import Stopwatch, Untimed
from initbench.engine.training.captured import Captured
from initbench.engine.training.early_stopping import EarlyStopping
from initbench.engine.training.measures import LayerRecord, evaluate, one_hot
from initbench.engine.training.network import Observer, StackedMLP
from initbench.engine.training.noise import Noise
from initbench.engine.training.updates import Updates
from initbench.engine.tuning import UNTUNED, Tuning
from initbench.recipe import LOSSES, REGULARIZERS
from initbench.recipe.regularizers import Batch, Occasion
from initbench.recipe.samples import Samples, Split, batch_length, minibatches, steps_of

OWN = frozenset({"init", "lr", "momentum", "nesterov", "weight_decay", "clip_norm", "early_stopping", "seed",
                 "bias_variance"})  # fmt: skip
"""Fields of a cell that networks of one stack may differ in, beside the strengths of most regularizers."""
GATHERED = 2048
"""Images that are fetched at once for the next updates."""
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy")

Row = dict[str, float]
Halted = Callable[[], bool]


@dataclass
class Outcome:
    """What became of one cell."""

    status: str = "finished"
    """``finished`` or ``diverged``: a loss that is no number."""
    diverged_at: int | None = None
    """The update whose loss was the first that is no number."""
    stopped_at: int | None = None
    """The update at which early stopping ended it."""
    steps: int = 0
    """Updates planned."""
    metrics: Row = field(default_factory=dict)
    """`METRICS` after training; NaN where it diverged."""
    curves: list[Row] = field(default_factory=list)
    layer_curves: list[Row] = field(default_factory=list)


class Trainer:
    """One stack in training; arguments as for `train`."""

    def __init__(
        self, cells: Sequence[Cell], split: Split, profile: Stopwatch | None, tuning: Tuning, halted: Halted
    ) -> None:
        images = split.train.images
        self._cells, self._split = cells, split
        self._first = cells[0]
        for cell in cells:
            if _shared(cell) != _shared(self._first):
                raise ValueError(f"a stack's cells must agree in all but {', '.join(sorted(OWN))}: {cell}")
        self._steps = steps_of(self._first, len(images))
        self._network = StackedMLP(cells, images.shape[1], split.classes, images.device, images.dtype, tuning,
                                   images, split.train.labels)  # fmt: skip
        self._parameters = self._network.parameters
        self._updates = Updates(cells, self._network, self._steps)
        self._noise = Noise(cells, images.device, images.dtype)
        self._loss = LOSSES.make(self._first.loss)
        self._profile = profile or Untimed(images.device)
        self._halted = halted
        self._outcomes = [Outcome(steps=self._steps) for _ in cells]
        self._diverged_at = torch.zeros(len(cells), dtype=torch.int64, device=images.device)
        self._made = torch.zeros((), dtype=torch.int64, device=images.device)
        """Updates that were begun; in memory, so that a CUDA graph can count on."""
        entries = [REGULARIZERS.make(entry.name) for entry in REGULARIZERS]
        self._regularizers = [r for r in entries if any(cell.strength(r.spec) for cell in cells)]
        self._strengths = {
            r.spec: images.new_tensor([cell.strength(r.spec) for cell in cells]) for r in self._regularizers
        }
        self._early = EarlyStopping(cells, self._network.state)
        # phases are timed kernel by kernel; float64 is there to check, and its optimizers read no rates from memory
        captures = images.is_cuda and profile is None and self._updates.capturable and images.dtype == torch.float32
        self._captured = Captured(self._noise, self._updates, images.device) if captures else None
        """For updates of which nothing is recorded."""

    def run(self, watch: Stopwatch) -> list[Outcome]:
        """Train, evaluate; `watch` times the phases ``training`` and ``evaluation``."""
        with watch.lap("evaluation"):
            self._record(0)
        batches = self._minibatches()
        with torch.enable_grad():
            for step in range(1, self._steps + 1):
                if self._halted():
                    raise KeyboardInterrupt
                recorded = self._is_recorded(step)
                with watch.lap("training"):
                    self._update(step, batches, recorded)
                if recorded:
                    with watch.lap("evaluation"):
                        self._record(step)
                if self._early.all_stopped:
                    break
        with watch.lap("evaluation"):
            self._finish()
        return self._outcomes

    def _update(self, step: int, batches: Iterator[Batch], recorded: bool) -> None:
        """One step of all models on the next minibatch."""
        lap = self._profile.lap
        with lap("data"):
            images, targets = self._regularized(step, next(batches))
        self._noise.step = step
        if recorded:
            record = LayerRecord(self._network)
            rows = record.rows(self._step(images, targets, record.observe))
            for outcome, own in zip(self._outcomes, rows, strict=True):
                outcome.layer_curves += [{"step": step, "layer": layer, **row} for layer, row in enumerate(own, 1)]
        elif self._captured:
            self._captured(self._step, images, targets)
        else:
            self._step(images, targets)
        self._updates.scheduled()

    def _step(self, images: Tensor, targets: Tensor, observe: Observer | None = None) -> Sequence[Tensor]:
        """Forward, backward and update of all models; the gradients."""
        lap = self._profile.lap
        with lap("forward"):
            outputs = self._network(images, self._noise, observe)
            losses = self._loss.of(outputs.transpose(1, 2), self._targets(targets)).mean(dim=1)
        with lap("backward"):
            gradients = torch.autograd.grad((losses + self._penalties()).sum(), self._parameters)
        with lap("optimizer"):
            self._made += 1
            self._diverged_at += self._made * (~losses.detach().isfinite() & (self._diverged_at == 0))
            self._updates.step(gradients)
        return gradients

    def _minibatches(self) -> Iterator[Batch]:
        """What all models see, update by update: images `batch features`, targets `batch classes`."""
        train = self._split.train
        size = batch_length(self._first, len(train))
        indices = itertools.islice(minibatches(len(train), size, self._first.order_seed), self._steps)
        while several := list(itertools.islice(indices, max(1, GATHERED // size))):
            # many rows in one call: one by one, calls and cold memory take longer than the copying
            index, sizes = torch.cat(several).to(train.images.device), list(map(len, several))
            images, labels = train.images[index], train.labels[index]
            targets = one_hot(labels, self._split.classes, images.dtype)
            yield from zip(images.split(sizes), targets.split(sizes), strict=True)

    def _regularized(self, step: int, batch: Batch) -> Batch:
        """The minibatch as cutout and its like change it."""
        occasion = Occasion(self._first.order_seed, step, self._split.shape)
        for regularizer in self._regularizers:
            if regularizer.batches:
                batch = regularizer.batches(batch, self._first.strength(regularizer.spec), occasion)
        return batch

    def _targets(self, targets: Tensor) -> Tensor:
        """Each model's own targets, `batch classes` or `models batch classes`."""
        for regularizer in self._regularizers:
            if regularizer.targets:
                targets = regularizer.targets(targets, self._strengths[regularizer.spec][:, None, None])
        return targets

    def _penalties(self) -> Tensor | float:
        """What is added to each model's loss, `models`."""
        total: Tensor | float = 0.0
        for regularizer in self._regularizers:
            if regularizer.penalty:
                sums = [regularizer.penalty(weight).sum(dim=(1, 2)) for weight in self._network.weights]
                total = total + self._strengths[regularizer.spec] * torch.stack(sums).sum(dim=0)
        return total

    def _is_recorded(self, step: int) -> bool:
        every = self._first.record_every
        return every > 0 and (step % every == 0 or step == self._steps)

    def _measure(self, samples: Samples, name: str) -> list[Row]:
        """Each model's loss and accuracy on `samples`."""
        losses, shares = evaluate(self._network, samples, self._loss, self._split.classes)
        return [{f"{name}_loss": loss, f"{name}_accuracy": share} for loss, share in zip(losses, shares, strict=True)]

    def _record(self, step: int) -> None:
        """A point of the curves, and what depends on it: early stopping, and schedules that watch the validation."""
        if not self._first.record_every:
            return
        train, held = self._measure(self._split.train_sample, "train"), self._measure(self._split.validation, "val")
        for outcome, one, other in zip(self._outcomes, train, held, strict=True):
            outcome.curves.append({"step": step, **one, **other})
        if step:
            losses = [row["val_loss"] for row in held]
            self._updates.validated(losses)
            self._early.watch(step, losses)

    def _finish(self) -> None:
        """The metrics after training, and who diverged."""
        self._early.restore()
        parts = {"train": self._split.train_sample, "val": self._split.validation, "test": self._split.test}
        for name, samples in parts.items():
            for outcome, row in zip(self._outcomes, self._measure(samples, name), strict=True):
                outcome.metrics |= row
        stops, diverged = self._early.stopped_at, self._diverged_at.tolist()
        for outcome, stop, step in zip(self._outcomes, stops, diverged, strict=True):
            outcome.stopped_at = stop
            if step and (outcome.stopped_at is None or step <= outcome.stopped_at):
                outcome.diverged_at = step
            elif any(math.isnan(value) for value in outcome.metrics.values()):
                outcome.diverged_at = stop or self._steps  # the weights of its last update are no numbers
            if outcome.diverged_at is not None:
                outcome.status, outcome.metrics = "diverged", dict.fromkeys(METRICS, math.nan)
                outcome.stopped_at = None
            outcome.curves = _until(outcome, outcome.curves)
            outcome.layer_curves = _until(outcome, outcome.layer_curves)


def _shared(cell: Cell) -> tuple[object, ...]:
    """What the cells of a stack have in common."""
    named = (
        getattr(cell, field.name) for field in fields(cell) if field.name not in OWN | {"data_seed", "regularizers"}
    )
    return (*named, cell.order_seed, *((n, s) for n, s in cell.regularizers if REGULARIZERS.make(n).batches))


def _until(outcome: Outcome, rows: list[Row]) -> list[Row]:
    """The rows up to where this network stopped, or before it diverged: its neighbours went on."""
    stopped = math.inf if outcome.stopped_at is None else outcome.stopped_at
    diverged = math.inf if outcome.diverged_at is None else outcome.diverged_at
    return [row for row in rows if row["step"] <= stopped and row["step"] < diverged]


def train(
    cells: Sequence[Cell],
    split: Split,
    watch: Stopwatch | None = None,
    profile: Stopwatch | None = None,
    tuning: Tuning = UNTUNED,
    halted: Halted = lambda: False,
) -> list[Outcome]:
    """The outcomes of `cells`, trained as one stack. They agree in all fields but `OWN`.

    `split` is on the device and in the dtype to train in; `watch` times training and evaluation, `profile` the phases
    of each update; `tuning` chooses routines that are equal but for rounding. Raises `KeyboardInterrupt`
    before the next update once `halted` says so.
    """
    return Trainer(cells, split, profile, tuning, halted).run(watch or Untimed(split.train.images.device))
