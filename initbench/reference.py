"""The lecture's code, made right: one network, one loop, nothing clever. The twin that the stacked engine is held to.

    split = ...                                       # images and labels: initbench.recipe.samples.split
    cell = Cell(init="he_normal", activation="relu", depth=2, width=100, optimizer="adam", lr=1e-3)
    outcome = train(cell, split)                      # outcome["test_accuracy"], outcome["curves"], ...

Every choice of a cell is here as plain modules, a `DataLoader` and torch.optim. Random numbers come from the same named
generators as in the engine, so both train the same network on the same images.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.randomness import generator
from initbench.core.records import Promise, shape_of
from initbench.initializers import INITIALIZERS, Initializer
from initbench.initializers.adaptation import of_training
from initbench.initializers.bases import parameters
from initbench.recipe import LOSSES, OPTIMIZERS, REGULARIZERS, SCHEDULES
from initbench.recipe.optimizers import Optimizer
from initbench.recipe.regularizers import Occasion
from initbench.recipe.samples import Samples, Split, batch_length, steps_of

EVALUATION_BATCH = 1_000


class LinearLayer(nn.Module):
    """y = W x + b, `batch fan_in` -> `batch fan_out`, with parameters as an initializer promises them."""

    def __init__(self, initializer: Initializer, promise: Promise, seed: int) -> None:
        super().__init__()
        weight, bias = parameters(initializer, promise, seed)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.t() + self.bias


class MLP(nn.Module):
    """`cell.depth` hidden layers of `cell.width` units and a linear output: `batch features` -> `batch classes`.

    `images` are those of the training split: what weights may adapt to, with `labels`.
    """

    def __init__(self, cell: Cell, features: int, classes: int, images: Tensor | None = None,
                 labels: Tensor | None = None) -> None:  # fmt: skip
        super().__init__()
        self.cell = cell
        self.activation = ACTIVATIONS.make(cell.activation)
        self.step = 0
        """The update that is being made: the noise of dropout depends on it."""
        network = shape_of(cell, features, classes)
        initializer = INITIALIZERS.make(cell.init)
        promises = initializer.promises(self.activation, network)
        layers = [LinearLayer(initializer, promise, cell.seed) for promise in promises]
        if initializer.adapt:
            drawn = [(layer.weight, layer.bias) for layer in layers]
            found = of_training(initializer.adapt, cell, drawn, images, labels, LOSSES.make(cell.loss).of)
            for layer, factor in zip(layers, found, strict=True):
                layer.weight.data.mul_(factor)
        self.hidden, self.output = nn.ModuleList(layers[:-1]), layers[-1]
        self.places = network.places[:-1]
        starts = [initializer.branch.scale] * network.branches if initializer.branch else []
        self.branch_scales = nn.ParameterList(torch.full((1,), start, dtype=torch.float64) for start in starts)
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(cell.width) if cell.batch_norm else nn.Identity() for _ in self.hidden
        )

    def forward(self, x: Tensor) -> Tensor:
        h = trunk = x
        scales = iter(self.branch_scales)
        for number, (linear, norm, place) in enumerate(zip(self.hidden, self.norms, self.places, strict=True)):
            z = norm(linear(h))
            if place == 2:
                z = trunk + self._branch(number, z, scales)
            h = self.activation.function(z)
            if self.training and place < 2:
                h = h * self._noise("units", number, h.shape[0], h.shape[1], share=1.0)
            if place == self.cell.residual == 1:
                h = trunk + self._branch(number, h, scales)
            if place != 1 or self.cell.residual == 1:
                trunk = h
        return self.output(h)

    def _branch(self, number: int, branch: Tensor, scales: Iterator[nn.Parameter]) -> Tensor:
        """A residual branch as it is added: times its scalar, if it has one, and what stochastic depth leaves of it."""
        scaled = next(scales) * branch if self.branch_scales else branch
        if not self.training:
            return scaled
        return scaled * self._noise("branches", number, branch.shape[0], 1, share=(number + 1) / self.cell.depth)

    def _noise(self, place: str, number: int, batch: int, units: int, share: float) -> Tensor:
        """What dropout, or stochastic depth, multiplies the signal of hidden layer `number` by."""
        total = self.output.weight.new_ones(batch, units)
        for name, strength in self.cell.regularizers:
            if factor := getattr(REGULARIZERS.make(name), place):
                drawn = generator(self.cell.seed, name, self.step, number, batch, units)
                noise = torch.rand(batch, units, generator=drawn, dtype=torch.float32).to(total)
                total = total * factor(noise, strength * share)
        return total


def parameter_groups(model: MLP, optimizer: Optimizer) -> list[dict[str, Any]]:
    """One group of all parameters; two a layer where the initializer has learning rates by layer."""
    cell, initializer = model.cell, INITIALIZERS.make(model.cell.init)
    if initializer.rates is None:
        return [{"params": list(model.parameters()), **optimizer.settings(cell)}]
    layers = (*model.hidden, model.output)
    network = shape_of(cell, layers[0].weight.shape[1], len(model.output.weight))
    rates = initializer.learning_rates(model.activation, network, optimizer.normalizes)
    groups = []
    for layer, norm, rate in zip(layers, (*model.norms, nn.Identity()), rates, strict=True):
        vectors = [layer.bias, *norm.parameters()]
        groups += [
            {"params": [layer.weight], **optimizer.settings(cell, rate.weight)},
            {"params": vectors, **optimizer.settings(cell, rate.bias)},
        ]
    return groups


def training_loader(cell: Cell, train: Samples, epoch: int) -> DataLoader:
    """The minibatches of one epoch, shuffled anew; the whole set at once, or one image, are its two ends."""
    order = RandomSampler(train.labels, generator=generator(cell.order_seed, "order", len(train), epoch))
    dataset = TensorDataset(train.images, train.labels)
    # a loader draws a number for workers that it does not have: not from the global generator
    return DataLoader(dataset, batch_length(cell, len(train)), sampler=order, generator=torch.Generator())


def evaluation_loader(samples: Samples) -> DataLoader:
    """All of `samples` in order."""
    dataset = TensorDataset(samples.images, samples.labels)
    return DataLoader(dataset, EVALUATION_BATCH, generator=torch.Generator())


@torch.no_grad()
def evaluate(
    model: nn.Module, loader: DataLoader, device: torch.device | str = "cpu", loss: str = "cross_entropy"
) -> tuple[float, float]:
    """The mean loss and the accuracy over all samples of `loader`, however batched; the model stays in its mode."""
    was_training = model.training
    model.eval()
    loss_of, total, right, count = LOSSES.make(loss).of, 0.0, 0, 0
    for images, labels in loader:
        outputs = model(images.to(device))
        labels = labels.to(device)
        targets = F.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
        total += float(loss_of(outputs, targets).double().sum())
        right += int((outputs.argmax(dim=1) == labels).sum())
        count += len(labels)
    model.train(was_training)
    return total / count, right / count


Watch = Callable[[int, MLP], object]
"""Called with the number of updates made and the network: before the first, and after each."""


def train(cell: Cell, split: Split, watch: Watch | None = None) -> dict[str, Any]:
    """Train one cell: its status and its losses and accuracies after training, and its curves.

    `split` is on the device, in the dtype to train in. `watch` looks on, and changes nothing.
    """
    return _Run(cell, split, watch).train()


class _Run:
    """One training, with what it needs to remember."""

    def __init__(self, cell: Cell, split: Split, watch: Watch | None = None) -> None:
        self.cell, self.split, self.watch = cell, split, watch or (lambda step, model: None)
        images = split.train.images
        self.device = images.device
        self.model = MLP(cell, images.shape[1], split.classes, images, split.train.labels).to(images)
        self.steps = steps_of(cell, len(split.train))
        self.recipe, self.schedule = OPTIMIZERS.make(cell.optimizer), SCHEDULES.make(cell.schedule)
        self.optimizer = self.recipe.over(parameter_groups(self.model, self.recipe))
        self.scheduler = self.schedule.make(self.optimizer, self.steps)
        self.curves: list[dict[str, float]] = []
        self.best_loss, self.stale = math.inf, 0
        self.best_state: dict[str, Any] | None = None
        self.diverged_at: int | None = None
        self.stopped_at: int | None = None

    def train(self) -> dict[str, Any]:
        self.record(0)
        self.watch(0, self.model)
        for step, (images, labels) in enumerate(self.batches(), start=1):
            loss = self.update(step, images, labels)
            self.watch(step, self.model)
            if not math.isfinite(loss):
                self.diverged_at = step
                break
            if self.cell.record_every and (step % self.cell.record_every == 0 or step == self.steps):
                self.record(step)
            if self.stopped_at is not None:
                break
        return self.result()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """`steps` minibatches, epoch after epoch."""
        done, epoch = 0, 0
        while True:
            for batch in training_loader(self.cell, self.split.train, epoch):
                if done == self.steps:
                    return
                yield batch
                done += 1
            epoch += 1

    def update(self, step: int, images: Tensor, labels: Tensor) -> float:
        """Forward, loss, backward, update; the loss before it."""
        self.model.train()
        self.model.step = step
        images, targets = self.regularized_batch(step, images, labels)
        loss = LOSSES.make(self.cell.loss).of(self.model(images), targets).mean()
        self.optimizer.zero_grad()
        (loss + self.penalty()).backward()
        if self.cell.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.cell.clip_norm)
        self.recipe.step(self.optimizer)
        if self.scheduler and not self.schedule.watches_validation:
            self.scheduler.step()
        return loss.item()

    def regularized_batch(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images and targets after what changes them: mixup, cutout, label smoothing."""
        batch = (images, F.one_hot(labels, self.split.classes).to(images.dtype))
        entries = [(entry.name, REGULARIZERS.make(entry.name)) for entry in REGULARIZERS]
        for name, regularizer in entries:
            if regularizer.batches and self.cell.strength(name):
                occasion = Occasion(self.cell.order_seed, step, self.split.shape)
                batch = regularizer.batches(batch, self.cell.strength(name), occasion)
        images, targets = batch
        for name, regularizer in entries:
            if regularizer.targets and self.cell.strength(name):
                targets = regularizer.targets(targets, self.cell.strength(name))
        return images, targets

    def penalty(self) -> Tensor | float:
        """What regularizers add to the loss: of weights, not of biases."""
        weights = [layer.weight for layer in (*self.model.hidden, self.model.output)]
        total: Tensor | float = 0.0
        for name, strength in self.cell.regularizers:
            if penalty := REGULARIZERS.make(name).penalty:
                total = total + strength * sum(penalty(weight).sum() for weight in weights)
        return total

    def measure(self, samples: Samples, name: str) -> dict[str, float]:
        loss, accuracy = evaluate(self.model, evaluation_loader(samples), self.device, self.cell.loss)
        return {f"{name}_loss": loss, f"{name}_accuracy": accuracy}

    def record(self, step: int) -> None:
        """A point of the curves, and what depends on it: early stopping, schedules that watch the validation loss."""
        if not self.cell.record_every:
            return
        held = self.measure(self.split.validation, "val")
        self.curves.append({"step": step, **self.measure(self.split.train_sample, "train"), **held})
        if step and self.scheduler and self.schedule.watches_validation:
            self.scheduler.step(held["val_loss"])
        if step and self.cell.early_stopping:
            self.stop_early(step, held["val_loss"])

    def stop_early(self, step: int, loss: float) -> None:
        if loss < self.best_loss:
            self.best_loss, self.best_state, self.stale = loss, copy.deepcopy(self.model.state_dict()), 0
        else:
            self.stale += 1
            if self.stale >= self.cell.early_stopping:
                self.stopped_at = step

    def result(self) -> dict[str, Any]:
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        split = self.split
        parts = {"train": split.train_sample, "val": split.validation, "test": split.test}
        metrics = {key: value for name, part in parts.items() for key, value in self.measure(part, name).items()}
        if self.diverged_at is None and not all(map(math.isfinite, metrics.values())):
            self.diverged_at = self.stopped_at or self.steps
        if self.diverged_at is not None:
            self.stopped_at = None
            metrics = dict.fromkeys(metrics, math.nan)
        return {
            "status": "finished" if self.diverged_at is None else "diverged",
            "diverged_at": self.diverged_at,
            "stopped_at": self.stopped_at,
            **metrics,
            "curves": [row for row in self.curves if self.diverged_at is None or row["step"] < self.diverged_at],
        }
