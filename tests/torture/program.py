"""The real program on a tiny grid, in a process of its own: forked from one that has torch loaded, to be quick."""

import contextlib
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import pandas as pd

from initbench.cli import main
from initbench.grid.stacks import ENGINES, Engine


def grid_of(steps):
    """The arguments of a small grid."""
    return ["train-grid", "--set", "init=he,zeros", "--set", "activation=relu", "--set", "depth=1,2", "--set",
            "lr=0.1,0.01", "--set", "momentum=0.0,0.9", "--set", "nesterov=false", "--set", "optimizer=sgd", "--set",
            f"steps={steps}", "--set", "width=8", "--set", "batch_size=32", "--set", "record_every=5", "--set",
            "seeds=2", "--device", "cpu", "--no-figures", "--format", "csv"]  # fmt: skip


GRID = grid_of(steps=10)
VARIANCE = ["variance", "--init", "he", "--activation", "relu", "--depth", "2", "--width", "8", "--batch", "8",
            "--seeds", "3", "--device", "cpu", "--no-figures", "--format", "csv"]  # fmt: skip
TABLES = ("runs", "curves", "layer_curves")
LONGEST = 120.0
"""Seconds after which a process counts as hung."""


class Process:
    """One command at work: its exit code, what it said on standard error, and what it trained."""

    def __init__(self, arguments, prepare=lambda: None):
        self.told = Path(tempfile.mkdtemp(prefix="torture-"))
        self.pid = os.fork()
        if not self.pid:
            self._work([str(argument) for argument in arguments], prepare)

    def _work(self, arguments, prepare):
        code = 70  # of what should not come here
        try:
            for stream, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.told / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            _keep_a_journal(self.told / "journal")
            prepare()
            main(arguments, prog_name="initbench")
        except SystemExit as end:
            code = end.code or 0
        finally:
            os._exit(code)

    def kill(self, how=signal.SIGKILL):
        os.kill(self.pid, how)

    def wait(self):
        """The exit code; minus the signal that ended it."""
        until = time.monotonic() + LONGEST
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                self.kill()
            time.sleep(0.002)

    @property
    def err(self):
        return self._text("err")

    @property
    def started(self):
        """The trainings that began, in the order in which they did."""
        return [each for line in self._text("journal").splitlines() for each in json.loads(line)]

    def _text(self, name):
        path = self.told / name
        return path.read_text() if path.exists() else ""


def _keep_a_journal(path):
    """Write down every training that begins; the kernel keeps it whatever becomes of the process."""
    from initbench.grid.training_plan import identity

    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    real = ENGINES["stacked"]

    def train(cells, *rest):
        os.write(journal, (json.dumps([identity(cell) for cell in cells]) + "\n").encode())
        return real.train(cells, *rest)

    ENGINES["stacked"] = Engine(train, alone=real.alone)


def warm(out):
    """Run the grid here, uninterrupted, so that forks have all that is imported and tuned at once.

    On threads: the process that workers are copies of would be this one's child, and no fork could have one.
    """
    with contextlib.redirect_stdout(None):
        main([*GRID, "--executor", "threads", "--out", str(out)], standalone_mode=False)


def variance(out, prepare=lambda: None):
    """Another kind of results at work into `out`: propagation, in parts too."""
    return Process([*VARIANCE, "--out", out], prepare)


def jacobian(out, prepare=lambda: None):
    """A kind of results that is computed in one piece."""
    folder = Path(tempfile.gettempdir())
    study = folder / "jacobian.toml"
    study.write_text(
        'question = "?"\nkind = "jacobian"\ninit = ["he"]\nactivation = ["relu"]\ndepth = 2\nwidth = 8\nseeds = 1\n'
    )
    told = ["--reports", folder / "reports", "--no-figures", "--format", "csv", "--executor", "threads"]
    return Process(["run", study, "--out", out, *told], prepare)


def grid(out, prepare=lambda: None, executor="threads"):
    """The grid at work into `out`."""
    return Process([*GRID, "--executor", executor, "--out", out], prepare)


def until(holds):
    """Wait for a moment in another process's life."""
    end = time.monotonic() + LONGEST
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it did not come")
        time.sleep(0.002)


def is_at_work(pid):
    """Whether there is such a process; one that has ended and that nobody has waited for yet is not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def status(out):
    """`initbench status --check`: its exit code, and its lines."""
    process = Process(["status", out, "--check"])
    return process.wait(), process._text("out")


def durable(out, without=()):
    """The trainings that `out` holds whole, read with nothing of ours: a part has all of its tables.

    Parts with a file that was damaged, `without` these, hold none.
    """
    parts = Path(out) / "parts"
    found = set()
    for path in parts.glob("*.runs.parquet"):
        beside = [path.with_name(path.name.replace(".runs.", f".{table}.")) for table in TABLES]
        with contextlib.suppress(Exception):  # one that cannot be read is not durable
            if not set(beside) & set(without) and all(len(pd.read_parquet(each)) for each in beside):
                found |= set(pd.read_parquet(path, columns=["training_id"]).training_id)
    return found


def tables(out):
    """The joined tables, without what two runs of one study may differ in."""
    read = {name: pd.read_parquet(Path(out) / f"{name}.parquet") for name in TABLES}
    return {name: frame.drop(columns=[c for c in frame if c.endswith("seconds") or c == "stack_size"])
            for name, frame in read.items()}  # fmt: skip
