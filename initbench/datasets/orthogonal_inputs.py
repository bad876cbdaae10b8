"""Data whose patterns a deep linear network learns one by one, each as if the others were not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy  # and not scipy.linalg: few need it, and it takes a tenth of a second to load
import torch

from initbench.core.errors import require
from initbench.datasets.record import Data, DataSet

MOST = 4096
"""Classes: images have as many features."""
COPIES = 2
"""Training images of a class: whoever holds out one of each class keeps one of each."""


def orthogonal_patterns(classes: int = 4, strongest: float = 0.8, weakest: float = 0.2) -> DataSet:
    """Images that are their labels, 0 or 1 for each class, with less contrast.

    The labels are sums of orthogonal patterns (Walsh's). The constant one, their mean, is kept as it is; the others
    are multiplied by contrasts, a geometric series from `strongest` to `weakest`. So inputs and targets have the same
    modes; a network that starts as the identity has the mean right, its biases have nothing to learn, and the mode of
    contrast c is to be multiplied by 1/c. Classes take turns. Raises `UsageError` unless classes are a power of 2
    above 2, and 0 < weakest <= strongest <= 1.
    """
    power_of_two = classes > 2 and classes & (classes - 1) == 0
    require(power_of_two, f"orthogonal_patterns: classes must be a power of 2, at least 4, not {classes}")
    require(classes <= MOST, f"orthogonal_patterns: classes must be at most {MOST:,}, not {classes:,}")
    require(
        0 < weakest <= strongest <= 1,
        f"orthogonal_patterns: 0 < weakest <= strongest <= 1 is needed, not {weakest:g} and {strongest:g}",
    )

    def load(_root: Path | None, _download: bool) -> Data:
        patterns = scipy.linalg.hadamard(classes) / classes**0.5
        contrasts = np.concatenate([[1.0], np.geomspace(strongest, weakest, classes - 1)])
        images = torch.tensor(patterns * contrasts @ patterns.T, dtype=torch.float32, device="cpu")
        labels = torch.arange(classes)
        return Data(
            train_images=images.repeat(COPIES, 1),
            train_labels=labels.repeat(COPIES),
            test_images=images,
            test_labels=labels,
            shape=(1, 1, classes),
            classes=classes,
        )

    return DataSet(load=load, features=classes)
