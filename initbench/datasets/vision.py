"""Data sets in files: the user's own, or fetched through torchvision when the user asks for that.

File names, hashes, class names and mirrors are read from torchvision's classes, so they are written once, there.
The network is touched where `download` is true and files are missing, and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError, WorkError
from initbench.datasets.idx import content_md5, read_idx
from initbench.datasets.record import Data, DataSet

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

MNIST_SHAPE, CIFAR_SHAPE = (1, 28, 28), (3, 32, 32)
WHITE = 255

CONTENTS = {
    "6bbc9ace898e44ae57da46a324031adb": "MNIST/train-images-idx3-ubyte",
    "a25bea736e30d166cdddb491f175f624": "MNIST/train-labels-idx1-ubyte",
    "2646ac647ad5339dbf082846283269ea": "MNIST/t10k-images-idx3-ubyte",
    "27ae3e4e09519cfbb04c329615203637": "MNIST/t10k-labels-idx1-ubyte",
    "f4a8712d7a061bf5bd6d2ca38dc4d50a": "FashionMNIST/train-images-idx3-ubyte",
    "9018921c3c673c538a1fc5bad174d6f9": "FashionMNIST/train-labels-idx1-ubyte",
    "8181f5470baa50b63fa0f6fddb340f0a": "FashionMNIST/t10k-images-idx3-ubyte",
    "15d484375f8d13e6eb1aabb0c3f46965": "FashionMNIST/t10k-labels-idx1-ubyte",
}
"""md5 of an uncompressed file -> which it is.

torchvision knows the .gz alone, and a .gz can be packed anew: Debian's Fashion-MNIST lacks the name and time of the
published headers, so that its bytes differ and its content does not (a test rebuilds the published ones from it).
MNIST's are as several projects list them; a wrong one would match no file.
"""


def idx_files(name: str, torchvision_class: str) -> DataSet:
    """A data set of MNIST's family: IDX files of 28 x 28 images in ROOT/<torchvision's class>/raw or in ROOT itself."""
    return DataSet(partial(_load_idx_files, name, torchvision_class, ""), features=784, needs_root=True)


def emnist(split: str = "balanced") -> DataSet:
    """EMNIST, whose files are IDX files for each of six splits; raises `UsageError` for a split that it lacks.

    Images are as published: transposed, next to MNIST's.
    """
    from torchvision.datasets import EMNIST

    if split not in EMNIST.splits:
        raise UsageError(f"data set 'emnist': unknown split '{split}'{did_you_mean(split, EMNIST.splits)}")
    return DataSet(partial(_load_idx_files, f"emnist(split={split})", "EMNIST", split), features=784, needs_root=True)


def cifar(name: str, torchvision_class: str) -> DataSet:
    """CIFAR-10 or CIFAR-100, in torchvision's layout: 32 x 32 in three colours, channels first."""
    return DataSet(partial(_load_cifar, name, torchvision_class), features=3072, needs_root=True)


@dataclass(frozen=True)
class _Files:
    """The files of one data set: `stems`, each with one of `suffixes`, all in one of `folders`."""

    dataset: str
    folders: Sequence[Path]
    stems: Sequence[str]
    suffixes: Sequence[str] = ("",)

    def located(self, fetch: Callable[[], object] | None) -> list[Path]:
        """The path of each stem, in the first folder that has them all, after `fetch` if none does.

        Raises `UsageError` where files are missing, `WorkError` where `fetch` fails.
        """
        paths = self._complete()
        if not paths and fetch:
            _fetch(self.dataset, fetch)
            paths = self._complete()
        if not paths:
            raise UsageError(
                f"{self.dataset} is read from {', '.join(self.stems)}{' (or .gz)' if '.gz' in self.suffixes else ''}; "
                f"{', and '.join(map(self._lack, self.folders))}; "
                "--download fetches them, --data-root DIR tells where they are"
            )
        return paths

    def _complete(self) -> list[Path]:
        for folder in self.folders:
            paths = [path for stem in self.stems if (path := self._path(folder, stem))]
            if len(paths) == len(self.stems):
                return paths
        return []

    def _path(self, folder: Path, stem: str) -> Path | None:
        return next(filter(os.path.isfile, (folder / f"{stem}{suffix}" for suffix in self.suffixes)), None)

    def _lack(self, folder: Path) -> str:
        if not (os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)):
            return f"{folder} is not a folder that can be read"
        missing = [stem for stem in self.stems if not self._path(folder, stem)]
        return f"{folder} lacks {'them all' if len(missing) == len(self.stems) else ', '.join(missing)}"


def _fetch(dataset: str, fetch: Callable[[], object]) -> None:
    """Let torchvision download, with its progress on a terminal alone."""
    try:
        seen = sys.stderr and sys.stderr.isatty()  # a closed one is None
        with contextlib.nullcontext() if seen else contextlib.redirect_stderr(io.StringIO()):
            fetch()
    except Exception as error:  # torchvision names no error types: urllib's, zipfile's, tarfile's and its own get here
        raise WorkError(f"{dataset} could not be downloaded: {' '.join(str(error).split())}") from error


