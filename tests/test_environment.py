"""Where and when a command runs changes no number: hash seeds, locales, terminals, time zones, clocks, odd names."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

RUN = """
import itertools, sys, time, datetime
if "jump" in sys.argv:  # a clock that is set while the work is done, back and forth by years
    told = itertools.cycle([4e9, 1.0, 2e9])
    time.time = lambda: next(told)
from initbench.cli import main
here = ["--init=he", "--init=orthogonal", "--init=sparse(0.5)", "--activation=tanh", "--depth=2", "--width=6"]
quiet = ["--no-figures", "--format=csv"]
main(["variance", *here, "--seeds=2", "--batch=3", *quiet, "--out", sys.argv[1]], standalone_mode=False)
fixed = ["init=he", "activation=relu", "depth=1", "lr=0.1", "momentum=0.9", "optimizer=adam", "batch_size=32",
         "steps=2", "dropout=0.5", "nesterov=false"]
main(["train-grid", *(f"--set={one}" for one in fixed), *quiet, "--executor=threads", "--out", sys.argv[2]])
"""
TIMES = ["seconds", "stack_seconds", "training_seconds", "evaluation_seconds"]
PLAIN = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
LOCALES = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()


def tables(folder, *words, **environment):
    """Standard output, and the tables of numbers, of both commands in a process with such an environment."""
    names = [str(folder / "v"), str(folder / "t")]
    done = subprocess.run([sys.executable, "-c", RUN, *names, *words], cwd=folder, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env={**os.environ, **PLAIN, **environment})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = {path.stem: pd.read_parquet(path) for name in names for path in sorted(Path(name).glob("*.parquet"))}
    return done.stdout, {name: frame.drop(columns=TIMES, errors="ignore") for name, frame in found.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return tables(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(("name", "words", "environment"), [
    ("with spaces/quote'\"$(id);& İıßω𝓗 – é", (), {"PYTHONHASHSEED": "1", "LC_ALL": "POSIX", "TZ": "Asia/Kathmandu",
                                                   "COLUMNS": "20", "TERM": "dumb"}),
    ("x" * 200, ("jump",), {"PYTHONHASHSEED": "random", "COLUMNS": "1", "LINES": "1", "TERM": "", "TZ": "nonsense"}),
    pytest.param("İı", (), {"LC_ALL": "tr_TR.UTF-8"},
                 marks=pytest.mark.skipif("tr_TR.utf8" not in LOCALES, reason="the Turkish locale is not installed")),
], ids=["another hash and zone, no locale, a narrow terminal", "a clock that jumps", "Turkish"])  # fmt: skip
def test_the_same_numbers_whatever_is_around(plain, tmp_path, name, words, environment):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    stdout, found = tables(folder, *words, **environment)
    assert stdout == plain[0]
    assert set(found) == set(plain[1])
    for table, frame in found.items():
        pd.testing.assert_frame_equal(frame, plain[1][table], check_exact=True)


def test_durations_are_told_by_a_clock_that_is_never_set():
    package = Path(__file__).parents[1] / "initbench"
    told = {path.name for path in package.rglob("*.py") if "time.time()" in path.read_text(encoding="utf-8")}
    assert told == set()
