"""What other machines made is made again here, within the tolerance that is promised (docs/reproducibility.md)."""

import tomllib
from pathlib import Path

import pytest

import initbench as ib

MACHINES = Path(__file__).parent / "assets" / "machines"
STUDY = tomllib.loads((MACHINES / "study.toml").read_text(encoding="utf-8"))
FOLDERS = sorted(path for machine in MACHINES.iterdir() if machine.is_dir() for path in machine.glob("*/"))


def test_every_machine_has_answered_every_part():
    assert FOLDERS
    made = {(folder.parent.name, folder.name) for folder in FOLDERS}
    assert made == {(machine, part) for machine, _ in made for part in STUDY["parts"]}
    processors = {ib.load(folder).manifest["processor"] for folder in FOLDERS}
    assert len(processors) == len({machine for machine, _ in made})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_its_numbers_are_made_again(folder):
    found = ib.reproduce(folder)
    assert found.holds, found.table[found.table.word == "differs"].to_string()
