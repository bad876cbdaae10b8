"""Work in several threads: all of it, as soon as it is made, never more than asked; halted when the caller leaves."""

import subprocess
import sys
import threading
import time

import pytest
import torch

from initbench.grid.beside import Beside


def test_everything_is_made_once():
    with Beside(3) as beside:
        assert sorted(beside.results(lambda number: number**2, range(50))) == [number**2 for number in range(50)]


def test_items_are_taken_only_when_a_thread_is_free():
    taken, most = [], []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    with Beside(2) as beside:
        for made, _ in enumerate(beside.results(lambda number: number, items()), start=1):
            most.append(len(taken) - made)
    assert max(most) <= 2


def test_threads_share_torchs_threads_and_give_them_back():
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        with Beside(3) as beside:
            assert set(beside.results(lambda _: torch.get_num_threads(), range(6))) == {2}
        assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(before)


def test_an_error_comes_to_the_caller_and_halts_the_others():
    with Beside(2) as beside:
        started = threading.Event()

        def work(number):
            if number == 0:
                started.wait(10)
                raise ZeroDivisionError
            started.set()
            while not beside.halted():
                time.sleep(0.001)

        with pytest.raises(ZeroDivisionError):
            list(beside.results(work, range(2)))
        assert not beside.halted()
    assert beside.halted()


def test_what_is_in_line_at_the_end_is_never_begun():
    begun, go = [], threading.Event()

    def work(number):
        begun.append(number)
        go.wait(10)

    with Beside(1) as beside:
        for number in range(3):
            beside.start(work, number)
        while not begun:
            time.sleep(0.001)
        threading.Timer(0.1, go.set).start()
    assert begun == [0]


ENDS_WITHIN_CALLS = """
import time
import torch
from initbench.grid import beside

beside.GRACE = 2.0

def deaf(_):
    a = torch.zeros(1500, 1500)
    while True:
        a = torch.tanh(a @ a)

try:
    with beside.Beside(2) as hands:
        hands.start(deaf, 0)
        hands.start(deaf, 1)
        time.sleep(0.5)
        raise KeyboardInterrupt
except KeyboardInterrupt:
    raise SystemExit(1) from None
"""


def test_a_process_does_not_end_within_a_call_of_torch():
    """Where it did, C++ aborted it: "terminate called without an active exception", exit code -6."""
    done = subprocess.run([sys.executable, "-c", ENDS_WITHIN_CALLS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
