"""A billion of anything is refused in one line, before memory is asked for."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from initbench.cli import main

BILLION = 10**9
SMALL = ["--init=he", "--activation=relu", "--depth=2"]
LIMIT = 16 * 2**30
"""Of addresses: torch's libraries take some gigabytes of these alone."""


@pytest.fixture(autouse=True, scope="module")
def _loaded():
    """What a first command loads is no network's memory."""
    for words in (["variance", "--width=0"], ["train-grid", "--set=width=0"]):
        assert CliRunner().invoke(main, words).exit_code == 2


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("import torch\ndef net(width=3): return torch.nn.Linear(3, width)\n")
    return lambda words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("words", [
    *[["variance", *SMALL, f"--{name}={BILLION}"] for name in ("depth", "width", "seeds", "batch")],
    *[["predict", *SMALL, f"--{name}={BILLION}"] for name in ("depth", "seeds")],
    ["predict", *SMALL, "--input=digits", "--seeds=1000000", "--batch=1000"],
    ["probe", "net.py:net", "--input-shape=3", f"--seeds={BILLION}"],
    ["probe", "net.py:net", "--input-shape=3", f"--batch={BILLION}"],
    ["probe", "net.py:net", f"--input-shape={BILLION},{BILLION}"],
    ["audit", f"--fan-in={BILLION}"],
    ["train-grid", f"--set=seeds={BILLION}", "--dry-run"],
    ["train-grid", "--set=width=1000000", "--set=depth=100", "--dry-run"],
    ["train-grid", f"--dataset=copies(features={BILLION})", "--dry-run"],
    ["train-grid", f"--dataset=line(images={BILLION})", "--dry-run"],
    ["train-grid", f"--dataset=orthogonal_patterns(classes={2**40})", "--dry-run"],
], ids=" ".join)  # fmt: skip
def test_a_billion_is_refused(run, words):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = run(words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    assert [path.name for path in Path.cwd().iterdir() if path.suffix != ".pyc"] == ["net.py"]


def test_a_grid_of_a_billion_cells_is_counted_and_not_made(run):
    levels = {name: list(range(1, 1001)) for name in ("depth", "width", "steps")}
    Path("grid.toml").write_text("[compare]\n" + "\n".join(f"{name} = {levels[name]}" for name in levels))
    for command in (["train-grid", "grid.toml", "--dry-run"], ["run", "grid.toml"]):
        done = run(command)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == "Error: grid.toml: the grid has 1,000,000,000 cells; at most 1,000,000 are accepted\n"


def test_a_process_with_little_memory_refuses_a_terabyte(tmp_path):
    asked = [["variance", *SMALL, f"--width={BILLION}"],
             ["train-grid", "--set=width=1000000", "--set=depth=100", "--dry-run"]]  # fmt: skip
    limited = f"""
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({LIMIT}, {LIMIT}))
from initbench.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        print(end.code)
"""
    done = subprocess.run([sys.executable, "-c", limited, json.dumps(asked)], cwd=tmp_path, capture_output=True,
                          text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "2\n" * len(asked)), done.stderr
    told = done.stderr.splitlines()
    assert len(told) == len(asked)
    assert all("this machine has" in line for line in told), told
