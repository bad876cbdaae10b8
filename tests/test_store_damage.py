"""What was damaged, or is of another layout: found, kept under another name, made anew."""

import json

import pandas as pd
import pytest
import tomli_w
from stores import ONE, STUDY, TWO, finished, layers, opened

from initbench.analysis.results import load
from initbench.core.errors import UsageError, WorkError


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


def test_a_newer_layout_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"layout": 99, "key": "0" * 16}))
    with pytest.raises(WorkError, match="was made by a newer version of initbench"):
        opened(tmp_path)


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
    assert list(layers(tmp_path)) == [2]


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


def test_damaged_files_are_kept_each_under_its_own_name(tmp_path, caplog):
    part = tmp_path / f"parts/seed0-{opened(tmp_path)._key}.layers.parquet"
    for number, content in enumerate((b"one", b"two", b"three"), start=1):
        with opened(tmp_path) as store:
            store.write_part("seed0", {"layers": ONE})
        part.write_bytes(content)
        with opened(tmp_path) as store:
            assert not store.has("seed0")
        kept = part.with_name(f"{part.name}.damaged{f'.{number}' if number > 1 else ''}")
        assert kept.read_bytes() == content
        assert caplog.messages[-1] == f"{part} is not as it was written; it is kept as {kept.name}"


def test_a_part_of_another_place_does_not_count(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    part = next(tmp_path.glob("parts/*.parquet"))
    part.with_name(part.name.replace("seed0", "seed1")).write_bytes(part.read_bytes())
    assert (store.has("seed0"), store.has("seed1")) == (True, False)


@pytest.mark.parametrize("damage", ["", "{", '{"layout": 2, "key": "0123456789abcdef", "kind": "variance"}'])
def test_a_wrong_manifest_is_kept_and_the_parts_count(tmp_path, damage):
    with opened(tmp_path) as store:
        store.begin({})
        store.write_part("seed0", {"layers": ONE})
    (tmp_path / "manifest.json").write_text(damage)
    with opened(tmp_path) as store:
        assert store.has("seed0")
        finished(store)
    assert (tmp_path / "manifest.json.damaged").read_text() == damage
    assert store.finished


def test_a_changed_manifest_is_not_believed(tmp_path):
    store = opened(tmp_path)
    store.write_part("seed0", {"layers": ONE})
    finished(store)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"device": "CPU"', '"device": "GPU"'))
    assert not store.finished


def test_a_changed_study_file_is_kept_and_written_again(tmp_path):
    with opened(tmp_path) as store:
        store.write_part("seed0", {"layers": ONE})
        finished(store)
    (tmp_path / "study.toml").write_text("seeds = 7")
    with opened(tmp_path) as store:
        assert not store.finished
        finished(store)
    assert load(tmp_path).study == STUDY
    assert (tmp_path / "study.toml.damaged").read_text() == "seeds = 7"


def older(folder, study=STUDY):
    """A folder as layout 1 was: parts and manifest without seals and digests."""
    (folder / "parts").mkdir(parents=True)
    ONE.to_parquet(folder / "parts/seed0-0123456789abcdef.layers.parquet")
    ONE.to_parquet(folder / "layers.parquet")
    (folder / "study.toml").write_text(tomli_w.dumps(study))
    told = {"layout": 1, "key": "0123456789abcdef", "kind": study["kind"], "tables": ["layers"]}
    (folder / "manifest.json").write_text(json.dumps(told))
    (folder / "mine.txt").write_text("mine")


def test_results_of_an_older_layout_are_kept_and_made_anew(tmp_path, caplog):
    for time in ("layout1", "layout1.2"):
        older(tmp_path)
        files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.parquet") if "layout1" not in str(path)}
        with opened(tmp_path) as store:
            assert (store.finished, store.has("seed0")) == (False, False)
        assert {path.relative_to(tmp_path / time) for path in (tmp_path / time).rglob("*.parquet")} == files
        assert {path.name for path in tmp_path.iterdir()} - {"layout1", "layout1.2"} == {".lock", "mine.txt"}
        assert caplog.messages[-1].endswith(
            f"an older version of initbench; its results are kept as {time}, and made anew"
        )


def test_another_studys_results_of_an_older_layout_are_left_alone(tmp_path):
    older(tmp_path, {**STUDY, "seeds": 3})
    with pytest.raises(UsageError, match="holds another study's results; give another folder with --out"):
        opened(tmp_path)
    assert (tmp_path / "layers.parquet").exists()
