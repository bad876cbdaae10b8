"""One process at a time works in a folder, and the others are told which."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
from stores import ONE, RESTS_ON, STUDY, opened

from initbench.core.errors import WorkError


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
        who = rf"process {os.getpid()} on {socket.gethostname()} since 20\S+\+00:00 is at work in {tmp_path}"
        assert re.fullmatch(f"{who}; wait for it, or give another --out\n", run())
    assert run() == "in\n"


def test_a_folder_that_was_removed_meanwhile_is_told(tmp_path):
    out = tmp_path / "out"
    with opened(out) as store:
        shutil.rmtree(out)
        with pytest.raises(WorkError, match="was removed or replaced while this process worked in it"):
            store.write_part("seed0", {"layers": ONE})
    assert not out.exists()


def test_the_name_of_the_one_at_work_is_gone_with_it(tmp_path):
    with opened(tmp_path):
        assert json.loads((tmp_path / ".owner").read_text())["process"] == os.getpid()
    assert not (tmp_path / ".owner").exists()


@pytest.mark.parametrize("told", [None, "", "{", "3", '{"process": 1}', "dead"])
def test_one_that_does_not_say_who_it_is_is_told_as_another(tmp_path, monkeypatch, told):
    monkeypatch.setattr("initbench.grid.lock.PATIENCE", 0.02)
    with opened(tmp_path):
        (tmp_path / ".owner").unlink()
        if told == "dead":
            gone = subprocess.Popen([sys.executable, "-c", ""])
            gone.wait()
            told = json.dumps({"process": gone.pid, "host": socket.gethostname(), "since": "then"})
        if told is not None:
            (tmp_path / ".owner").write_text(told)
        with pytest.raises(WorkError, match=r"^another process is at work in "), opened(tmp_path):
            pass


def test_one_on_another_machine_is_told_with_its_name(tmp_path):
    with opened(tmp_path):
        (tmp_path / ".owner").write_text(json.dumps({"process": 12, "host": "node7", "since": "then"}))
        with pytest.raises(WorkError, match=r"^process 12 on node7 since then is at work in "), opened(tmp_path):
            pass
