"""A stack that fails, hangs or is lost: tried again, and then a row that says why; on threads of this process."""

import math
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from plugin_catalogues import lent_catalogues

import initbench as ib
from initbench.cli.options import hands
from initbench.core.errors import UsageError
from initbench.grid.executors import Attempt, Hands, carried_out
from initbench.grid.stacks import Failed, Part

FAULT = {"levels": {0.3}, "times": math.inf}


class Faulty(torch.optim.SGD):
    """torch's own, but for some learning rates."""

    def step(self, closure=None):
        if FAULT["times"] > 0 and any(group["lr"] in FAULT["levels"] for group in self.param_groups):
            FAULT["times"] -= 1
            raise ArithmeticError("this rate is cursed")
        return super().step(closure)


@pytest.fixture
def faulty(monkeypatch):
    """The optimizer in the catalogue, and when it is at fault."""
    with lent_catalogues():
        ib.optimizer(name="faulty")(Faulty)
        yield lambda levels, times=math.inf: FAULT.update(levels=levels, times=times)


def study(optimizer="faulty", **changes):
    rates = [0.05, 0.1, 0.2, 0.3, 0.4]
    return ib.Study(compare={"lr": rates}, fix={"optimizer": optimizer, "steps": 5, "width": 8}, seeds=1, **changes)


def untimed(runs):
    return runs.drop(columns=[name for name in runs if name.endswith("seconds")])


class InLine:
    """An executor that does one attempt after the other, as `fate` has it."""

    slots = 2

    def __init__(self, fate):
        self.fate, self.begun, self.line = fate, [], []

    def start(self, attempt):
        self.begun.append(list(attempt.cells))
        self.line.append(attempt)

    def next(self):
        attempt = self.line.pop(0)
        return attempt, [self.fate(list(attempt.cells))]


def carried(fate, *stacks):
    executor = InLine(fate)
    found = list(carried_out(executor, stacks))
    kept = sorted(cell for done in found if isinstance(done, Part) for cell in done.cells)
    lost = sorted(cell for done in found if isinstance(done, Failed) for cell in done.cells)
    return executor.begun, kept, lost


