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
