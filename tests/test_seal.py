"""A sealed table: anyone reads it as Parquet, and no bit of it, nor its name, changes unseen."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from initbench.core.errors import DamagedError
from initbench.core.seal import is_sealed, read_sealed, write_sealed

FRAME = pd.DataFrame({"x": np.arange(6.0), "id": list("abcdef"), "at": pd.array([1, None, 3, 4, 5, 6], dtype="Int64")})


@pytest.fixture
def path(tmp_path):
    write_sealed(tmp_path / "a.parquet", FRAME)
    return tmp_path / "a.parquet"


def test_any_reader_of_parquet_reads_it(path):
    pd.testing.assert_frame_equal(read_sealed(path), FRAME)
    pd.testing.assert_frame_equal(pd.read_parquet(path, page_checksum_verification=True), FRAME)
    file = pq.ParquetFile(path)
    assert file.metadata.num_rows == len(FRAME)
    assert file.read_row_group(0, columns=["x"]).column("x").to_pylist() == FRAME.x.tolist()


def test_every_flipped_bit_is_seen(path):
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        assert not is_sealed(path), at
    path.write_bytes(content)
    assert is_sealed(path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 40, -1])
def test_a_part_of_a_file_is_not_the_file(path, length):
    path.write_bytes(path.read_bytes()[:length])
    assert not is_sealed(path)
    with pytest.raises(DamagedError, match=r"a\.parquet is not as it was written"):
        read_sealed(path)


def test_a_file_in_the_place_of_another_is_seen(path):
    other = path.with_name("b.parquet")
    other.write_bytes(path.read_bytes())
    assert (is_sealed(path), is_sealed(other)) == (True, False)


def test_a_table_of_others_is_not_sealed(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    assert not is_sealed(tmp_path / "a.parquet")
    assert not is_sealed(tmp_path / "none.parquet")
