"""Places that fail: a full disk, a limit on files, a folder that cannot be written, one that is removed meanwhile."""

import os
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager

from torture import program
from torture.counts import Counts

ROOM = 64
"""KiB of a disk that holds some parts and not all."""


def full(whole, folder, random, tries):
    """A disk of a few KiB; then it has room again."""
    counts = Counts("a full disk")
    for number in range(tries):
        disk = folder / f"disk{number}"
        disk.mkdir()
        room = ROOM + 4 * random.randint(0, 16)
        if _mount("-t", "tmpfs", "-o", f"size={room}k", "tmpfs", disk):
            counts.skipped = "this system lets us mount nothing"
            return counts
        try:
            _ends_in_a_line(counts, program.grid(disk / "out"), "No space left on device")
            _mount("-o", "remount,size=16m", disk)
            counts.finish(disk / "out", whole)
        finally:
            subprocess.run(["umount", disk], check=True)
        counts.tries += 1
    return counts


def limited(whole, folder, random, tries):
    """No file may be longer than some KiB; then the limit is lifted."""
    counts = Counts("a limit on the size of files")
    for number in range(tries):
        out = folder / f"limited{number}"
        most = random.randint(200, 12_000)
        limit = lambda most=most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # noqa: E731
        _ends_in_a_line(counts, program.grid(out, limit), "File too large")
        counts.finish(out, whole)
        counts.tries += 1
    return counts


def read_only(whole, folder, _, tries):
    """A folder on a disk that is mounted to be read: told before any work, and left as it is."""
    counts = Counts("a read-only folder")
    for number in range(tries):
        out = folder / f"read{number}"
        process = program.grid(out)
        program.until(lambda out=out: program.durable(out))
        process.kill()
        process.wait()
        with _read_only(out) as refused:
            if refused:
                counts.skipped = "this system lets us mount nothing"
                return counts
            before = program.durable(out)
            process = program.grid(out)
            told = (process.wait(), process.err)
            line = f"Error: cannot write to {out}: Read-only file system; give another folder\n"
            counts.require(told == (2, line), f"{told}")
            counts.require(not process.started and program.durable(out) == before, f"{out}: not as it was")
        counts.finish(out, whole)
        counts.tries += 1
    return counts


def removed(whole, folder, random, tries):
    """The folder is deleted while a run is at work in it: one line, and nothing is put where it was."""
    counts = Counts("a folder removed under a run")
    for number in range(tries):
        out = folder / f"removed{number}"
        process = program.grid(out)
        program.until((out / "parts").exists)
        time.sleep(random.uniform(0, 0.1))
        while out.exists():  # a part that comes while its folder is emptied keeps that folder
            shutil.rmtree(out, ignore_errors=True)
        code = process.wait()
        if code or out.exists():
            counts.require(code == 1 and process.err.count("\n") == 1, f"exit code {code}: {process.err}")
            counts.require(not list(out.rglob("*.parquet")), f"{out}: written again")
        counts.finish(out, whole)
        counts.tries += 1
    return counts


def _ends_in_a_line(counts, process, why):
    code = process.wait()
    counts.require(code == 1 and process.err.count("\n") == 1 and why in process.err, f"exit {code}: {process.err}")
    counts.attempt("", (), process)


def _mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode


@contextmanager
def _read_only(out):
    """A view of the folder in its own place that cannot be written; gives whether the system refused it."""
    refused = os.geteuid() != 0 or _mount("--bind", out, out) or _mount("-o", "remount,ro,bind", out)
    try:
        yield refused
    finally:
        subprocess.run(["umount", out], capture_output=True, check=False)
