"""Tables that know their own content and name: any bit that changes is found, and any file in the place of another.

Just before the footer stands a digest (SHA-256) of all other bytes and of the file's name. Readers of Parquet find the
footer from the file's end, and the data by what the footer says: none looks there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from initbench.core.errors import DamagedError
from initbench.core.files import parquet, write_bytes

if TYPE_CHECKING:
    import pandas as pd

LENGTH = hashlib.sha256().digest_size
END = 8
"""Bytes after the footer: its length in 4, and Parquet's mark."""


def write_sealed(path: Path, table: pd.DataFrame | bytes) -> None:
    """A table, or its Parquet file, sealed; whole or absent. Raises `WorkError` where the disk refuses."""
    content = table if isinstance(table, bytes) else parquet(table)
    at = _footer(content)
    write_bytes(path, content[:at] + _digest(path.name, content[:at], content[at:]) + content[at:])


def read_sealed(path: Path) -> pd.DataFrame:
    """The table sealed under the name of `path`; raises `DamagedError` where it is not as it was written."""
    import pyarrow as pa  # here, so that a command's help need not wait for it
    import pyarrow.parquet as pq

    content = path.read_bytes()
    if not _is_sealed(content, path.name):
        raise DamagedError(f"{path} is not as it was written")
    # pandas would look for a data set of many files first; for a part, threads take longer than the reading
    return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False).to_pandas(use_threads=False)


def is_sealed(path: Path) -> bool:
    """Whether `path` is a file as `write_sealed` wrote it under this name."""
    return path.is_file() and _is_sealed(path.read_bytes(), path.name)


def _is_sealed(content: bytes, name: str) -> bool:
    at = _footer(content)
    return at > LENGTH and _digest(name, content[: at - LENGTH], content[at:]) == content[at - LENGTH : at]


def _footer(content: bytes) -> int:
    """Where the footer begins, by what the file's end says of its length."""
    return len(content) - END - int.from_bytes(content[-END:-4], "little")


def _digest(*parts: str | bytes) -> bytes:
    told = hashlib.sha256()
    for part in parts:
        told.update(part.encode() if isinstance(part, str) else part)
    return told.digest()
