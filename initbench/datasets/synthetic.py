"""Data sets that are drawn: small enough to see through, the same on every machine, without files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from initbench.core.errors import require
from initbench.core.randomness import generator
from initbench.datasets.record import Data, DataSet

FOR_TEST = 1_000
MOST = 10**8
"""Numbers in all images."""
SEEN = (0.3, 0.7)
"""The part of a class's stretch that its training points are from."""


def line(classes: int = 2, images: int = 20) -> DataSet:
    """Points on a line whose few training points are separable, though their classes are not.

    Class k of K is uniform from k/(K+1) to (k+2)/(K+1), and shares a half with each neighbour. Training points are from
    the middle 40 %, so that those of two classes are at least 0.2/(K+1) apart: without a penalty the likelihood has
    no maximum, and the odds between them become a cliff. Classes take turns. Raises `UsageError` for fewer than two
    classes or points of each.
    """
    require(classes >= 2, f"line: classes must be at least 2, not {classes}")
    require(images <= MOST, f"line: images must be at most {MOST:,}, not {images:,}")
    require(images >= 2 * classes, f"line: images must be at least {2 * classes} for {classes} classes, not {images}")

    def load(_root: Path | None, _download: bool) -> Data:
        low, high = SEEN
        train, test = (torch.arange(count, device="cpu") % classes for count in (images, FOR_TEST))
        seen = low + (high - low) * _uniform("line", "train", classes, images)
        all_of_it = _uniform("line", "test", classes, FOR_TEST)
        return Data(
            train_images=_on_line(seen, train, classes),
            train_labels=train,
            test_images=_on_line(all_of_it, test, classes),
            test_labels=test,
            shape=(1, 1, 1),
            classes=classes,
        )

    return DataSet(load=load, features=1)


def _on_line(share: Tensor, labels: Tensor, classes: int) -> Tensor:
    """x = (k + 2 share)/(K + 1), `samples 1`."""
    return ((labels + 2 * share) / (classes + 1))[:, None]


def copies(features: int = 4, images: int = 100) -> DataSet:
    """Features that are copies of one number t, uniform in [0, 1]; the class is whether t > 1/2.

    The output depends on the sum of a unit's weights alone: [1, 0, 0, 0] and [1/4, 1/4, 1/4, 1/4] are one function.
    Raises `UsageError` for fewer than one feature or two images.
    """
    require(features >= 1, f"copies: features must be at least 1, not {features}")
    require(images >= 2, f"copies: images must be at least 2, not {images}")
    numbers = (images + FOR_TEST) * features
    require(numbers <= MOST, f"copies: at most {MOST:,} numbers in all images, not {numbers:,}")

    def load(_root: Path | None, _download: bool) -> Data:
        train, test = _uniform("copies", "train", images), _uniform("copies", "test", FOR_TEST)
        return Data(
            train_images=train[:, None].repeat(1, features),
            train_labels=(train > 0.5).long(),
            test_images=test[:, None].repeat(1, features),
            test_labels=(test > 0.5).long(),
            shape=(1, 1, features),
            classes=2,
        )

    return DataSet(load=load, features=features)


def _uniform(*key: int | str) -> Tensor:
    """U(0, 1), as many as the key's last number says."""
    return torch.rand(int(key[-1]), generator=generator(0, "data set", *key), dtype=torch.float32, device="cpu")
