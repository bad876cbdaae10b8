"""A results folder: files whole or absent, parts of one study alone, the manifest last."""

import json

import pandas as pd
import pytest

from initbench.analysis.results import load
from initbench.core.errors import UsageError, WorkError
from initbench.grid.store import Store, write_whole

STUDY = {"kind": "variance", "init": ["he"], "seeds": 2}
VERSIONS = {"initbench": "1"}
ONE, TWO = pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})


def test_parts_are_joined_in_order_and_then_gone(tmp_path):
    store = Store(tmp_path / "out", STUDY, VERSIONS)
    store.write_part("seed000010", {"layers": TWO})
    store.write_part("seed000009", {"layers": ONE})
    store.finish({"predictions": ONE}, {"device": "CPU"})
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "layers.parquet", "manifest.json", "predictions.parquet", "study.toml"]  # fmt: skip
    results = load(store.folder)
    assert list(results.layers.x) == [1, 2]
    assert results.study == STUDY
    assert results.manifest["device"] == "CPU"


def test_a_part_is_found_by_the_same_study_alone(tmp_path):
    Store(tmp_path, STUDY, VERSIONS).write_part("seed0", {"layers": ONE})
    assert Store(tmp_path, STUDY, VERSIONS).has("seed0")
    assert not Store(tmp_path, {**STUDY, "seeds": 3}, VERSIONS).has("seed0")
    assert not Store(tmp_path, STUDY, {"initbench": "2"}).has("seed0")


def test_a_part_without_its_mark_does_not_count(tmp_path):
    store = Store(tmp_path, STUDY, VERSIONS)
    store.write_part("seed0", {"layers": ONE})
    next(tmp_path.glob("parts/*.done")).unlink()  # as if the process had died between the tables and the mark
    assert not store.has("seed0")


def test_finished_results_of_another_study_are_replaced_only_at_the_end(tmp_path):
    first = Store(tmp_path, STUDY, VERSIONS)
    first.finish({"layers": ONE, "verdicts": ONE}, {})
    other = Store(tmp_path, {**STUDY, "seeds": 3}, VERSIONS)
    other.write_part("seed0", {"layers": TWO})
    assert first.finished
    assert list(load(tmp_path).layers.x) == [1]
    other.finish({}, {})
    assert other.finished
    assert not first.finished
    assert list(load(tmp_path).layers.x) == [2]
    with pytest.raises(UsageError, match="has no table 'verdicts'; it has: layers"):
        load(tmp_path).verdicts  # noqa: B018


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"key": 1}'])
def test_a_broken_manifest_is_not_a_finished_run(tmp_path, manifest):
    Store(tmp_path, STUDY, VERSIONS)
    (tmp_path / "manifest.json").write_text(manifest)
    assert not Store(tmp_path, STUDY, VERSIONS).finished


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(1))

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole(path, fail)
    assert [found.name for found in tmp_path.iterdir()] == ["kept.json"]
    assert path.read_text() == "1"


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    def full(self, path, index):
        raise OSError(28, "No space left on device")

    store = Store(tmp_path, STUDY, VERSIONS)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(WorkError, match=r"cannot write .*x\.parquet: No space left on device"):
        store.add("x", ONE)


def test_a_damaged_part_is_set_aside_and_made_anew(tmp_path):
    store = Store(tmp_path, STUDY, VERSIONS)
    store.write_part("seed0", {"layers": ONE})
    part = next(tmp_path.glob("parts/*.parquet"))
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(WorkError, match=r"was damaged and is set aside .*; run the same command again"):
        store.finish({}, {})
    assert not store.has("seed0")
    assert part.with_name(f"{part.name}.damaged").exists()
    store.write_part("seed0", {"layers": TWO})
    store.finish({}, {})
    assert list(load(tmp_path).layers.x) == [2]


def test_a_damaged_table_is_named(tmp_path):
    Store(tmp_path, STUDY, VERSIONS).finish({"layers": ONE}, {})
    (tmp_path / "layers.parquet").write_bytes(b"PAR1")
    with pytest.raises(WorkError, match=r"layers\.parquet cannot be read: "):
        load(tmp_path).layers  # noqa: B018


def test_a_folder_without_results(tmp_path):
    with pytest.raises(UsageError, match=r"holds no finished results: there is no manifest\.json"):
        load(tmp_path)
