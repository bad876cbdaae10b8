"""Data sets: what is loaded is what was published, what is wrong is told in one line, and nothing touches the network.

Fashion-MNIST is read where Debian's package dataset-fashion-mnist installs it, or from the folder of .gz files that
INITBENCH_FASHION_MNIST names.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import socket
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from sklearn.datasets import load_digits

from initbench.core.errors import InitbenchError, UsageError, WorkError
from initbench.datasets import DATASETS

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
PUBLISHED = dict(torchvision.datasets.FashionMNIST.resources)
PACKED_AT = {"train": 1504176606, "t10k": 1504176627}
"""When the published .gz files were packed, in seconds since 1970: what Debian's headers lack."""


@pytest.fixture(autouse=True)
def attempts(monkeypatch):
    """The attempts to reach the network, all of which fail; a test that expects some clears them."""
    made: list[str] = []

    def refuse(*arguments, **_options):
        made.append(repr(arguments))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield made
    assert made == []


@pytest.fixture(scope="session")
def fashion() -> Path:
    folder = Path(os.environ.get("INITBENCH_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
    if not folder.is_dir():
        missing = f"no Fashion-MNIST in {folder}; set INITBENCH_FASHION_MNIST or install dataset-fashion-mnist"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return folder


@pytest.fixture(scope="session")
def unpacked(fashion, tmp_path_factory) -> Path:
    """The real files uncompressed, in torchvision's layout."""
    root = tmp_path_factory.mktemp("unpacked")
    (root / "FashionMNIST/raw").mkdir(parents=True)
    for stem in STEMS:
        (root / "FashionMNIST/raw" / stem).write_bytes(gzip.decompress((fashion / f"{stem}.gz").read_bytes()))
    return root


@pytest.fixture(scope="session")
def published(fashion, tmp_path_factory) -> Path:
    """The .gz files as published, byte for byte: Debian's, with name and time put back into their headers."""
    folder = tmp_path_factory.mktemp("published")
    for stem in STEMS:
        packed = (fashion / f"{stem}.gz").read_bytes()
        if packed[3] == 0:  # the flags of gzip's header: no name in it
            time = struct.pack("<I", PACKED_AT[stem.split("-")[0]])
            packed = packed[:3] + b"\x08" + time + packed[8:10] + stem.encode() + b"\0" + packed[10:]
        assert hashlib.md5(packed).hexdigest() == PUBLISHED[f"{stem}.gz"]
        (folder / f"{stem}.gz").write_bytes(packed)
    return folder


def idx(values) -> bytes:
    values = np.asarray(values, dtype=np.uint8)
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_family(folder: Path, stems=STEMS, pack=bytes, suffix="", **changed) -> dict[str, np.ndarray]:
    """Five training and three test images of their own in `folder`; `changed` replaces some, by position in `stems`."""
    random = np.random.default_rng(0)
    content = [
        random.integers(0, 256, (5, 28, 28)),
        np.array([3, 1, 4, 1, 9]),
        random.integers(0, 256, (3, 28, 28)),
        np.array([2, 7, 1]),
    ]
    content = [changed.get(f"file{position}", values) for position, values in enumerate(content)]
    folder.mkdir(parents=True, exist_ok=True)
    for stem, values in zip(stems, content, strict=True):
        (folder / f"{stem}{suffix}").write_bytes(pack(idx(values)))
    return dict(zip(("train_images", "train_labels", "test_images", "test_labels"), content, strict=True))


def assert_holds(data, content, first_label=0) -> None:
    for part in ("train", "test"):
        pixels = content[f"{part}_images"].reshape(-1, 784).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(getattr(data, f"{part}_images").numpy(), pixels, strict=True)
        labels = content[f"{part}_labels"].astype(np.int64) - first_label
        np.testing.assert_array_equal(getattr(data, f"{part}_labels").numpy(), labels, strict=True)


def complaint(error: type[InitbenchError], spec: str, root: Path | None, download: bool = False) -> str:
    with pytest.raises(error) as caught:
        DATASETS.make(spec).load(root, download)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the catalogue


def test_every_data_set_says_what_it_is_and_how_large_an_image_is_without_reading_anything():
    sizes = {entry.name: DATASETS.make(entry.name).features for entry in DATASETS if entry.complete}
    family = dict.fromkeys(("mnist", "fashion_mnist", "kmnist", "emnist"), 784)
    assert {"digits": 64, **family, "cifar10": 3072, "cifar100": 3072}.items() <= sizes.items()
    assert all(entry.summary for entry in DATASETS)


def test_data_sets_in_files_need_a_root():
    needing = [entry.name for entry in DATASETS if entry.complete and DATASETS.make(entry.name).needs_root]
    assert sorted(needing) == ["cifar10", "cifar100", "emnist", "fashion_mnist", "kmnist", "mnist"]
    for name in needing:
        for download in (False, True):
            assert complaint(UsageError, name, None, download).endswith(
                " is read from files: give --data-root DIR (or --download with it)"
            )


# --- digits


def test_digits_are_scikit_learns_split_at_the_last_360():
    data = DATASETS.make("digits").load(None, False)
    images, labels = load_digits(return_X_y=True)
    np.testing.assert_array_equal(torch.cat([data.train_images, data.test_images]).numpy() * 16, images)
    np.testing.assert_array_equal(torch.cat([data.train_labels, data.test_labels]), labels)
    assert (len(data.train_labels), len(data.test_labels)) == (1437, 360)
    assert (data.shape, data.features, data.classes) == ((1, 8, 8), 64, 10)
    assert (data.train_images.dtype, data.train_labels.dtype) == (torch.float32, torch.int64)
    assert (data.train_images.min(), data.train_images.max()) == (0, 1)


# --- Fashion-MNIST as it is


def test_fashion_mnist_has_the_published_counts_mean_and_standard_deviation(fashion):
    data = DATASETS.make("fashion_mnist").load(fashion, False)
    assert data.train_labels.bincount().tolist() == [6000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
    assert (data.train_images.shape, data.test_images.shape) == ((60_000, 784), (10_000, 784))
    assert (data.shape, data.features, data.classes) == ((1, 28, 28), 784, 10)
    pixels = data.train_images.numpy()
    assert round(pixels.mean(dtype=np.float64), 4) == 0.2860
    assert round(pixels.std(dtype=np.float64), 4) == 0.3530


def test_torchvision_reads_the_same_from_its_own_layout(unpacked):
    data = DATASETS.make("fashion_mnist").load(unpacked, False)
    train, test = (torchvision.datasets.FashionMNIST(unpacked, train=train) for train in (True, False))
    content = {"train_images": train.data, "train_labels": train.targets}
    content |= {"test_images": test.data, "test_labels": test.targets}
    assert_holds(data, {name: values.numpy() for name, values in content.items()})


def test_the_published_archives_are_accepted_under_their_own_name_and_no_other(published):
    assert len(DATASETS.make("fashion_mnist").load(published, False).test_labels) == 10_000
    for name, torchvision_class in (("mnist", "MNIST"), ("kmnist", "KMNIST")):
        assert complaint(UsageError, name, published) == (
            f"{published}/train-images-idx3-ubyte.gz is FashionMNIST/train-images-idx3-ubyte, "
            f"not {torchvision_class}/train-images-idx3-ubyte"
        )


def test_fashion_mnist_is_not_taken_for_mnist_packed_anew_or_unpacked(fashion, unpacked):
    for folder, suffix in ((fashion, ".gz"), (unpacked / "FashionMNIST/raw", "")):
        assert complaint(UsageError, "mnist", folder) == (
            f"{folder}/train-images-idx3-ubyte{suffix} is FashionMNIST/train-images-idx3-ubyte, "
            "not MNIST/train-images-idx3-ubyte"
        )


def test_test_images_are_not_taken_for_training_images(fashion, tmp_path):
    for stem in STEMS:
        (tmp_path / f"{stem}.gz").symlink_to(fashion / f"{stem.replace('train', 't10k')}.gz")
    assert complaint(UsageError, "fashion_mnist", tmp_path) == (
        f"{tmp_path}/train-images-idx3-ubyte.gz is FashionMNIST/t10k-images-idx3-ubyte, "
        "not FashionMNIST/train-images-idx3-ubyte"
    )


@pytest.mark.parametrize("stem", STEMS)
def test_a_damaged_copy_is_refused(fashion, tmp_path, stem):
    for other in STEMS:
        (tmp_path / f"{other}.gz").symlink_to(fashion / f"{other}.gz")
    whole = (fashion / f"{stem}.gz").read_bytes()
    path = tmp_path / f"{stem}.gz"
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    expected = f"{path}: truncated: the gzip data stop before their end mark"
    assert complaint(WorkError, "fashion_mnist", tmp_path) == expected
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x10
    path.write_bytes(damaged)
    assert complaint(WorkError, "fashion_mnist", tmp_path).startswith(f"{path}: ")


# --- files of the family


@pytest.mark.parametrize("layout", ["FashionMNIST/raw", "."])
def test_uncompressed_files_are_found_in_both_layouts(tmp_path, layout):
    content = write_family(tmp_path / layout)
    assert_holds(DATASETS.make("fashion_mnist").load(tmp_path, False), content)


def test_torchvisions_layout_goes_first_and_folders_are_not_mixed(tmp_path):
    write_family(tmp_path, file1=np.zeros(5))
    content = write_family(tmp_path / "MNIST/raw")
    assert_holds(DATASETS.make("mnist").load(tmp_path, False), content)
    (tmp_path / "MNIST/raw" / STEMS[3]).unlink()
    assert DATASETS.make("mnist").load(tmp_path, False).train_labels.tolist() == [0] * 5


def test_emnist_archives_have_no_known_hash_and_are_read(tmp_path):
    stems = [f"emnist-balanced-{stem.replace('t10k', 'test')}" for stem in STEMS]
    content = write_family(tmp_path / "EMNIST/raw", stems, gzip.compress, ".gz")
    data = DATASETS.make("emnist").load(tmp_path, False)
    assert_holds(data, content)
    assert data.classes == 47


def test_emnist_letters_count_from_1_in_the_file_and_from_0_here(tmp_path):
    stems = [f"emnist-letters-{stem.replace('t10k', 'test')}" for stem in STEMS]
    content = write_family(tmp_path, stems, file1=np.array([1, 26, 3, 4, 5]))
    data = DATASETS.make("emnist(split=letters)").load(tmp_path, False)
    assert_holds(data, content, first_label=1)
    assert (data.classes, data.train_labels[:2].tolist()) == (26, [0, 25])
    write_family(tmp_path, stems, file3=np.array([1, 0, 2]))
    assert complaint(WorkError, "emnist(split=letters)", tmp_path) == (
        f"{tmp_path}/emnist-letters-test-labels-idx1-ubyte: label 0 of image 1 is not in 1 to 26"
    )


def test_emnist_has_six_splits():
    with pytest.raises(UsageError) as caught:
        DATASETS.make("emnist(split=letter)")
    assert str(caught.value) == "data set 'emnist': unknown split 'letter'; did you mean 'letters'?"


def test_an_archive_of_other_content_is_not_the_published_one(tmp_path):
    write_family(tmp_path, pack=gzip.compress, suffix=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    assert complaint(WorkError, "fashion_mnist", tmp_path) == (
        f"{path} is not the published file: expected md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d, "
        f"found {hashlib.md5(path.read_bytes()).hexdigest()}; delete it and --download another"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"file0": np.zeros((5, 32, 32))}, "{0}: its images are 32 x 32, not 28 x 28"),
        ({"file1": np.zeros(4)}, "{0} has 5 images for the 4 labels of {1}"),
        ({"file2": np.zeros((0, 28, 28)), "file3": np.zeros(0)}, "{2} has 0 images for the 0 labels of {3}"),
        ({"file1": np.array([0, 9, 10, 11, 0])}, "{1}: label 10 of image 2 is not in 0 to 9"),
        ({"file0": np.zeros(5)}, "{0}: its number of dimensions is 1, not 3"),
    ],
)
def test_files_that_do_not_fit(tmp_path, changed, message):
    write_family(tmp_path, **changed)
    paths = [tmp_path / stem for stem in STEMS]
    assert complaint(WorkError, "kmnist", tmp_path) == message.format(*paths)


def test_missing_files_and_folders_say_what_was_looked_for_and_where(tmp_path):
    start = (
        "mnist is read from train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        "t10k-labels-idx1-ubyte (or .gz); "
    )
    end = "; --download fetches them, --data-root DIR tells where they are"
    raw, gone = tmp_path / "MNIST/raw", tmp_path / "gone"
    assert complaint(UsageError, "mnist", gone) == (
        f"{start}{gone}/MNIST/raw is not a folder that can be read, and {gone} is not a folder that can be read{end}"
    )
    write_family(raw)
    (raw / STEMS[1]).unlink()
    (raw / STEMS[3]).unlink()
    assert complaint(UsageError, "mnist", tmp_path) == (
        f"{start}{raw} lacks train-labels-idx1-ubyte, t10k-labels-idx1-ubyte, and {tmp_path} lacks them all{end}"
    )


# --- CIFAR


def write_cifar(monkeypatch, root: Path, torchvision_class: type, label_key: str) -> np.ndarray:
    """Two training batches and a test batch of two images each, which torchvision is told to be the published ones."""
    folder = root / torchvision_class.base_folder
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    batches = {
        f"batch{number}": {"data": rows[2 * number : 2 * number + 2], label_key: [number, number + 1]}
        for number in range(3)
    }
    names = {torchvision_class.meta["key"]: [f"kind {number}" for number in range(4)]}
    hashes = {}
    for name, content in {**batches, "names": names}.items():
        (folder / name).write_bytes(pickle.dumps(content))
        hashes[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    files = [[name, hashes[name]] for name in batches]
    monkeypatch.setattr(torchvision_class, "train_list", files[:2])
    monkeypatch.setattr(torchvision_class, "test_list", files[2:])
    meta = {"filename": "names", "key": torchvision_class.meta["key"], "md5": hashes["names"]}
    monkeypatch.setattr(torchvision_class, "meta", meta)
    return rows


@pytest.mark.parametrize(("name", "label_key"), [("cifar10", "labels"), ("cifar100", "fine_labels")])
def test_cifar_keeps_the_order_of_the_files_channel_by_channel(monkeypatch, tmp_path, name, label_key):
    rows = write_cifar(monkeypatch, tmp_path, getattr(torchvision.datasets, name.upper()), label_key)
    data = DATASETS.make(name).load(tmp_path, False)
    pixels = rows.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.train_images.numpy(), pixels[:4], strict=True)
    np.testing.assert_array_equal(data.test_images.numpy(), pixels[4:], strict=True)
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([0, 1, 1, 2], [2, 3])
    assert data.train_labels.dtype == torch.int64
    assert (data.shape, data.features, data.classes) == ((3, 32, 32), 3072, 4)


@pytest.mark.parametrize("file", ["batch0", "batch2", "names"])
def test_a_damaged_cifar_file_is_named(monkeypatch, tmp_path, file):
    write_cifar(monkeypatch, tmp_path, torchvision.datasets.CIFAR10, "labels")
    path = tmp_path / "cifar-10-batches-py" / file
    expected = hashlib.md5(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"\0")
    assert complaint(WorkError, "cifar10", tmp_path) == (
        f"{path} is not the published file: expected md5 {expected}, "
        f"found {hashlib.md5(path.read_bytes()).hexdigest()}; delete it and --download another"
    )


def test_missing_cifar_files_are_listed(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python/train").touch()
    assert complaint(UsageError, "cifar100", tmp_path) == (
        f"cifar100 is read from train, test, meta; {tmp_path}/cifar-100-python lacks test, meta; "
        "--download fetches them, --data-root DIR tells where they are"
    )


# --- downloads


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100"])
def test_a_download_that_fails_is_told_in_one_line(tmp_path, attempts, capsys, name):
    message = complaint(WorkError, name, tmp_path, download=True)
    assert message.startswith(DATASETS.entry(name).name)
    assert " could not be downloaded: " in message
    assert "no network in this test" in message
    assert attempts
    attempts.clear()
    assert capsys.readouterr() == ("", "")


def test_what_is_there_is_not_downloaded(tmp_path):
    content = write_family(tmp_path)
    assert_holds(DATASETS.make("kmnist").load(tmp_path, True), content)


def test_what_torchvision_downloads_is_read_and_its_progress_kept_off_a_pipe(tmp_path, monkeypatch, capsys):
    content = {}

    def download(_url, download_root, **_options):
        sys.stderr.write("100%")
        content.update(write_family(Path(download_root)))

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", download)
    assert_holds(DATASETS.make("kmnist").load(tmp_path / "new", True), content)
    assert (tmp_path / "new/KMNIST/raw").is_dir()
    assert capsys.readouterr() == ("", "")
