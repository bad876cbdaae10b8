"""Files that are whole or absent, whatever ends the process."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from initbench.core.errors import DamagedError, UsageError, WorkError

if TYPE_CHECKING:
    import pandas as pd


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write with `write` under a temporary name beside `path`, flush to the disk, rename; returns `path`.

    Raises `WorkError` where the disk refuses.
    """
    temporary = path.with_name(f".{os.getpid()}.new")  # short: a name that fits the file system stays one that does
    with _refusal_told(f"cannot write {path}"):
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _flush_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def make_folder(path: Path) -> None:
    """Make `path`, with those that it is in, if need be; raises `WorkError` where the disk refuses."""
    with _refusal_told(f"cannot make the folder {path}"):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def _refusal_told(deed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkError(f"{deed}: {error.strerror or error}") from None


def _flush_folder(folder: Path) -> None:
    """The name too must outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parquet(frame: pd.DataFrame) -> bytes:
    """A Parquet file with checksums of its pages."""
    return frame.to_parquet(index=False, write_page_checksum=True)


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """A Parquet file with checksums, whole or absent; raises `WorkError` where the disk refuses."""
    write_bytes(path, parquet(frame))


def write_frames(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    """As `write_table`, of frames of equal columns one after the other: each is a row group, and forgotten then."""
    write_whole(path, lambda temporary: _parquet_of(frames, temporary))


def _parquet_of(frames: Iterable[pd.DataFrame], path: Path) -> None:
    import pyarrow as pa  # here, so that a command's help need not wait for it
    import pyarrow.parquet as pq

    tables = (pa.Table.from_pandas(frame, preserve_index=False) for frame in frames)
    table = next(tables)
    # opened here: Arrow takes a path with a colon for an address
    with path.open("wb") as file, pq.ParquetWriter(file, table.schema, write_page_checksum=True) as rows:
        rows.write_table(table)
        for table in tables:
            rows.write_table(table)


def write_bytes(path: Path, content: bytes) -> None:
    """A file, whole or absent; raises `WorkError` where the disk refuses."""
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, whole or absent; raises `WorkError` where the disk refuses."""
    write_bytes(path, text.encode())


def read_toml(path: Path) -> dict[str, Any]:
    """What a user's TOML file says; raises `UsageError` with its name where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a byte order mark
    except OSError as error:
        raise UsageError(f"cannot read the study {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # tomllib's own are among these
        raise UsageError(f"{path} is not TOML: {error}") from None


def read_table(path: Path) -> pd.DataFrame:
    """The table in a Parquet file; raises `DamagedError` where it is not whole, by a bit even."""
    import pandas as pd  # here, so that a command's help need not wait for it

    try:
        with path.open("rb") as file:
            return pd.read_parquet(file, page_checksum_verification=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged footer makes pyarrow and pandas raise whatever they stumble upon
        kind = WorkError if getattr(error, "errno", None) else DamagedError
        raise kind(f"{path} cannot be read: {str(error).partition(chr(10))[0]}") from None


def require_writable(folder: Path, *names: str) -> None:
    """Raises `UsageError` if `folder` cannot be written, or made, or one of these files in it; leaves nothing there.

    It is tried: rights alone do not tell of a disk that is mounted to be read, or of /proc.
    """
    try:
        whole = folder.absolute()
        nearest = next(there for there in (whole, *whole.parents) if there.exists())
        with TemporaryFile(dir=nearest):
            pass
        for part in whole.relative_to(nearest).parts:  # its name may be too long
            with suppress(FileNotFoundError):
                (nearest / part).lstat()
        for _ in filter(Path.is_dir, map(folder.joinpath, names)):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except (OSError, ValueError) as error:  # a name with a null byte in it
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write to {folder}: {why}; give another folder") from None
