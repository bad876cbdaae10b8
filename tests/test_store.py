"""A results folder: files whole or absent, parts of one study alone, nothing of anyone else's touched."""

import json
import os

import pytest
from stores import ONE, RESTS_ON, STUDY, TWO, finished, layers, opened

from initbench.analysis.results import load
from initbench.core.errors import UsageError, WorkError
from initbench.core.files import write_whole


def test_parts_are_joined_in_the_order_of_their_names(tmp_path):
    with opened(tmp_path / "out") as store:
        store.write_part("seed000010", {"layers": TWO})
        store.write_part("seed000009", {"layers": ONE})
        finished(store, ["seed000009", "seed000010"])
    results = load(store.folder)
    assert list(layers(store.folder)) == [1, 2]
    assert results.study == STUDY
    assert results.manifest["device"] == "CPU"
    assert store.finished


def test_a_part_is_found_by_the_same_study_versions_and_data_alone(tmp_path):
    opened(tmp_path).write_part("seed0", {"layers": ONE})
    assert opened(tmp_path).has("seed0")
    assert not opened(tmp_path, {**STUDY, "seeds": 3}, replace=True).has("seed0")
    assert not opened(tmp_path, rests_on={**RESTS_ON, "data": "b"}, replace=True).has("seed0")
    with pytest.raises(UsageError, match="holds another study's results"):
        opened(tmp_path, {**STUDY, "seeds": 3})


def test_results_of_another_kind_are_never_replaced(tmp_path):
    with opened(tmp_path, {"kind": "train"}) as store:
        store.begin({})
    with pytest.raises(UsageError, match="holds another study's results; give another folder with --out"):
        opened(tmp_path, replace=True)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    left = [tmp_path / ".123.new", tmp_path / "parts" / ".123.new"]
    for path in left:
        path.write_text("half")
    with opened(tmp_path):
        assert not any(path.exists() for path in left)


def test_a_part_that_lacks_a_table_does_not_count(tmp_path):
    store = opened(tmp_path, tables=("layers", "histograms"))
    store.write_part("seed0", {"layers": ONE})  # as if the process had died between the two
    assert not store.has("seed0")
    with pytest.raises(WorkError, match="the part seed0 is missing or damaged; run the same command again"):
        store.require(["seed0"])
    assert store.read_parts("layers").empty


def test_finished_results_of_another_study_are_refused_or_replaced_at_the_end(tmp_path):
    first = opened(tmp_path)
    first.write_part("seed0", {"layers": ONE})
    finished(first)
    other = {**STUDY, "seeds": 3}
    with pytest.raises(UsageError, match="holds another study's results; give another folder with --out"):
        opened(tmp_path, other)
    with pytest.raises(
        UsageError, match="holds this study's results with another engine, other data, plug-ins or package versions"
    ):
        opened(tmp_path, rests_on={})
    second = opened(tmp_path, other, replace=True)
    second.write_part("seed0", {"layers": TWO})
    assert first.finished
    assert list(layers(tmp_path)) == [1]
    finished(second)
    assert (first.finished, second.finished, second.replaced) == (False, True, True)
    assert list(layers(tmp_path)) == [2]
    (tmp_path / "verdicts.parquet").mkdir()  # a folder is none
    with pytest.raises(UsageError, match=r"has no table 'verdicts'; it has: layers$"):
        load(tmp_path).verdicts  # noqa: B018


def test_results_without_their_table_are_not_finished(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    finished(store)
    (tmp_path / "layers.parquet").unlink()
    assert not store.finished


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"key": 1}', '{"layout": 1, "key": "../../etc"}'])
def test_a_broken_manifest_is_something_else(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(UsageError, match="holds something else than results"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["cat.png", "layers.parquet", "parts/mine.parquet", "parts/a/b"])
def test_what_others_put_there_is_left_alone(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UsageError, match="holds something else than results; give another folder with --out"):
        opened(tmp_path)
    assert path.read_text() == "mine"


def test_tables_of_others_beside_ours_stay(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    finished(store)
    (tmp_path / "mine.parquet").write_text("mine")
    second = opened(tmp_path, {**STUDY, "seeds": 3}, replace=True)
    second.write_part("seed0", {"layers": TWO})
    finished(second)
    assert (tmp_path / "mine.parquet").read_text() == "mine"


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(1))

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(WorkError, match=r"cannot write .*kept\.json: No space left on device"):
        write_whole(path, fail)
    assert [found.name for found in tmp_path.iterdir()] == ["kept.json"]
    assert path.read_text() == "1"


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    store = opened(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkError, match=r"cannot write .*\.layers\.parquet: No space left on device"):
        store.write_part("seed0", {"layers": ONE})


def test_a_folder_without_results(tmp_path):
    with pytest.raises(UsageError, match=r"holds no results: there is no manifest\.json"):
        load(tmp_path)


def test_a_read_only_place_is_told(tmp_path):
    if os.access("/proc", os.W_OK) and not os.path.exists("/proc/version"):
        pytest.skip("no read-only place is known here")
    with pytest.raises(UsageError, match=r"cannot write to /proc/version/out: Not a directory"):
        opened(tmp_path.__class__("/proc/version/out"))


def test_results_that_were_replaced_half_are_not_taken_for_finished(tmp_path, monkeypatch):
    with opened(tmp_path) as store:
        store.write_part("seed0", {"layers": ONE})
        finished(store)
    other = {**STUDY, "seeds": 3}
    with opened(tmp_path, other, replace=True) as second:
        second.write_part("seed0", {"layers": TWO})
        monkeypatch.setattr("initbench.grid.store.write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finished(second)
        assert not second.finished
    monkeypatch.undo()
    with opened(tmp_path, other, replace=True) as second:
        finished(second)
    assert list(layers(tmp_path)) == [2]


def test_results_in_one_piece_go_on_after_a_kill_at_their_end(tmp_path, monkeypatch):
    """They have no parts to be known by."""
    study = {"kind": "jacobian", "init": ["he"]}

    def killed(_):
        raise KeyboardInterrupt

    with opened(tmp_path, study, tables=()) as store, monkeypatch.context() as patch:
        patch.setattr("initbench.grid.store.write_table", lambda path, frame: path.write_text("half"))
        patch.setattr("initbench.grid.store.manifest_text", killed)
        with pytest.raises(KeyboardInterrupt):
            store.finish({"jacobians": ONE}, {})
    with opened(tmp_path, study, tables=()) as store:
        store.finish({"jacobians": ONE}, {})
        assert store.finished
