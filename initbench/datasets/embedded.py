"""Data sets that come with a library: no files, no network."""

from __future__ import annotations

from pathlib import Path

import torch

from initbench.datasets.record import Data, DataSet

DIGITS_FOR_TEST = 360
INK = 16
"""The largest pixel: each counts the black ones in a 4 x 4 block of the scan."""


def digits() -> DataSet:
    """scikit-learn's 1,797 images of 8 x 8: the first 1,437 train and the last 360 test, in the file's own order."""
    return DataSet(load=_load_digits, features=64)


def _load_digits(_root: Path | None, _download: bool) -> Data:
    from sklearn.datasets import load_digits  # here: it takes a second that other data sets need not pay

    bunch = load_digits()
    images = torch.from_numpy(bunch.data).to(torch.float32) / INK
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    return Data(
        train_images=images[:-DIGITS_FOR_TEST],
        train_labels=labels[:-DIGITS_FOR_TEST],
        test_images=images[-DIGITS_FOR_TEST:],
        test_labels=labels[-DIGITS_FOR_TEST:],
        shape=(1, 8, 8),
        classes=10,
    )
