"""`python -m torture [--short] [--only FAULT ...] [--write FILE]`: faults of the real program, counted."""

import argparse
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from torture import damage, kills, memory, page, places, program, signals, together, workers

FAULTS = {
    "random": (kills.at_random_moments, 100, 3),
    "again": (kills.again_and_again, 30, 3),
    "writing": (kills.while_writing, 1000, 8),
    "kinds": (kills.of_other_kinds, 1000, 4),
    "interrupted": (signals.interrupted, 20, 2),
    "terminated": (signals.terminated, 20, 2),
    "two": (together.two, 20, 2),
    "four": (together.four, 20, 2),
    "dead": (together.a_dead_ones_lock, 10, 1),
    "parts": (damage.of_parts, 70, 7),
    "tables": (damage.of_tables, 24, 3),
    "manifest": (damage.of_the_manifest, 25, 5),
    "layout": (damage.of_an_older_layout, 2, 1),
    "full": (places.full, 10, 1),
    "limited": (places.limited, 10, 1),
    "read-only": (places.read_only, 5, 1),
    "removed": (places.removed, 10, 1),
    "worker": (workers.killed, 10, 2),
    "orphan": (workers.orphaned, 10, 2),
    "memory": (memory.out_of_memory, 5, 1),
}
"""Name -> what is done, and how often, in full and in short."""


def counted(name, short, seed=0):
    """The fault's counts."""
    fault, full, few = FAULTS[name]
    whole = Path(tempfile.gettempdir()) / "whole"
    if not whole.exists():
        program.warm(whole)
    folder = whole.with_name(name)
    folder.mkdir()
    return fault(program.tables(whole), folder, random.Random(seed), few if short else full)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true")
    options.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    options.add_argument("--write", type=Path, help="The page to write.")
    chosen = options.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        tempfile.tempdir, os.environ["XDG_CACHE_HOME"] = folder, f"{folder}/cache"  # tuned once: the same in all runs
        for name in chosen.only:
            found.append(counted(name, chosen.short))
            print(json.dumps(vars(found[-1])), flush=True)
        if chosen.write:
            chosen.write.write_text(page.of(found, Path(folder) / "whole"), encoding="utf-8")
    return any(counts.lost or counts.repeated or counts.wrong for counts in found)


if __name__ == "__main__":
    sys.exit(main())
