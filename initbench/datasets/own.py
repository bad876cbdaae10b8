"""The user's own data: arrays, torch data sets, an .npz file or folders of images, checked and made a `Data`."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from initbench.core.errors import InitbenchError, UsageError, require
from initbench.datasets.fitness import require_finite, require_fit, require_memory, require_none
from initbench.datasets.record import Data, DataSet

if TYPE_CHECKING:
    from PIL import Image

NAMES = ("x_train", "y_train", "x_test", "y_test")
"""The arrays of an .npz file, and the order of those that a function returns."""
WHITE, WHITE_16 = 255, 65_535
SPLITS = ("train", "test")
FEW_DIGITS, CONSTANT = 1e-2, 1e-13
"""What rounding to float32 may be of a feature's deviation; a deviation that is float64's rounding of a constant."""
LARGEST = 4096
"""Pixels of a picture, a side."""
COPIES = 3
"""Of the bytes in a file: themselves, the numbers in float32, and the prepared ones."""
GRAY, COLOUR = "L", "RGB"


def of_data(what: str, data: Data) -> DataSet:
    """What is in memory already; `what` stands before what is wrong with it."""
    return checked(what, DataSet(load=lambda _root, _download: data, features=data.features))


def checked(what: str, dataset: DataSet) -> DataSet:
    """`dataset`, whose data is looked at (`fitness`) whenever it is loaded."""
    return replace(dataset, load=lambda root, download: require_fit(what, dataset.load(root, download)))


def npz(path: str) -> DataSet:
    """The arrays `NAMES` in an .npz file: images ``samples ...`` and labels from 0. Raises `UsageError` for others."""
    load = lambda: arrays(path, *_read_npz(Path(path)))  # noqa: E731
    return checked(path, DataSet(load=lambda _root, _download: load(), features=load().features))


def image_folder(path: str, size: int = 32, gray: bool = False) -> DataSet:
    """PATH/train/CLASS/* and PATH/test/CLASS/*, scaled to `size` by `size` pixels in [0, 1], channels first."""
    require(size >= 1, f"image_folder: size must be at least 1, not {size}")
    require(size <= LARGEST, f"image_folder: size must be at most {LARGEST:,}, not {size:,}")
    for part in SPLITS:
        require((Path(path) / part).is_dir(), f"image_folder: there is no folder {Path(path) / part}")
    load = partial(_read_folder, Path(path), size, gray)
    return checked(path, DataSet(load=lambda _root, _download: load(), features=size * size * (1 if gray else 3)))


def as_data(what: str, given: Any) -> Data:
    """Whatever a function may return, as a `Data`; raises `UsageError` for anything else."""
    if isinstance(given, Data):
        return given
    if isinstance(given, str | Path):
        return (image_folder(str(given)) if Path(given).is_dir() else npz(str(given))).load(None, False)
    parts = tuple(given) if isinstance(given, tuple | list) else ()
    if len(parts) == 2:
        parts = tuple(array for part in parts for array in _stacked(what, part))
    require(
        len(parts) == 4,
        f"{what} returned {type(given).__name__}; it returns {', '.join(NAMES)}, or two torch data sets, or a path",
    )
    return arrays(what, *parts)


def arrays(what: str, x_train: Any, y_train: Any, x_test: Any, y_test: Any) -> Data:
    """Images ``samples ...`` and labels ``samples``, checked: `what` stands before what is wrong with them.

    Whole numbers of 8 bits are pixels, divided by 255; others stay as they are. Classes are those of `y_train`.
    """
    given = [_numbers(what, name, x) for name, x in (("x_train", x_train), ("x_test", x_test))]
    kinds = [(x.dtype == np.uint8, x.dtype.kind == "f") for x in given]
    require(kinds[0] == kinds[1], f"{what}: x_train holds {given[0].dtype} and x_test {given[1].dtype}; give both in"
            " one type: uint8 are pixels, divided by 255")  # fmt: skip
    images = [_images(what, name, x) for name, x in zip(("x_train", "x_test"), given, strict=True)]
    labels = [_labels(what, name, y) for name, y in (("y_train", y_train), ("y_test", y_test))]
    for name, x, y in zip(SPLITS, images, labels, strict=True):
        require(len(x) == len(y), f"{what}: x_{name} has {len(x)} samples and y_{name} has {len(y)}")
    shapes = [tuple(x.shape[1:]) for x in images]
    require(shapes[0] == shapes[1], f"{what}: a sample of x_train has the shape {shapes[0]}, one of x_test {shapes[1]}")
    classes = int(labels[0].max()) + 1
    require(classes >= 2, f"{what}: y_train has one class alone; it takes two to tell apart")
    missing = next((k for k in range(min(classes, len(labels[0]) + 1)) if not bool((labels[0] == k).any())), None)
    require(missing is None, f"{what}: labels are 0 to K - 1, each of them in y_train; the largest is {classes - 1},"
            f" and {missing} is missing")  # fmt: skip
    require_none(f"{what}: y_test", f"labels above {classes - 1}, the largest of y_train", labels[1],
                 labels[1] >= classes)  # fmt: skip
    shape = (*[1] * (3 - len(shapes[0])), *shapes[0])
    return Data(images[0].flatten(1), labels[0], images[1].flatten(1), labels[1], shape=shape, classes=classes)


def _images(what: str, name: str, x: NDArray[Any]) -> Tensor:
    require(2 <= x.ndim <= 4, f"{what}: {name} should be samples features, samples height width, or samples channels"
            f" height width; its shape is {x.shape}")  # fmt: skip
    require(x.size > 0, f"{what}: {name} is empty")
    with np.errstate(over="ignore"):  # told below
        images = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    require_finite(what, name, images)
    few = _with_few_digits(x, images.numpy())
    require(not few, f"{what}: {few} of {images[0].numel()} features of {name} are so far from 0 that float32 keeps"
            " fewer than 2 digits of how they differ; take their mean off")  # fmt: skip
    return images / WHITE if x.dtype == np.uint8 else images


def _with_few_digits(x: NDArray[Any], kept: NDArray[np.float32]) -> int:
    """How many features float32 rounds by more than `FEW_DIGITS` of their standard deviation."""
    if np.can_cast(x.dtype, np.float32):
        return 0
    lost, spread = np.abs(x - kept).max(axis=0), x.std(axis=0, dtype=np.float64)
    differs = spread > CONSTANT * np.abs(x).max(axis=0)
    return int(((lost > FEW_DIGITS * spread) & differs).sum())


def _labels(what: str, name: str, given: Any) -> Tensor:
    y = _numbers(what, name, given)
    require(y.ndim == 1, f"{what}: {name} should have one label a sample; its shape is {y.shape}")
    labels = torch.from_numpy(np.ascontiguousarray(y, dtype=np.float64))
    for wrong, told in ((~labels.isfinite() | (labels != labels.round()), "not whole numbers"),
                        (labels < 0, "negative: they count from 0")):  # fmt: skip
        require_none(f"{what}: {name}", f"labels that are {told}", labels, wrong)
    require(y.size > 0, f"{what}: {name} is empty")
    return torch.from_numpy(np.ascontiguousarray(y, dtype=np.int64))


def _numbers(what: str, name: str, given: Any) -> NDArray[Any]:
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    hint = "; number the classes from 0, alike in training and test" if name.startswith("y_") else ""
    require(array.dtype.kind in "biuf", f"{what}: {name} holds {array.dtype}, not numbers{hint}")
    return array


def _stacked(what: str, part: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """A torch data set's samples and labels, pictures channels first."""
    require(hasattr(part, "__getitem__") and hasattr(part, "__len__"),
            f"{what} returned two of {type(part).__name__}, which are no torch data sets")  # fmt: skip
    pairs = [part[number] for number in range(len(part))]
    require(bool(pairs) and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs),
            f"{what}: a data set should have samples, each with a label")  # fmt: skip
    images, labels = zip(*pairs, strict=True)
    shapes = {np.shape(image) for image in images}
    require(len(shapes) == 1, f"{what}: samples have different shapes, {' and '.join(map(str, sorted(shapes)[:2]))}")
    stacked = np.stack([np.asarray(image) for image in images])
    of_pictures = stacked.ndim == 4 and hasattr(images[0], "convert")
    return np.moveaxis(stacked, -1, 1) if of_pictures else stacked, np.array([int(label) for label in labels])


def _read_npz(path: Path) -> list[NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as packed:  # says what is in it before anything is unpacked
            require_memory(str(path), COPIES * sum(member.file_size for member in packed.infolist()))
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in NAMES if name not in file]
            require(not missing, f"{path}: has no array {', '.join(missing)}; it has {', '.join(file)}")
            return [file[name] for name in NAMES]
    except InitbenchError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or 'is no .npz file'}") from None
    except (ValueError, AttributeError, TypeError, EOFError, MemoryError, OverflowError, NotImplementedError,
            RuntimeError, zlib.error, zipfile.BadZipFile):  # zipfile's and numpy's, of other content  # fmt: skip
        raise UsageError(f"{path}: is no .npz file of plain arrays") from None


def _read_folder(path: Path, size: int, gray: bool) -> Data:
    from torchvision.datasets import ImageFolder  # here: it takes a second that other data sets need not pay

    try:
        train, test = (ImageFolder(str(path / part)) for part in SPLITS)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: {str(error).partition(chr(10))[0]}") from None
    require(train.classes == test.classes, f"{path}: the folders of train ({', '.join(train.classes)}) are not those of"
            f" test ({', '.join(test.classes)})")  # fmt: skip
    count = sum(len(folder.samples) for folder in (train, test))
    require_memory(str(path), 4 * COPIES * count * size * size * (1 if gray else 3))
    parts = [part for folder in (train, test) for part in _read_images(folder.samples, size, GRAY if gray else COLOUR)]
    return arrays(str(path), *parts)


def _read_images(samples: list[tuple[str, int]], size: int, mode: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    from PIL import Image

    pictures = []
    for file, _ in samples:
        try:
            with (
                warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
                Image.open(file) as picture,
            ):
                pictures.append(_pixels(picture, size, mode))
        except UsageError as error:
            raise UsageError(f"{file}: {error}") from None
        except Exception as error:  # a damaged file makes Pillow raise whatever it stumbles upon
            raise UsageError(f"{file}: cannot be read as an image: {error}") from None
    images = np.stack(pictures)  # in [0, 1], as pictures of 8 and of 16 bits may stand beside each other
    images = images[:, None] if mode == GRAY else np.moveaxis(images, -1, 1)
    return images, np.array([label for _, label in samples])


def _pixels(picture: Image.Image, size: int, mode: str) -> NDArray[np.float32]:
    """A picture scaled in size, in [0, 1]; Pillow's own conversion of more than 8 bits a pixel cuts them off at 255."""
    from PIL import Image

    deep = picture.mode.startswith("I;16") or (picture.mode, picture.format) == ("I", "PNG")  # which has no more bits
    require(
        deep or picture.mode not in ("I", "F"),
        f"has pixels of 32 bits (mode {picture.mode}), and what is white is not told; save it with 8 or 16",
    )
    if deep:
        picture = Image.fromarray(np.asarray(picture).astype(np.float32))
    scaled = np.asarray((picture if deep else picture.convert(mode)).resize((size, size), Image.Resampling.BILINEAR))
    pixels = scaled.astype(np.float32) / np.float32(WHITE_16 if deep else WHITE)
    return np.stack([pixels] * len(COLOUR), axis=-1) if deep and mode == COLOUR else pixels
