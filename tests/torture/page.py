"""docs/reliability.md: every fault with its counts."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import pandas as pd

HEAD = """# Reliability

    make torture     # every fault below, tried on the real program; minutes; writes this page
    initbench status OUT --check     # names every file that is not as it was written; exit 3 if there is one

A study's results are whole or absent, whatever ends the process; the same command goes on where it was. Each try is
the real program on a small grid ({cells} cells in {stacks} stacks, three tables), in a process of its own, followed by
the same command again; what comes out is held bit for bit against an uninterrupted run (`tests/torture/`; a short
version is part of the test suite).

What happens:

- **Killed, or the power cut**: a file is whole or absent; at most the stacks under way are trained again.
- **Ctrl-C and SIGTERM**: one line, exit code 1; the stacks under way are dropped, what was finished is kept.
- **A process that trains for the program is killed** (`--executor processes`, Ray's workers): another takes its place,
  and the stack is trained again. If the program is killed, they end by themselves at their next update.
- **Another process is at work in the folder**: refused with its process, host and time, exit code 1. The system frees
  the lock of a dead process.
- **The disk is full, the folder is removed**: one line, exit code 1; what was finished stays readable.
- **A damaged or foreign file**: told on standard error and kept as NAME.damaged (.damaged.2, ...). Parts are sealed
  with a digest of their content and name, tables with those in manifest.json (as `sha256sum` prints them). The cells of
  a part are trained again, unless the finished tables hold them; a table is joined again from its parts.
- **A manifest that is damaged or another study's**: kept as manifest.json.damaged; the parts still count.
- **A folder of an older layout**: its files are kept within, in layoutN/, and the study is made anew. A newer one is
  refused.
- **Memory does not hold a stack**: it is halved; `stack_size` tells how many networks were trained together.

In the table:

- **lost**: cells that the final table lacks.
- **repeated**: trainings that began although a part on the disk held them: read from the folder before each run, and
  from a journal that the process writes at the beginning of every training.
- **wrong**: cells of another value; and every exit code, message or file left over that is not as promised.

"""


def of(counts, whole):
    """The page; `whole` is the uninterrupted run."""
    cells, stacks = len(pd.read_parquet(whole / "runs.parquet")), len(list(whole.glob("parts/*.runs.parquet")))
    rows = [f"| {c.fault} | {c.tries or 'not tried: ' + c.skipped} | {c.lost} | {c.repeated} | {c.wrong} |"
            for c in counts]  # fmt: skip
    packages = ", ".join(f"{name} {version(name)}" for name in ("initbench", "torch", "pandas", "pyarrow", "filelock"))
    machine = (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} CPU cores, Python {platform.python_version()}"
    )
    made = f"{datetime.now(UTC):%Y-%m-%d}; {machine}, {packages}."
    table = "\n".join(["| fault | tries | lost | repeated | wrong |", "| --- | --- | --- | --- | --- |", *rows])
    return f"{HEAD.format(cells=cells, stacks=stacks)}{table}\n\n{made}\n"