def _load_idx_files(dataset: str, torchvision_class: str, split: str, root: Path | None, download: bool) -> Data:
    published = _torchvision(torchvision_class)
    root = _given(dataset, root)
    stems = [file.removesuffix(".gz") for file, _ in published.resources]
    names = published.classes
    options = {}
    if split:
        stems = [f"emnist-{split}-{stem.replace('t10k', 'test')}" for stem in stems]
        names = published.classes_split_dict[split]
        options = {"split": split}
    # .gz first: its hash is known, and a download that was interrupted may leave half of an uncompressed file
    files = _Files(dataset, [root / torchvision_class / "raw", root], stems, suffixes=(".gz", ""))
    paths = files.located(partial(published, root, download=True, **options) if download else None)
    # EMNIST's letters count from 1, and torchvision names their 0 "N/A"
    accepted = range(names.count("N/A"), len(names))
    train = _images_and_labels(paths[0], paths[1], published, accepted)
    test = _images_and_labels(paths[2], paths[3], published, accepted)
    return Data(*train, *test, shape=MNIST_SHAPE, classes=len(accepted))


def _images_and_labels(
    images_path: Path, labels_path: Path, published: type[MNIST], accepted: range
) -> tuple[Tensor, Tensor]:
    """One pair of IDX files as `Data` holds them; raises `WorkError` where the two do not fit together."""
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    _check_identity(images_path, images, published)
    _check_identity(labels_path, labels, published)
    height, width = images.shape[1:]
    if (1, height, width) != MNIST_SHAPE:
        raise WorkError(f"{images_path}: its images are {height} x {width}, not 28 x 28")
    if not len(images) == len(labels) > 0:
        raise WorkError(f"{images_path} has {len(images)} images for the {len(labels)} labels of {labels_path}")
    wrong = np.flatnonzero((labels < accepted.start) | (labels >= accepted.stop))
    if len(wrong):
        label = f"label {labels[wrong[0]]} of image {wrong[0]}"
        raise WorkError(f"{labels_path}: {label} is not in {accepted[0]} to {accepted[-1]}")
    return _pixels(images), torch.from_numpy(labels).to(torch.int64) - accepted.start


def _check_identity(path: Path, content: NDArray[np.uint8], published: type[MNIST]) -> None:
    """Refuse a file that is known to be another, and a .gz that has neither the published bytes nor their content.

    The family shares its file names, so a wrong folder would pass for the right one. An uncompressed file that is not
    known passes: there is no published hash to hold it to.
    """
    known = {
        md5: f"{family}/{file.removesuffix('.gz')}"
        for family in ("MNIST", "FashionMNIST", "KMNIST")
        for file, md5 in _torchvision(family).resources
    }
    found = _md5(path)
    identity = known.get(found) or CONTENTS.get(content_md5(content))
    wanted = f"{published.__name__}/{path.name.removesuffix('.gz')}"
    if identity not in (None, wanted):
        raise UsageError(f"{path} is {identity}, not {wanted}")
    expected = dict(published.resources).get(path.name)  # None for an uncompressed file, and for all of EMNIST's
    if identity is None and expected:
        raise _not_published(path, expected, found)


def _load_cifar(dataset: str, torchvision_class: str, root: Path | None, download: bool) -> Data:
    published = _torchvision(torchvision_class)
    root = _given(dataset, root)
    expected = dict([*published.train_list, *published.test_list, (published.meta["filename"], published.meta["md5"])])
    files = _Files(dataset, [root / published.base_folder], list(expected))
    # torchvision would refuse a bad file as well, without saying which it is
    for path in files.located(partial(published, root, download=True) if download else None):
        if (found := _md5(path)) != expected[path.name]:
            raise _not_published(path, expected[path.name], found)
    train, test = published(root, train=True), published(root, train=False)
    return Data(
        train_images=_pixels(train.data.transpose(0, 3, 1, 2)),
        train_labels=torch.tensor(train.targets),
        test_images=_pixels(test.data.transpose(0, 3, 1, 2)),
        test_labels=torch.tensor(test.targets),
        shape=CIFAR_SHAPE,
        classes=len(train.classes),
    )


def _torchvision(class_name: str) -> Any:
    from torchvision import datasets  # here: it takes a second that other data sets need not pay

    return getattr(datasets, class_name)


def _given(dataset: str, root: Path | None) -> Path:
    if root is None:
        raise UsageError(f"{dataset} is read from files: give --data-root DIR (or --download with it)")
    return root


def _pixels(images: NDArray[np.uint8]) -> Tensor:
    """Bytes of shape ``samples ...`` as float32 in [0, 1] of shape ``samples features``."""
    return torch.from_numpy(images).flatten(1).to(torch.float32).div_(WHITE)


def _md5(path: Path) -> str:
    from torchvision.datasets.utils import calculate_md5

    try:
        return calculate_md5(path)
    except OSError as error:
        raise WorkError(f"{path}: cannot be read: {error.strerror}") from None


def _not_published(path: Path, expected: str, found: str) -> WorkError:
    return WorkError(
        f"{path} is not the published file: expected md5 {expected}, found {found}; delete it and --download another"
    )
