"""Data that cannot be trained on: told before any training, with the data's name, how much is amiss, and where."""

import contextlib
import gzip
import io
import logging
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from plugin_catalogues import lent_catalogues, program

import initbench as ib
from initbench.core.errors import UsageError, WorkError
from initbench.datasets import DATASETS, Data, DataSet, idx
from initbench.datasets.idx import read_idx

X, Y = np.linspace(0, 1, 60).reshape(20, 3), np.arange(20) % 4
PARTS = {"x_train": X[:12], "y_train": Y[:12], "x_test": X[12:], "y_test": Y[12:]}
SPEC = "npz(path='my.npz')"


@pytest.fixture(autouse=True)
def _lent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with lent_catalogues():
        yield


def with_one(array, place, value):
    changed = np.array(array, dtype=float)
    changed[place] = value
    return changed


@pytest.mark.parametrize(("parts", "message"), [
    ({"x_train": with_one(X[:12], (7, 1), np.nan)},
     "x_train has 1 numbers that are not finite, or too large for float32; the first is nan in sample 7"),
    ({"x_test": with_one(X[12:], 3, -np.inf)},
     "x_test has 3 numbers that are not finite, or too large for float32; the first is -inf in sample 3"),
    ({"y_test": with_one(Y[12:], 5, 9)},
     "y_test has 1 labels above 3, the largest of y_train; the first is 9 in sample 5"),
    ({"y_test": with_one(Y[12:], 5, -2)},
     "y_test has 1 labels that are negative: they count from 0; the first is -2 in sample 5"),
    ({"y_train": Y[:12] * 0}, "y_train has one class alone; it takes two to tell apart"),
    ({"x_train": X[:12] * 0}, "all images of x_train are equal: nothing tells classes apart"),
    ({"x_train": X[:0], "y_train": Y[:0]}, "x_train is empty"),
    ({"x_train": (255 * X[:12]).astype(np.uint8)},
     "x_train holds uint8 and x_test float64; give both in one type: uint8 are pixels, divided by 255"),
    ({"x_test": (9 * X[12:]).astype(np.int32)},
     "x_train holds float64 and x_test int32; give both in one type: uint8 are pixels, divided by 255"),
])  # fmt: skip
@pytest.mark.parametrize("command", [("train-grid", "--dataset"), ("variance", "--input")])
def test_unfit_data_is_told_before_the_work(command, parts, message, tmp_path):
    np.savez("my.npz", **PARTS | parts)
    done = program(*command, SPEC, "--no-figures")
    place = "fix.dataset: " if command[0] == "train-grid" and "equal" not in message else ""
    assert (done.stderr, done.stdout, done.exit_code) == (f"Error: {place}my.npz: {message}\n", "", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["my.npz"]


def test_data_of_a_full_factory_is_looked_at_too():
    images = torch.eye(4, 3)
    images[2, 1] = torch.nan
    ib.dataset(name="mine")(
        lambda: DataSet(lambda *_: Data(images, torch.arange(4), images, torch.arange(4), (1, 1, 3), 4), features=3)
    )
    with pytest.raises(UsageError, match=r"x_train has 1 numbers that are not finite.* the first is nan in sample 2"):
        DATASETS.make("mine").load(None, False)


def test_constant_features_are_a_note(caplog):
    np.savez("my.npz", **PARTS | {"x_train": with_one(X[:12], (slice(None), 1), 0.5)})
    with caplog.at_level(logging.WARNING):
        data = DATASETS.make(SPEC).load(None, False)
    assert caplog.messages == ["my.npz: 1 of 3 features are constant in x_train"]
    assert data.features == 3


@pytest.mark.parametrize(("offset", "told"), [(1e3, False), (1e5, True)])
def test_digits_that_float32_does_not_keep_are_told(offset, told):
    shifted = PARTS["x_test"] + [0, offset, 0]
    lost = np.abs(shifted - shifted.astype(np.float32))[:, 1].max()
    assert (lost > PARTS["x_test"][:, 1].std() / 100) == told
    np.savez("my.npz", **PARTS | {"x_test": shifted})
    message = "my.npz: 1 of 3 features of x_test are so far from 0 that float32 keeps fewer than 2 digits of how"
    with pytest.raises(UsageError, match=message) if told else contextlib.nullcontext():
        DATASETS.make(SPEC)


def test_a_constant_but_for_its_rounding_is_one():
    """Of a column that was computed, as 1 from a mean of ones, float64 leaves noise in its last digits."""
    noisy = PARTS["x_train"].copy()
    noisy[:, 1] = 0.1 * (1 + np.finfo(float).eps * np.arange(len(noisy)))
    np.savez("my.npz", **PARTS | {"x_train": noisy})
    assert DATASETS.make(SPEC).features == 3


def test_a_note_leaves_standard_output_to_the_table():
    np.savez("my.npz", **PARTS | {"x_train": with_one(X[:12], (slice(None), 1), 0.5)})
    done = program("variance", "--input", SPEC, "--init=he", "--activation=relu", "--depth=2", "--width=3", "--seeds=1",
                   "--batch=4", "--no-figures", "--format=csv")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("init,activation")
    assert len(done.stdout.splitlines()) == 2


def bomb(gigabytes):
    """An archive that says of its arrays that they are so large."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in PARTS:
            packed.writestr(f"{name}.npy", bytes(1000))
    told = bytearray(written.getvalue())
    for at in [place for place in range(len(told)) if told[place : place + 4] == b"PK\x01\x02"]:
        told[at + 24 : at + 28] = struct.pack("<I", gigabytes * 2**30)  # the size when unpacked
    return bytes(told)


def test_an_archive_that_unpacks_beyond_memory_is_not_unpacked(tmp_path, monkeypatch):
    (tmp_path / "my.npz").write_bytes(bomb(3))
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**30 // 4096}
    monkeypatch.setattr("initbench.datasets.fitness.os.sysconf", pages.__getitem__)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(UsageError, match=r"my\.npz: needs about 36 GiB; this machine has 1"):
        DATASETS.make(SPEC)


@pytest.mark.parametrize("place", range(0, 900, 7))
def test_no_flipped_bit_of_an_archive_is_a_traceback(tmp_path, place):
    np.savez_compressed("my.npz", **PARTS)
    told = bytearray((tmp_path / "my.npz").read_bytes())
    told[place % len(told)] ^= 0x41
    (tmp_path / "my.npz").write_bytes(told)
    with contextlib.suppress(UsageError):  # and nothing else; a bit of a time of day harms nothing
        DATASETS.make(SPEC)


def picture(width, height):
    """A PNG that says that it is so large, and holds nothing."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("content", [picture(10**5, 10**5), picture(12_000, 9_000), picture(4, 4), b"", b"GIF89a"],
                         ids=["a hundred gigabytes", "a third of one", "cut", "empty", "a head"])  # fmt: skip
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content):
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(tmp_path / part / name / "good.png")
    (tmp_path / "train/a/bad.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"train/a/bad\.png: cannot be read as an image") as caught:
        DATASETS.make("image_folder(path='.', size=4)").load(None, False)
    assert "\n" not in str(caught.value)


def test_gzip_that_unpacks_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "MOST", 1 << 16)
    (tmp_path / "images.gz").write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 1000, 28, 28) + bytes(784_000)))
    with pytest.raises(WorkError, match=r"images\.gz: too large: it holds more than 65,536 bytes"):
        read_idx(tmp_path / "images.gz", 3)
