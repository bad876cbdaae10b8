"""Rows as a Parquet file: byte for byte what pandas makes of them, without its detour through frames.

A part is small and there are many: for a few rows the frame takes ten times as long as the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Rows = Sequence[Mapping[str, Any]]

EXAMPLES: dict[str, Any] = {"str": "", "int64": 0, "float64": 0.0, "Int64": 0}


def parquet_of(rows: Rows, integers: Sequence[str] = ()) -> bytes:
    """The file with a row each and the columns of all, with checksums of its pages.

    What a row lacks, None and NaN are missing; the columns `integers` are integers even where they are.
    """
    if not rows:
        return _no_rows()
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [[row.get(name) for row in rows] for name in names]
    kinds = ["Int64" if name in integers else _kind(column) for name, column in zip(names, columns, strict=True)]
    schema = _schema(tuple(names), tuple(kinds))
    arrays = [pa.array(column, field.type, from_pandas=True) for column, field in zip(columns, schema, strict=True)]
    return _written(pa.Table.from_arrays(arrays, schema=schema))


@cache
def _no_rows() -> bytes:
    """Most trainings record no curves."""
    return _written(_schema((), ()).empty_table())


def _written(table: pa.Table) -> bytes:
    file = pa.BufferOutputStream()
    pq.write_table(table, file, write_page_checksum=True)
    return bytes(file.getvalue())


def _kind(column: Sequence[Any]) -> str:
    """pandas' name for the type of these values."""
    types = set(map(type, column))
    return "str" if types == {str} else "int64" if types == {int} else "float64"


@lru_cache
def _schema(names: tuple[str, ...], kinds: tuple[str, ...]) -> pa.Schema:
    """The types, and what pandas notes beside them to find its own types again."""
    columns = {name: pd.Series([EXAMPLES[kind]], dtype=kind) for name, kind in zip(names, kinds, strict=True)}
    return pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False).schema
