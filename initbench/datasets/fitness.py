"""What data must be for a network to be trained on it, told before any is: how much is amiss, and where it begins."""

from __future__ import annotations

import logging
import os

from torch import Tensor

from initbench.core.errors import UsageError, require
from initbench.datasets.record import Data


def require_fit(what: str, data: Data) -> Data:
    """`data`, if it can be trained on; raises `UsageError`, with `what` before it, for the first thing that is amiss.

    Of features that are constant in training a note is logged: nothing is learned from them.
    """
    _require_sound(what, "train", data.train_images, data.train_labels, data.classes)
    _require_sound(what, "test", data.test_images, data.test_labels, data.classes)
    require(len(data.train_labels.unique()) > 1, f"{what}: y_train has one class alone; it takes two to tell apart")
    constant, features = int((data.train_images == data.train_images[0]).all(dim=0).sum()), data.train_images.shape[1]
    require(constant < features, f"{what}: all images of x_train are equal: nothing tells classes apart")
    if constant:
        logging.getLogger(__name__).warning("%s: %s of %s features are constant in x_train", what, constant, features)
    return data


def _require_sound(what: str, part: str, images: Tensor, labels: Tensor, classes: int) -> None:
    require(len(images) == len(labels), f"{what}: x_{part} has {len(images)} samples and y_{part} has {len(labels)}")
    require(images.numel() > 0, f"{what}: x_{part} is empty")
    require_finite(what, f"x_{part}", images)
    require_none(f"{what}: y_{part}", f"labels that are not from 0 to {classes - 1}", labels,
                 (labels < 0) | (labels >= classes))  # fmt: skip


def require_finite(what: str, name: str, images: Tensor) -> None:
    """Raises `UsageError` for numbers that are not finite."""
    require_none(f"{what}: {name}", "numbers that are not finite, or too large for float32", images, ~images.isfinite())


def require_none(what: str, of: str, values: Tensor, wrong: Tensor) -> None:
    """Raises `UsageError` if any of `values` is `wrong`: how many `of` what there are, and where the first is."""
    places = wrong.nonzero()
    if len(places):
        first = tuple(places[0].tolist())
        raise UsageError(f"{what} has {len(places):,} {of}; the first is {values[first].item():g} in sample {first[0]}")


def require_memory(what: str, needed: int) -> None:
    """Raises `UsageError` for more bytes than this machine has, before they are asked for."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    require(needed <= there, f"{what}: needs about {needed / 2**30:.3g} GiB; this machine has {there / 2**30:.3g}")
