"""What the system refuses is one line that names the path and the cause."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from initbench.analysis.figures import save, style
from initbench.core import files
from initbench.core.errors import UsageError, WorkError
from initbench.core.files import make_folder, require_writable, write_text

CAUSES = [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG]


def refused(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "the system's name")

    return refuse


@pytest.mark.parametrize("number", CAUSES)
def test_each_refusal_names_the_path_and_the_cause(tmp_path, monkeypatch, number):
    why = os.strerror(number)
    monkeypatch.setattr(files, "TemporaryFile", refused(number))
    with pytest.raises(UsageError) as told:
        require_writable(tmp_path / "out")
    assert str(told.value) == f"cannot write to {tmp_path / 'out'}: {why}; give another folder"
    monkeypatch.setattr(Path, "mkdir", refused(number))
    with pytest.raises(WorkError) as told:
        make_folder(tmp_path / "out")
    assert str(told.value) == f"cannot make the folder {tmp_path / 'out'}: {why}"
    monkeypatch.setattr(Path, "write_bytes", refused(number))
    with pytest.raises(WorkError) as told:
        write_text(tmp_path / "kept.txt", "words")
    assert str(told.value) == f"cannot write {tmp_path / 'kept.txt'}: {why}"


def test_what_can_be_written_is_left_as_it_was(tmp_path):
    require_writable(tmp_path / "new" / "folder", "table.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("place", "why"), [
    ("file", "Not a directory"),
    ("file/out", "Not a directory"),
    ("new/" + "x" * 300, "File name too long"),
    ("folder", "Is a directory"),
])  # fmt: skip
def test_what_cannot_be_made_is_told_before_the_work(tmp_path, place, why):
    (tmp_path / "file").touch()
    (tmp_path / "folder/table.csv").mkdir(parents=True)
    with pytest.raises(UsageError, match=f"cannot write to .*: {why}; give another folder"):
        require_writable(tmp_path / place, "table.csv")


def test_a_figure_that_cannot_be_written_is_told_by_its_own_name(tmp_path):
    (tmp_path / "drawn.csv").mkdir()
    with pytest.raises(WorkError, match=r"cannot write .*/drawn\.csv: Is a directory"):
        save(style.page(3, 3, "", ""), pd.DataFrame({"a": [1]}), tmp_path, "drawn")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["show", "he"]])
def test_a_full_disk_under_standard_output(arguments):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "initbench", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    told = "Error: standard output or a file: No space left on device\n"
    assert (done.stderr, done.returncode) == (told, 1)
