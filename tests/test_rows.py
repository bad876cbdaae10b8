"""Rows become the very file that pandas makes of them."""

import math

import pandas as pd
import pytest

from initbench.grid.rows import parquet_of

RUNS = [
    {"training_id": "a", "diverged_at": None, "stopped_at": 7, "note": "", "val_loss": math.nan, "stack_size": 2},
    {"training_id": "b", "diverged_at": None, "stopped_at": None, "note": "", "val_loss": 0.1, "stack_size": 2},
]
LAYERS = [
    {"training_id": "a", "step": 1, "layer": 1, "z_mean": 0.5, "grad": 1},
    {"training_id": "a", "step": 1, "layer": 2, "grad": 2.5},
]


def by_pandas(frame):
    return frame.to_parquet(index=False, write_page_checksum=True)


@pytest.mark.parametrize("rows", [LAYERS, LAYERS[::-1], [], 3000 * LAYERS], ids=["two", "turned", "none", "many"])
def test_the_file_is_that_of_pandas(rows):
    assert parquet_of(rows) == by_pandas(pd.DataFrame(rows))


def test_integers_may_be_missing_all_of_them_even():
    whole = ("diverged_at", "stopped_at")
    expected = pd.DataFrame(RUNS).astype(dict.fromkeys(whole, "Int64"))
    assert parquet_of(RUNS, whole) == by_pandas(expected)
    assert parquet_of(RUNS[:1], whole) == by_pandas(expected[:1])


def test_what_is_no_number_everywhere_stays_a_column_of_numbers():
    rows = [{"val_loss": math.nan}, {"val_loss": math.nan}]
    assert parquet_of(rows) == by_pandas(pd.DataFrame(rows))
