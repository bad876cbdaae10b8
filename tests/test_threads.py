"""Theory runs on one thread, and leaves torch's and numpy's threads as it found them."""

from threading import Barrier, Event, Thread

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import initbench as ib
from initbench.core.threads import one_thread
from initbench.theory import infinite_width


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with threadpool_limits(3, "blas"):
        yield
    torch.set_num_threads(before)


def threads_of_numpy():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@one_thread()
def counted_and_failed():
    assert torch.get_num_threads() == 1
    assert threads_of_numpy() == {1}
    raise ZeroDivisionError


@pytest.mark.usefixtures("three_threads")
def test_threads_are_given_back_whatever_happens():
    with pytest.raises(ZeroDivisionError):
        counted_and_failed()
    assert torch.get_num_threads() == 3
    assert threads_of_numpy() == {3}


@pytest.mark.usefixtures("three_threads")
def test_calls_of_several_threads_give_the_threads_back():
    """Numpy's threads are the process's: the last to end must not keep what it found, the limit of the first."""
    inside, first_done = Barrier(2), Event()

    def first():
        with one_thread():
            inside.wait(20)
        first_done.set()

    thread = Thread(target=first)
    thread.start()
    with one_thread():
        inside.wait(20)
        assert first_done.wait(20)
    thread.join()
    assert torch.get_num_threads() == 3
    assert threads_of_numpy() == {3}


@pytest.mark.usefixtures("three_threads")
def test_predictions_are_made_on_one_thread(monkeypatch):
    seen, moments = [], infinite_width.moments

    def watched(*given):
        seen.append(torch.get_num_threads())
        return moments(*given)

    monkeypatch.setattr(infinite_width, "moments", watched)
    ib.predict(init="he", activation="relu", depth=2, width=8)
    assert seen
    assert set(seen) == {1}
    assert torch.get_num_threads() == 3
