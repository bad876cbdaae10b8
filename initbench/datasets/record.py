"""What a data set is: a way to load it; and what loading gives: two sets of images with their labels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Data:
    """Images and labels in memory.

    Images are float32 of shape ``samples features``, in the data set's own scale divided so that pixels lie in
    [0, 1]; labels are int64 of shape ``samples``, from 0 to ``classes - 1``.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    shape: tuple[int, ...]
    """Of one image before it was flattened: ``channels height width``."""
    classes: int

    @property
    def features(self) -> int:
        """Numbers in one flattened image."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What its images take in memory."""
        return sum(images.numel() * images.element_size() for images in (self.train_images, self.test_images))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all images and labels: the same name does not mean the same content."""
        return fingerprint(self.train_images, self.train_labels, self.test_images, self.test_labels)


@dataclass(frozen=True)
class DataSet:
    """A data set by name, before anything was read.

    ``load(root, download)`` reads it from the folder `root` (None: the user named none) and may use the network only
    if `download`. It raises `UsageError` where `root` is the wrong place and `WorkError` where a file there is bad.
    """

    load: Callable[[Path | None, bool], Data]
    features: int
    """Numbers in one image: known without loading, so that a plan can be made where the files are not."""
    spec: str = ""
    needs_root: bool = False
    """Whether `load` reads files of the user's, so that a command must be told where they are."""


def fingerprint(*tensors: Tensor) -> str:
    """A hash of the tensors' shapes and content."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
