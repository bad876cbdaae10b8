"""The stopwatch, by a clock that is made up."""

import itertools

import pytest
import torch

from initbench.engine.timing import Stopwatch, Untimed

CPU = torch.device("cpu")


def test_every_sample_is_kept_by_phase():
    watch = Stopwatch(CPU, clock=itertools.accumulate([0.0, 1.0, 10.0, 2.0, 10.0, 4.0]).__next__)
    for phase in ("training", "evaluation", "training"):
        with watch.lap(phase):
            pass
    assert watch.samples == {"training": [1.0, 4.0], "evaluation": [2.0]}
    assert watch.seconds("training") == 5.0
    assert watch.seconds("never") == 0


def test_laps_may_stand_in_laps():
    watch = Stopwatch(CPU, clock=itertools.count().__next__)
    with watch.lap("whole"), watch.lap("part"):
        pass
    assert watch.seconds("whole") == 3
    assert watch.seconds("part") == 1


def test_an_untimed_watch_keeps_nothing():
    watch = Untimed(CPU)
    with watch.lap("training"):
        pass
    assert watch.samples == {}


def test_an_error_inside_goes_through():
    watch = Stopwatch(CPU)
    with pytest.raises(ZeroDivisionError), watch.lap("training"):
        1 / 0  # noqa: B018


def test_on_a_gpu_events_are_recorded_around_the_work_and_read_after_it_is_done(monkeypatch):
    """The order of calls, by a GPU that is made up; tests/test_cuda.py asks a real one."""
    calls = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing
            self.number = sum(call == "made" for call in calls)
            calls.append("made")

        def record(self, stream):
            assert stream == "current on cuda:1"  # whatever the thread's device is
            calls.append(f"record {self.number}")

        def elapsed_time(self, other):
            calls.append(f"read {self.number} {other.number}")
            return 1500.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"current on {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append(f"wait for {device}"))
    watch = Stopwatch(torch.device("cuda", 1))
    for _ in range(2):
        with watch.lap("training"):
            calls.append("work")
    assert watch.samples == {"training": [1.5, 1.5]}
    lap = ["made", "made"]
    assert calls == [*lap, "record 0", "work", "record 1", *lap, "record 2", "work", "record 3", "wait for cuda:1",
                     "read 0 1", "read 2 3"]  # fmt: skip
    assert watch.seconds("training") == 3.0
    assert calls.count("wait for cuda:1") == 1
