"""One IDX file, the format of MNIST and its family (LeCun, http://yann.lecun.com/exdb/mnist).

Big-endian: two zero bytes, a type code, the number of dimensions, each dimension in four bytes, then the values.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from initbench.core.errors import WorkError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08
PIECE = 1 << 20
MOST = 1 << 32
"""Bytes of values: a few kilobytes of gzip can hold as many zeros."""


class _FormatError(ValueError):
    """What is wrong with the bytes, for `read_idx` to put the path before."""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The unsigned bytes of an IDX file that has `dimensions` dimensions, gzipped or not: the content tells.

    Raises `WorkError` with one line that names the file and what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            gzipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            return _parsed(gzip.GzipFile(fileobj=file) if gzipped else file, dimensions)
    except _FormatError as fault:
        raise WorkError(f"{path}: {fault}") from None
    except EOFError:
        raise WorkError(f"{path}: truncated: the gzip data stop before their end mark") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise WorkError(f"{path}: corrupt gzip data: {error}") from None
    except OSError as error:
        raise WorkError(f"{path}: cannot be read: {error.strerror}") from None


def content_md5(array: NDArray[np.uint8]) -> str:
    """The md5 of the uncompressed IDX file that holds `array`: the same however the file was compressed."""
    header = struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    digest = hashlib.md5(header, usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _parsed(stream: io.BufferedIOBase, dimensions: int) -> NDArray[np.uint8]:
    zeros, type_code, found_dimensions = struct.unpack(">HBB", _header(stream, 4))
    if zeros != 0:
        raise _FormatError(f"not an IDX file: it starts with the bytes {zeros:#06x}, not 0x0000")
    if type_code != UNSIGNED_BYTE:
        raise _FormatError(f"its values are of IDX type {type_code:#04x}, not of {UNSIGNED_BYTE:#04x}, unsigned bytes")
    if found_dimensions != dimensions:
        raise _FormatError(f"its number of dimensions is {found_dimensions}, not {dimensions}")
    shape = struct.unpack(f">{dimensions}I", _header(stream, 4 * dimensions))
    expected = math.prod(shape)
    # one byte more than is due: it tells a file that is too long, and makes gzip reach and check its CRC
    values = _at_most(stream, min(expected, MOST) + 1)
    if len(values) > MOST:
        raise _FormatError(f"too large: it holds more than {MOST:,} bytes")
    if len(values) < expected:
        raise _FormatError(f"truncated: expected {expected} bytes after the header, found {len(values)}")
    if len(values) > expected:
        raise _FormatError(f"too long: expected {expected} bytes after the header, found more")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _header(stream: io.BufferedIOBase, count: int) -> bytearray:
    found = _at_most(stream, count)
    if len(found) < count:
        raise _FormatError(f"truncated: expected {count} more bytes of the header, found {len(found)}")
    return found


def _at_most(stream: io.BufferedIOBase, count: int) -> bytearray:
    """The next `count` bytes, or all that there are. Piecewise: read(count) would allocate what a bad header claims."""
    found = bytearray()
    while piece := stream.read(min(PIECE, count - len(found))):
        found += piece
    return found