def test_one_bad_network_is_found_by_halving_and_the_others_are_kept():
    def fate(cells):
        return Failed(cells, "bad", tries=2, divides=True) if 5 in cells else Part(cells, {})

    begun, kept, lost = carried(fate, list(range(8)))
    assert (kept, lost) == ([0, 1, 2, 3, 4, 6, 7], [5])
    assert begun[:4] == [[*range(8)], [*range(8)], [0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_dies_is_tried_as_often_as_chance_allows_and_never_divided():
    begun, kept, lost = carried(lambda cells: Failed(cells, "died", tries=3), [0, 1], [2])
    assert begun.count([0, 1]) == begun.count([2]) == 3
    assert (kept, lost) == ([], [0, 1, 2])


def test_an_accident_leaves_no_trace():
    seen = []

    def fate(cells):
        seen.append(tuple(cells))
        return Failed(cells, "died", tries=2) if seen.count((0, 1)) == 1 and cells == [0, 1] else Part(cells, {})

    begun, kept, lost = carried(fate, [0, 1], [2, 3])
    assert (kept, lost, len(begun)) == ([0, 1, 2, 3], [], 3)


def test_never_more_is_under_way_than_there_are_slots():
    executor = InLine(lambda cells: Part(cells, {}))
    taken = []
    stacks = (taken.append(number) or [number] for number in range(6))
    for finished, _ in enumerate(carried_out(executor, stacks), 1):
        assert len(taken) <= finished + executor.slots


def test_an_attempt_is_itself():
    assert Attempt([1]) != Attempt([1])


@pytest.mark.parametrize("engine", ["stacked", "reference"])
def test_the_network_at_fault_is_a_row_that_says_why(tmp_path, faulty, engine):
    faulty({0.3})
    runs = ib.run(study(), tmp_path, engine=engine).runs.set_index("lr")
    assert dict(runs.status) == {0.05: "finished", 0.1: "finished", 0.2: "finished", 0.3: "failed", 0.4: "finished"}
    assert runs.note[0.3].endswith("ArithmeticError: this rate is cursed")
    assert "test_executors.py" in runs.note[0.3]
    assert math.isnan(runs.test_loss[0.3])
    assert list(runs.note.drop(0.3)) == [""] * 4


def test_what_failed_is_tried_again_by_the_next_call_and_nothing_else(tmp_path, faulty):
    faulty({0.2, 0.3})
    broken = ib.run(study(), tmp_path)
    assert broken.manifest["failed"] == 2
    kept = {path: path.read_bytes() for path in tmp_path.glob("parts/*")}
    faulty(set())
    mended = ib.run(study(), tmp_path).runs
    assert set(mended.status) == {"finished"}
    assert all(path.read_bytes() == content for path, content in kept.items())
    whole = ib.run(study("sgd"), tmp_path.with_name("whole")).runs
    assert list(mended.test_loss) == pytest.approx(list(whole.test_loss), rel=1e-4)


def test_a_fault_by_chance_changes_nothing(tmp_path, faulty):
    faulty(set())
    whole = ib.run(study(), tmp_path / "whole").runs
    faulty({0.3}, times=1)
    again = ib.run(study(), tmp_path / "again").runs
    pd.testing.assert_frame_equal(untimed(whole), untimed(again), check_exact=True)


STUCK = """
import time, torch, initbench
@initbench.optimizer(name="stuck")
class Stuck(torch.optim.SGD):
    def step(self, closure=None):
        if any(group["lr"] == 0.3 for group in self.param_groups):
            WAIT
        return super().step(closure)
"""
WAYS = {"asleep": "time.sleep(1e6)", "at work": "\n            while True: torch.ones(9).sum()"}


@pytest.mark.parametrize("way", WAYS)
def test_a_stack_that_hangs_is_left_alone_and_the_program_ends(tmp_path, way):
    (tmp_path / "stuck.py").write_text(STUCK.replace("WAIT", WAYS[way]))
    command = [sys.executable, "-m", "initbench", "train-grid", "--plugin", "stuck.py", "--stack-timeout", "1.5",
               "--executor", "threads", "--no-figures", "--set", "optimizer=stuck", "--set", "lr=0.1,0.3", "--set",
               "depth=1", "--set", "steps=3", "--set", "init=he", "--set", "activation=relu", "--set", "momentum=0.0",
               "--set", "seeds=1"]  # fmt: skip
    start = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.endswith("runs failed: no end within 1.5 s; the same command tries them again\n")
    assert time.monotonic() - start < 100
    runs = pd.read_parquet(tmp_path / "results/digits/runs.parquet")
    assert set(runs.status) == {"failed"}


@pytest.mark.parametrize(("given", "message"), [
    ({"executor": "threds"}, "unknown executor 'threds'; did you mean 'threads'?"),
    ({"stack_timeout": 0.0}, "a stack's time must be above 0 seconds, not 0"),
    ({"stack_timeout": math.nan}, "a stack's time must be above 0 seconds, not nan"),
    ({"address": "auto"}, "an address is of a Ray cluster; give --executor ray with it"),
])  # fmt: skip
def test_what_cannot_be_is_one_line_and_writes_nothing(tmp_path, given, message):
    with pytest.raises(UsageError) as raised:
        ib.run(study("sgd"), tmp_path / "out", **given)
    assert str(raised.value) == message
    assert not (tmp_path / "out").exists()


def test_the_commands_options_are_what_hands_are_made_of():
    command = hands(lambda: None)
    assert [option.name for option in reversed(command.__click_params__)] == list(Hands.__dataclass_fields__)


HELD = """
import time
from initbench.grid.at_work import _alive_for
with _alive_for(0.5):
    pass
time.sleep(1)
print("alive", flush=True)
with _alive_for(0.5):
    time.sleep(60)
"""


def test_a_worker_ends_itself_when_its_time_is_over():
    """It lives on where it was in time."""
    done = subprocess.run([sys.executable, "-c", HELD], timeout=50, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("alive\n", -signal.SIGALRM)
