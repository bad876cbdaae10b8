"""Ctrl-C, and SIGTERM as schedulers and containers send it: one line, exit code 1, all that was finished is kept."""

import os
import signal
import subprocess
import sys
import time

from torture import program
from torture.counts import Counts

LINE = "Error: interrupted; what was finished is kept, and the same command goes on there\n"
PROMPT = 10.0
"""Seconds within which it ends."""


def interrupted(whole, folder, random, tries):
    """Ctrl-C."""
    return _signalled(Counts("Ctrl-C"), signal.SIGINT, whole, folder, random, tries)


def terminated(whole, folder, random, tries):
    """What `kill` sends."""
    return _signalled(Counts("SIGTERM"), signal.SIGTERM, whole, folder, random, tries)


def _signalled(counts, how, whole, folder, random, tries):
    for number in range(tries):
        out = folder / f"{how.name}{number}"
        process = program.grid(out)
        program.until((out / "study.toml").exists)
        time.sleep(random.uniform(0, 0.5))
        process.kill(how)
        start = time.monotonic()
        code = process.wait()
        counts.require(time.monotonic() - start < PROMPT, f"{how.name}: did not end")
        told = (code, process.err)
        counts.require(told in [(1, LINE), (0, "")] or code == -how, f"{how.name}: {told}")
        counts.attempt(out, (), process)
        counts.finish(out, whole)
        counts.tries += 1
    _through_the_front_door(counts, how, whole, folder)
    return counts


def _through_the_front_door(counts, how, whole, folder):
    """The program as a user starts it, its threads and its end included; not forked."""
    out = folder / f"{how.name}door"
    listening = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    command = [sys.executable, "-m", "initbench", *program.grid_of(steps=2000), "--out", out]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          preexec_fn=listening, env=os.environ) as process:  # fmt: skip
        program.until((out / "study.toml").exists)
        time.sleep(0.2)
        process.send_signal(how)
        told = process.communicate()[1], process.returncode
    counts.require(told == (LINE, 1), f"{how.name}: {told}")
    counts.tries += 1
