"""Every table as a file that any program reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet as pq

from initbench.analysis.export.catalogue import Progress, Target, register
from initbench.analysis.export.parts import Export, Part
from initbench.core.files import make_folder, write_whole

Write = Callable[[Path, pd.DataFrame, dict[str, Any]], None]
"""Writes a table, and what the manifest tells of it, to a path."""


@register("csv", summary="Every table as text: UTF-8, commas, numbers with all their digits.", source="RFC 4180")
def csv() -> Target:
    return Target(lambda export, progress: _write_tables(export, progress, "csv", _write_csv))


@register("parquet", summary="Every table in plain Parquet types, as R, DuckDB and Polars read them.",
          source="https://parquet.apache.org")  # fmt: skip
def parquet() -> Target:
    return Target(lambda export, progress: _write_tables(export, progress, "parquet", _write_parquet))


def _write_tables(export: Export, progress: Progress, suffix: str, write: Write) -> list[str]:
    tables = [(part, name) for part in export.parts for name in part.tables]
    lines = []
    for done, (part, name) in enumerate(tables, 1):
        lines.append(f"Table:   {_write_table(export.into, part, name, suffix, write)}")
        progress(done, len(tables))
    return lines


def _write_table(into: Path, part: Part, name: str, suffix: str, write: Write) -> Path:
    path, rows = into / part.name / f"{name}.{suffix}", part.table(name)
    make_folder(path.parent)
    return write_whole(path, lambda temporary: write(temporary, rows, part.results.manifest))


def _write_csv(path: Path, rows: pd.DataFrame, _: dict[str, Any]) -> None:
    rows.to_csv(path, index=False)


def _write_parquet(path: Path, rows: pd.DataFrame, manifest: dict[str, Any]) -> None:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    fields = [pa.field(field.name, PLAIN.get(field.type, field.type)) for field in table.schema]
    plain = table.cast(pa.schema(fields)).replace_schema_metadata({"initbench": json.dumps(manifest)})
    with path.open("wb") as file:
        pq.write_table(plain, file, write_page_checksum=True)


PLAIN = {pa.large_string(): pa.string(), pa.null(): pa.string()}
"""Types that not every reader knows -> those that each does."""
