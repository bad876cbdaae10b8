"""Imports point down, and the analysis half lives without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import without_torch

import initbench

PACKAGE = Path(initbench.__file__).parent
FLOORS = [{"core"}, {"activations", "datasets"}, {"theory"}, {"initializers", "recipe"}, {"engine", "reference"},
          {"grid", "analysis", "battery"}, {"kinds"}, {"studies"},
          {"api", "comparing", "merging", "probing", "reproducing"}, {"cli"}]  # fmt: skip
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = [path for path in PACKAGE.rglob("*.py") if path.stem not in ("__init__", "__main__") or path.parent != PACKAGE]


def room_of(path):
    """A folder of the package, or a file beside the folders."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path):
    """The rooms whose names `path` imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        aliases = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        names += (
            aliases if isinstance(node, ast.Import) else [f"initbench.{a}" for a in aliases if names == ["initbench"]]
        )
        yield from (name.split(".")[1] for name in names if name.startswith("initbench."))


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room_of(path)
    below = {"core"} if here == "analysis" else {room for room in FLOOR if FLOOR[room] < FLOOR[here]}
    assert set(imported_rooms(path)) <= below | {here}


def test_analysis_works_where_no_torch_is_installed():
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
               for path in (PACKAGE / "analysis").rglob("*.py")]  # fmt: skip
    code = f"""
for name in {modules!r}:
    __import__(name)
"""
    without_torch.run(code)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["variance", "--help"]])
def test_help_imports_neither_torch_nor_pandas(arguments):
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["torch", "pandas", "numpy"]))
from initbench.cli import main
main({arguments!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
