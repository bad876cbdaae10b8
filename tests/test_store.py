"""A results folder: files whole or absent, parts of one study alone, nothing of anyone else's touched."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from initbench.analysis.results import load
from initbench.core.errors import UsageError, WorkError
from initbench.core.files import write_whole
from initbench.grid.store import Store

STUDY = {"kind": "variance", "init": ["he"], "seeds": 2}
RESTS_ON = {"versions": {"initbench": "1"}}
ONE, TWO = pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})


def opened(folder, study=STUDY, rests_on=RESTS_ON, tables=("layers",), **options):
    return Store(folder, study, rests_on, tables, **options)


def finished(store, parts=("seed0",)):
    """Finish with the parts' own rows."""
    store.require(parts)
    store.finish({"layers": store.read_parts("layers")}, {"device": "CPU"})


def test_parts_are_joined_in_the_order_of_their_names(tmp_path):
    with opened(tmp_path / "out") as store:
        store.write_part("seed000010", {"layers": TWO})
        store.write_part("seed000009", {"layers": ONE})
        finished(store, ["seed000009", "seed000010"])
    results = load(store.folder)
    assert list(results.layers.x) == [1, 2]
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


def test_a_lost_or_damaged_manifest_loses_no_results(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    finished(store)
    for damage in (lambda path: path.write_text("{"), lambda path: path.unlink()):
        damage(tmp_path / "manifest.json")
        again = opened(tmp_path)
        assert again.has("seed0")
        assert not again.finished
        finished(again)
        assert again.finished


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
    assert list(load(tmp_path).layers.x) == [1]
    finished(second)
    assert (first.finished, second.finished, second.replaced) == (False, True, True)
    assert list(load(tmp_path).layers.x) == [2]
    with pytest.raises(UsageError, match="has no table 'verdicts'; it has: layers"):
        load(tmp_path).verdicts  # noqa: B018


def test_results_without_their_table_are_not_finished(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    finished(store)
    (tmp_path / "layers.parquet").unlink()
    assert not store.finished


def test_a_newer_layout_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"layout": 99, "key": "0" * 16}))
    with pytest.raises(WorkError, match="was made by a newer version of initbench"):
        opened(tmp_path)


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


def test_two_processes_do_not_share_a_folder(tmp_path):
    code = f"""
from pathlib import Path
from initbench.core.errors import WorkError
from initbench.grid.store import Store
try:
    with Store(Path({str(tmp_path)!r}), {STUDY!r}, {RESTS_ON!r}, ("layers",)):
        print("in")
except WorkError as error:
    print(error)
"""
    run = lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout  # noqa: E731
    with opened(tmp_path):
        assert run() == f"another process is at work in {tmp_path}; wait for it, or give another --out\n"
    assert run() == "in\n"


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
    def full(self, path, **_):
        raise OSError(28, "No space left on device")

    store = opened(tmp_path)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(WorkError, match=r"cannot write .*\.layers\.parquet: No space left on device"):
        store.write_part("seed0", {"layers": ONE})


def test_a_damaged_part_is_set_aside_and_made_anew(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    part = next(tmp_path.glob("parts/*.parquet"))
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(WorkError, match="the part seed0 is missing or damaged; run the same command again"):
        store.require(["seed0"])
    assert not store.has("seed0")
    assert part.with_name(f"{part.name}.damaged").exists()
    store.write_part("seed0", {"layers": TWO})
    finished(store)
    assert list(load(tmp_path).layers.x) == [2]


def test_a_flipped_bit_is_damage(tmp_path):
    store = opened(tmp_path, tables=("layers", "histograms"))
    store.write_part("seed0", {"layers": ONE, "histograms": pd.DataFrame({"x": range(1000)})})
    part = next(tmp_path.glob("parts/*.histograms.parquet"))
    content = bytearray(part.read_bytes())
    content[200] ^= 1
    part.write_bytes(content)
    again = opened(tmp_path, tables=("layers", "histograms"))
    assert again.read_parts("layers").empty  # a part counts as a whole or not at all
    assert part.with_name(f"{part.name}.damaged").exists()


def test_a_damaged_table_is_named(tmp_path):
    store = opened(tmp_path)
    store.finish({"layers": ONE}, {})
    assert store.finished
    (tmp_path / "layers.parquet").write_bytes(b"PAR1")
    assert not store.finished
    with pytest.raises(WorkError, match=r"layers\.parquet cannot be read: "):
        load(tmp_path).layers  # noqa: B018


def test_a_folder_without_results(tmp_path):
    with pytest.raises(UsageError, match=r"holds no results: there is no manifest\.json"):
        load(tmp_path)


def test_a_read_only_place_is_told(tmp_path):
    if os.access("/proc", os.W_OK) and not os.path.exists("/proc/version"):
        pytest.skip("no read-only place is known here")
    with pytest.raises(UsageError, match=r"cannot write to /proc/version/out: Not a directory"):
        opened(tmp_path.__class__("/proc/version/out"))
