"""Which images a training sees, and in which order: the same for every cell of a seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from initbench.core.cell import Cell
from initbench.core.errors import UsageError, require
from initbench.core.randomness import generator
from initbench.datasets import PREPARATIONS, Data

TRAIN_SAMPLE = 2_000
"""Training images that a training loss is measured on, at most: the first of the split."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Images `samples features` and labels `samples`."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device, dtype: torch.dtype) -> Samples:
        """The same, there, as floating point numbers of this kind."""
        return Samples(self.images.to(device, dtype), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Split:
    """Prepared images for training, validation and test."""

    train: Samples
    validation: Samples
    test: Samples
    shape: tuple[int, ...]
    """Of one image: `channels height width`."""
    classes: int

    @property
    def train_sample(self) -> Samples:
        """What training losses are measured on."""
        return Samples(self.train.images[:TRAIN_SAMPLE], self.train.labels[:TRAIN_SAMPLE])

    def to(self, device: torch.device, dtype: torch.dtype) -> Split:
        """The same, there, as floating point numbers of this kind."""
        parts = {name: getattr(self, name).to(device, dtype) for name in ("train", "validation", "test")}
        return replace(self, **parts)


def split(data: Data, normalization: str, validation: float, seed: int) -> Split:
    """Hold out `validation` training images (a share if below 1) by `seed`; prepare all, fitted on what is left.

    Raises `UsageError` if fewer than one image would be left on either side.
    """
    held = held_out(len(data.train_images), validation)
    order = torch.randperm(
        len(data.train_images), generator=generator(seed, "split", len(data.train_images)), device="cpu"
    )
    kept, away = order[held:], order[:held]
    prepare = PREPARATIONS.make(normalization).fit(data.train_images[kept])
    return Split(
        train=Samples(prepare(data.train_images[kept]), data.train_labels[kept]),
        validation=Samples(prepare(data.train_images[away]), data.train_labels[away]),
        test=Samples(prepare(data.test_images), data.test_labels),
        shape=data.shape,
        classes=data.classes,
    )


def held_out(images: int, validation: float) -> int:
    """How many of `images` are held out: a share below 1, or a number."""
    whole = validation < 1 or validation % 1 == 0
    require(whole, f"validation is a share below 1 or a whole number, not {validation:g}")
    held = round(validation * images) if validation < 1 else round(validation)
    if not 0 < held < images:
        raise UsageError(f"validation {validation:g} would hold out {held} of {images} training images")
    return held


def training_images(cell: Cell, data: Data) -> int:
    """How many are left to train on."""
    images = len(data.train_images)
    return images - held_out(images, cell.validation)


def batch_length(cell: Cell, images: int) -> int:
    """Images of a full minibatch."""
    return min(cell.batch_size or images, images)


def steps_of(cell: Cell, images: int) -> int:
    """Updates that `cell` makes on a training set of `images`; an epoch's last minibatch may be smaller."""
    return cell.epochs * -(-images // batch_length(cell, images)) or cell.steps


def epoch_order(images: int, epoch: int, seed: int) -> Tensor:
    """The order of one epoch, `images`."""
    return torch.randperm(images, generator=generator(seed, "order", images, epoch), device="cpu")


def minibatches(images: int, size: int, seed: int) -> Iterator[Tensor]:
    """Indices of the minibatches, epoch after epoch without end."""
    for epoch in itertools.count():
        yield from epoch_order(images, epoch, seed).split(size)
