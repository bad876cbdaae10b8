"""Parts joined a span of cells at once: the same tables as if all were in memory, and far less memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import initbench as ib
from initbench.core.errors import WorkError
from initbench.core.files import write_frames, write_table
from initbench.engine.training.trainer import METRICS, Outcome
from initbench.grid import joining, store
from initbench.grid.joining import joined
from initbench.grid.stacks import ENGINES, Engine
from initbench.grid.training import prepare, run_training

OF_ALL_KINDS = {
    "compare": {"init": ["he", "mup"], "optimizer": ["adam", "sgd"], "momentum": [0.0, 0.9], "depth": [3, 2],
                "residual": [False, 2, True]},
    "fix": {"steps": 4, "width": 8, "record_every": 2},
    "exclude": [{"init": "mup", "residual": True}],
}  # fmt: skip
"""Duplicates (adam reads no momentum), impossible cells (branches of two layers of depth 2), curves."""


def in_spans_of(monkeypatch, rows):
    for module in (store, joining):
        monkeypatch.setattr(module, "ROWS", rows)


def without_time(table):
    return table.drop(columns=[name for name in table if name.endswith("seconds")])


def tables(folder):
    return {path.name: without_time(pd.read_parquet(path)) for path in sorted(folder.glob("*.parquet"))}


@pytest.fixture
def failing(monkeypatch):
    """Networks of a learning rate above 1 come to no end."""
    real = ENGINES["stacked"].train

    def train(cells, *rest):
        if any(cell.lr > 1 for cell in cells):
            raise RuntimeError("no end")
        return real(cells, *rest)

    monkeypatch.setitem(ENGINES, "stacked", Engine(train))


@pytest.mark.parametrize("rows", [16, 50])
def test_a_table_is_the_same_in_spans_and_as_a_whole(tmp_path, monkeypatch, rows):
    ib.run(ib.Study(**OF_ALL_KINDS), tmp_path / "whole")
    in_spans_of(monkeypatch, rows)
    ib.run(ib.Study(**OF_ALL_KINDS), tmp_path / "spans")
    whole, spans = tables(tmp_path / "whole"), tables(tmp_path / "spans")
    assert whole["runs.parquet"].status.value_counts().min() > 0
    assert set(whole["runs.parquet"].status) == {"finished", "impossible"}
    assert whole.keys() == spans.keys() == {"runs.parquet", "curves.parquet", "layer_curves.parquet"}
    for name in whole:
        pd.testing.assert_frame_equal(whole[name], spans[name], check_exact=True)
        schemas = [pq.read_schema(tmp_path / folder / name) for folder in ("whole", "spans")]
        assert schemas[0].equals(schemas[1], check_metadata=True)


@pytest.mark.parametrize("without", [{"engine": "reference"}, {"lr": 1e30}])
def test_curves_have_the_same_columns_where_nothing_was_recorded(tmp_path, without):
    """The reference measures no layers, and what diverges at once has no records."""
    fix = {"steps": 4, "width": 8, "record_every": 2}
    lost = {key: without[key] for key in without if key == "lr"}
    recorded = ib.run(ib.Study(fix=fix), tmp_path / "recorded")
    nothing = ib.run(ib.Study(fix=fix | lost), tmp_path / "nothing", engine=without.get("engine", "stacked"))
    assert len(recorded.layer_curves) > 0
    assert len(nothing.layer_curves) == 0
    for name in ("curves", "layer_curves"):
        empty, full = nothing.table(name), recorded.table(name)
        pd.testing.assert_series_equal(empty.dtypes, full.dtypes)


def test_what_failed_has_the_same_columns_in_every_span(tmp_path, monkeypatch, failing):
    study = ib.Study(compare={"lr": [0.1, 2.0, 0.2, 3.0]}, fix={"steps": 2, "width": 8}, seeds=2)
    ib.run(study, tmp_path / "whole")
    in_spans_of(monkeypatch, 2)  # a span of failures alone
    runs = ib.run(study, tmp_path / "spans").runs
    assert runs.status.tolist() == (["finished"] * 2 + ["failed"] * 2) * 2
    assert runs.note[runs.status == "failed"].str.contains("no end").all()
    whole, spans = tables(tmp_path / "whole"), tables(tmp_path / "spans")
    pd.testing.assert_frame_equal(whole["runs.parquet"], spans["runs.parquet"], check_exact=True)


def test_a_small_table_is_one_row_group_and_a_large_one_several(tmp_path, monkeypatch):
    study = ib.Study(compare={"lr": [0.1, 0.2]}, fix={"steps": 2, "width": 8}, seeds=3)
    ib.run(study, tmp_path / "small")
    in_spans_of(monkeypatch, 4)
    ib.run(study, tmp_path / "large")
    assert pq.ParquetFile(tmp_path / "small" / "runs.parquet").num_row_groups == 1
    assert pq.ParquetFile(tmp_path / "large" / "runs.parquet").num_row_groups == 2


def test_one_frame_is_written_byte_for_byte_as_pandas_does(tmp_path):
    frame = pd.DataFrame({"a": ["x", None, "y"], "b": [0.1, np.nan, 3], "c": [1, 2, 3],
                          "d": pd.array([1, None, 2], "Int64"), "e": [True, False, True]})  # fmt: skip
    write_frames(tmp_path / "frames", iter([frame]))
    write_table(tmp_path / "table", frame)
    assert (tmp_path / "frames").read_bytes() == (tmp_path / "table").read_bytes()


def test_a_folder_may_have_a_colon_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_frames(Path("net.py:net.parquet"), [pd.DataFrame({"n": [1]}), pd.DataFrame({"n": [2]})])
    assert list(pd.read_parquet(tmp_path / "net.py:net.parquet")["n"]) == [1, 2]


def test_a_lost_part_is_told_before_anything_is_joined(tmp_path):
    job = prepare(ib.Study(compare={"lr": [0.1, 0.2]}, fix={"steps": 2, "width": 8}))
    kept = run_training(job, tmp_path)
    for path in (tmp_path / "parts").iterdir():
        path.unlink()
    message = "2 trainings were lost on the way; run the same command again"
    with pytest.raises(WorkError, match=message), joined(job, kept, {}):
        pytest.fail("there is nothing to join")


def test_memory_is_that_of_a_span(tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "stacked", Engine(
        lambda stack, *_: [Outcome(metrics=dict.fromkeys(METRICS, 0.5)) for _ in stack]))  # fmt: skip
    job = prepare(ib.Study(compare={"lr": [1 / (1 + n) for n in range(1500)]}, fix={"steps": 2, "width": 8}))
    kept = run_training(job, tmp_path)

    def peak():
        tracemalloc.start()
        with joined(job, kept, {}) as found:
            assert sum(map(len, found["runs"])) == 1500
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak()  # what is made once a process
    whole = peak()
    in_spans_of(monkeypatch, 100)
    assert peak() < whole / 3
