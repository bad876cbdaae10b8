"""Results folders of every released version stay readable, and their numbers are those that are made today."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import initbench as ib
from initbench.cli import main

RELEASED = sorted((Path(__file__).parent / "assets").glob("results-*"))
FOLDERS = sorted(path for release in RELEASED for path in release.iterdir())
TABLES = {
    "train": {"runs": 2 * 2 * 2, "curves": 8 * 3, "layer_curves": 8 * 2 * 2},
    "variance": {"layers": 2 * 4, "verdicts": 2 * 2, "residuals": 2 * 4},
}
"""Rows by kind: two initializers, two optimizers, two seeds; steps 0, 10, 20; two initializers, four seeds, a layer."""
VARIES = {"train": "optimizer", "variance": "init"}

named = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call the program in an empty folder; it has to end well."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        return done

    return call


def test_there_is_one_of_each_kind():
    assert {folder.name for folder in FOLDERS} == set(TABLES)


@named
def test_its_tables_and_manifest_are_read(folder):
    results = ib.load(folder)
    assert {name: len(results.table(name)) for name in TABLES[folder.name]} == TABLES[folder.name]
    assert results.manifest["versions"]["initbench"] == folder.parent.name.removeprefix("results-")
    assert results.study["kind"] == folder.name


@named
def test_it_is_reported_compared_exported_and_its_state_told(folder, run):
    assert run("status", folder).output.split()[:2] == ["state", "finished"]
    run("report", folder)
    assert "<html" in Path(f"reports/{folder.name}/report.html").read_text(encoding="utf-8")
    assert "paired by seed" in run("compare", folder, "--by", VARIES[folder.name], "--no-figures").output
    run("export", folder, "--to", "csv")
    table = next(iter(TABLES[folder.name]))
    lines = Path(f"exports/{folder.name}/{table}.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + TABLES[folder.name][table]


@named
def test_its_numbers_are_made_again(folder, tmp_path):
    found = ib.reproduce(folder)
    assert found.holds, found.table[found.table.word == "differs"].to_string()


def test_a_table_that_was_changed_since_is_found(tmp_path, run):
    folder = shutil.copytree(next(path for path in FOLDERS if path.name == "train"), tmp_path / "train")
    runs = ib.load(folder).runs
    runs.loc[3, "test_loss"] *= 1.01
    runs.to_parquet(folder / "runs.parquet")
    table = ib.reproduce(folder).table
    (row,) = table[table.word == "differs"].to_dict("records")
    assert (row["table"], row["column"], row["beyond"]) == ("runs", "test_loss", 1)
    assert row["first"].endswith(runs.cell_id[3])
