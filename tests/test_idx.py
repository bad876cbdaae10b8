"""The IDX reader: what it reads is what was written, and every fault is told in one whole line."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from initbench.core.errors import WorkError
from initbench.datasets.idx import content_md5, read_idx

HEADER = struct.pack(">HBB3I", 0, 0x08, 3, 2, 3, 4)
VALUES = bytes(range(24))
LARGEST = 2**32 - 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_what_was_written_is_read_whatever_the_file_is_called(tmp_path, pack, name):
    path = tmp_path / name
    path.write_bytes(pack(HEADER + VALUES))
    np.testing.assert_array_equal(read_idx(path, 3), np.arange(24, dtype=np.uint8).reshape(2, 3, 4), strict=True)


def test_labels_have_one_dimension(tmp_path):
    (tmp_path / "labels").write_bytes(struct.pack(">HBBI3B", 0, 0x08, 1, 3, 7, 0, 9))
    assert read_idx(tmp_path / "labels", 1).tolist() == [7, 0, 9]


def test_the_content_hash_is_that_of_the_uncompressed_file(tmp_path):
    (tmp_path / "images.gz").write_bytes(gzip.compress(HEADER + VALUES))
    assert content_md5(read_idx(tmp_path / "images.gz", 3)) == hashlib.md5(HEADER + VALUES).hexdigest()


FAULTS = {
    "empty": (b"", "truncated: expected 4 more bytes of the header, found 0"),
    "magic cut": (HEADER[:3], "truncated: expected 4 more bytes of the header, found 3"),
    "sizes cut": (HEADER[:9], "truncated: expected 12 more bytes of the header, found 5"),
    "values cut": (HEADER + VALUES[:-1], "truncated: expected 24 bytes after the header, found 23"),
    "too long": (HEADER + VALUES + b"\0", "too long: expected 24 bytes after the header, found more"),
    "not IDX": (b"\x89PNG" + VALUES, "not an IDX file: it starts with the bytes 0x8950, not 0x0000"),
    "floats": (b"\0\0\x0d\3" + HEADER[4:], "its values are of IDX type 0x0d, not of 0x08, unsigned bytes"),
    "labels": (struct.pack(">HBBI", 0, 8, 1, 0), "its number of dimensions is 1, not 3"),
    "boast": (
        struct.pack(">HBB3I", 0, 8, 3, *[LARGEST] * 3) + VALUES,
        f"truncated: expected {LARGEST**3} bytes after the header, found 24",
    ),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_of_the_format(tmp_path, content, message, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(content))
    assert complaint(path) == f"{path}: {message}"


def test_faults_of_gzip(tmp_path):
    path = tmp_path / "images.gz"
    whole = gzip.compress(HEADER + VALUES)
    path.write_bytes(whole[:-9])
    assert complaint(path) == f"{path}: truncated: the gzip data stop before their end mark"
    path.write_bytes(whole + b"more")
    assert complaint(path) == f"{path}: corrupt gzip data: Not a gzipped file (b'mo')"
    path.write_bytes(whole[:-8] + b"\0\0\0\0" + whole[-4:])
    assert complaint(path).startswith(f"{path}: corrupt gzip data: CRC check failed 0x")


def test_no_flipped_bit_and_no_cut_of_a_gzipped_file_gives_other_values(tmp_path):
    path = tmp_path / "images.gz"
    whole = gzip.compress(HEADER + VALUES)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with contextlib.suppress(WorkError):
            assert read_idx(path, 3).tobytes() == VALUES  # the time in gzip's header, say, may be any
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert complaint(path).startswith(f"{path}: truncated: ")


def test_files_that_cannot_be_read(tmp_path):
    assert complaint(tmp_path / "gone") == f"{tmp_path / 'gone'}: cannot be read: No such file or directory"
    assert complaint(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_header_that_claims_terabytes_allocates_next_to_nothing(tmp_path):
    path = tmp_path / "images"
    tracemalloc.start()
    for pack in (bytes, gzip.compress):
        path.write_bytes(pack(struct.pack(">HBB3I", 0, 8, 3, 60_000, 10_000, 10_000)))
        complaint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # a few read buffers, for 6 TB


def complaint(path: Path) -> str:
    with pytest.raises(WorkError) as caught:
        read_idx(path, 3)
    return str(caught.value)
