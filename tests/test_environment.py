"""Where and when a command runs changes no number: hash seeds, locales, terminals, time zones, clocks, odd names."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from plugin_catalogues import program

QUIET = ["--no-figures", "--format=csv"]
COMMANDS = [
    ["variance", "--init=he", "--init=orthogonal", "--init=sparse(0.5)", "--activation=tanh", "--depth=2", "--width=6",
     "--seeds=2", "--batch=3", *QUIET],
    ["train-grid", "--set=init=he", "--set=activation=relu", "--set=depth=1", "--set=lr=0.1", "--set=momentum=0.9",
     "--set=optimizer=adam", "--set=batch_size=32", "--set=steps=2", "--set=dropout=0.5", "--set=nesterov=false",
     "--executor=threads", *QUIET],
]  # fmt: skip
RUN = f"""
import itertools, sys, time, datetime
if "jump" in sys.argv:  # a clock that is set while the work is done, back and forth by years
    told = itertools.cycle([4e9, 1.0, 2e9])
    time.time = lambda: next(told)
from initbench.cli import main
main({COMMANDS[0]} + ["--out", sys.argv[1]], standalone_mode=False)
main({COMMANDS[1]} + ["--out", sys.argv[2]])
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
    return done.stdout, read(names)


def read(folders):
    """Their tables, but for what was timed."""
    found = {path.stem: pd.read_parquet(path) for name in folders for path in sorted(Path(name).glob("*.parquet"))}
    return {name: frame.drop(columns=TIMES, errors="ignore") for name, frame in found.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Of this process, whatever is around it."""
    folder = tmp_path_factory.mktemp("plain")
    names = [str(folder / "v"), str(folder / "t")]
    done = [program(*words, "--out", name) for words, name in zip(COMMANDS, names, strict=True)]
    assert [(each.exit_code, each.stderr) for each in done] == [(0, ""), (0, "")]
    return "".join(each.stdout for each in done), read(names)


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
