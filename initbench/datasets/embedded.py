"""Data sets that come with a library: no files, no network."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch

from initbench.datasets.record import Data, DataSet

DIGITS_FOR_TEST = 360
INK = 16
"""The largest pixel: each counts the black ones in a 4 x 4 block of the scan."""


def digits() -> DataSet:
    """scikit-learn's 1,797 images of 8 x 8: the first 1,437 train and the last 360 test, in the file's own order."""
    return DataSet(load=_load_digits, features=64)


def _load_digits(_root: Path | None, _download: bool) -> Data:
    # the file that sklearn.datasets.load_digits reads: to import that takes longer than to import torch
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = torch.from_numpy(np.loadtxt(str(file), np.float32, delimiter=","))
    images, labels = rows[:, :-1] / INK, rows[:, -1].to(torch.int64)
    return Data(
        train_images=images[:-DIGITS_FOR_TEST],
        train_labels=labels[:-DIGITS_FOR_TEST],
        test_images=images[-DIGITS_FOR_TEST:],
        test_labels=labels[-DIGITS_FOR_TEST:],
        shape=(1, 8, 8),
        classes=10,
    )
