"""The real program under faults, a few tries of each: no cell lost, none trained twice, none wrong (`make torture`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
GROUPS = [("random", "again", "dead", "two", "four"), ("writing", "kinds"),
          ("interrupted", "terminated", "parts", "tables"),
          ("manifest", "layout", "full", "limited", "read-only", "removed", "memory"),
          ("worker", "orphan")]  # fmt: skip
"""Faults that one process tries one after the other: it need load torch but once."""


@pytest.mark.parametrize("faults", GROUPS, ids="+".join)
def test_nothing_is_lost_repeated_or_wrong(faults):
    done = subprocess.run(
        [sys.executable, "-m", "torture", "--short", "--only", *faults],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(faults), done.stderr
    for counts in found:
        assert counts["tries"] or counts["skipped"]
        assert (counts["lost"], counts["repeated"], counts["wrong"]) == (0, 0, 0), counts["complaints"]
    if skipped := [counts["skipped"] for counts in found if counts["skipped"]]:
        pytest.skip(f"of {', '.join(faults)}: {skipped[0]}; the others held")


def test_every_fault_is_tried():
    from torture.__main__ import FAULTS

    assert sorted(fault for faults in GROUPS for fault in faults) == sorted(FAULTS)
