"""A hundred thousand inputs, each nearly good: never a traceback, never an exit code that says something else.

    python tests/fuzz.py [--inputs 100000] [--seed 0] [--only KIND]

prints a line for each kind of input with its outcomes, then each fault once, with an input that shows it. Nothing is
trained: grids are planned, small results are made once and read in many damaged states.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import bad_inputs
import hypothesis
import pytest
from bad_input_bench import REFUSED, Bench, Trial
from hypothesis import HealthCheck, Phase, given, settings

from initbench.core.errors import InitbenchError

SHARES = {"spec": 660, "grid": 180, "study": 100, "expectation": 25, "results": 12, "table": 5, "command": 18}
"""Thousandths of the inputs, by their kind: what is tried fastest most often."""
SIBLINGS = {"spec": 19, "grid": 4, "study": 4}
"""How often one that was drawn is torn, by kind."""
AT_ONCE = 2_000
"""Inputs that hypothesis keeps in mind together."""
SECONDS, MEMORY = 20, 12 * 2**30
"""That one input may take."""
CELLS = 200
"""Most cells of a grid: so many are planned in no time."""


class TooSlowError(BaseException):
    """Beyond what any handler of errors may catch."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """So long may one input compute, whatever else the machine does; nothing is large, and nothing is measured."""

    def alarm(_: int, __: FrameType | None) -> None:
        raise TooSlowError(f"more than {SECONDS} s")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("initbench.grid.study.MOST_CELLS", CELLS)
        patch.setattr("initbench.grid.estimate._rates", lambda job: (1e9, 1e9))
        before = signal.signal(signal.SIGPROF, alarm)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)


class Tally:
    """Outcomes by kind, and faults by place, each with the first input that shows it."""

    def __init__(self) -> None:
        self.counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.faults: dict[str, tuple[str, object]] = {}

    def __len__(self) -> int:
        return sum(sum(counts.values()) for counts in self.counts.values())

    def add(self, kind: str, trial: Trial, given_input: Any) -> None:
        """Try one input."""
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            with warnings.catch_warnings(action="ignore"):
                outcome = trial(given_input)
        except InitbenchError as error:
            outcome = REFUSED[error.exit_code]
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "FAULT"
            where = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)
                     if "initbench/" in f.filename][-1:]  # fmt: skip
            key = f"{kind}: {type(error).__name__} {' '.join(where)}"
            if key not in self.faults or len(repr(given_input)) < len(repr(self.faults[key][1])):
                self.faults[key] = (str(error)[:300], given_input)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        self.counts[kind][outcome] += 1


def tried(bench: Bench, kind: str, inputs: int, seed: int, tally: Tally) -> None:
    """Add the outcomes of `inputs` inputs of one kind."""
    strategy, trial = bench.strategies()[kind], bench.trials()[kind]
    inputs = -(-inputs // (1 + SIBLINGS.get(kind, 0)))
    for start in range(0, inputs, AT_ONCE):

        @hypothesis.seed(seed * 1_000_003 + start)
        @settings(max_examples=min(AT_ONCE, inputs - start), database=None, deadline=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(strategy)
        def one(given_input: Any) -> None:
            for sibling in siblings(kind, given_input):
                tally.add(kind, trial, sibling)

        one()


def _torn(text: str, times: int) -> Iterator[str]:
    """`text`, and itself with a few letters left out, said twice or in place of others: by chance that it seeds."""
    yield text
    chance = random.Random(text.encode(errors="surrogatepass"))
    for _ in range(times):
        start, length = chance.randrange(len(text) + 1), chance.randrange(4)
        middle = chance.choice(["", text[start : start + length] * 2, chance.choice(bad_inputs.WORDS)])
        yield text[:start] + middle + text[start + length :]


def siblings(kind: str, drawn: Any) -> Iterator[Any]:
    """What was drawn, and what is near to it: drawing takes hypothesis longer than a trial takes."""
    times = SIBLINGS.get(kind, 0)
    match drawn:
        case str(of), str(spec):
            yield from ((of, text) for text in _torn(spec, times))
        case bytes() if times:
            yield from (text.encode("utf-8", "replace") for text in _torn(drawn.decode(errors="replace"), times))
        case _:
            yield drawn


def fuzz(inputs: int, seed: int, kinds: list[str]) -> Tally:
    """`inputs` inputs, shared out among `kinds`."""
    tally, whole = Tally(), sum(SHARES[kind] for kind in kinds)
    with tempfile.TemporaryDirectory() as folder, limited():
        bench = Bench(Path(folder))
        for kind in kinds:
            tried(bench, kind, inputs * SHARES[kind] // whole, seed, tally)
            print(f"{kind:12}", dict(tally.counts[kind].most_common()), flush=True)
        os.chdir("/")
    return tally


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(SHARES), action="append")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found = fuzz(asked.inputs, asked.seed, asked.only or list(SHARES))
    for key, (message, shown) in found.faults.items():
        print(f"\n{key}\n  {message}\n  {shown!r:.600}")
    print(f"\n{len(found):,} inputs, {len(found.faults)} faults")
    sys.exit(bool(found.faults))
