"""Memory that really runs out, by a limit of the system: the stack is halved, goes on, and that is recorded."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch

import initbench as ib
from initbench.core.cell import Cell
from initbench.core.plugins import blamed
from initbench.engine import device as devices
from initbench.grid.stacks import Engine, Failed, Session, trained
from initbench.recipe import OPTIMIZERS

RATES = [0.1 / (1 + n) for n in range(8)]
"""So few networks are one stack, whatever the tuning."""


def study(rates=RATES, width=1024):
    fix = {"depth": 3, "width": width, "steps": 2, "batch_size": 64, "activation": "relu"}
    return ib.Study(compare={"lr": rates}, fix=fix, seeds=1)


LIMITED = f"""
import resource, sys
import initbench as ib
from test_memory_limit import study
ib.run(study([0.1], width=8), sys.argv[1] + "-first", device="cpu")  # what is loaded and begun once
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {200 * 2**20},) * 2)
ib.run(study(), sys.argv[1], device="cpu")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits a process's address space")
def test_a_stack_that_does_not_fit_is_trained_in_parts_and_the_table_says_so(tmp_path):
    free = ib.run(study(), tmp_path / "free", device="cpu").runs
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "tight")], cwd=Path(__file__).parent,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    tight = pd.read_parquet(tmp_path / "tight/runs.parquet")
    assert set(free.stack_size) == {8}
    assert set(tight.status) == {"finished"}
    assert set(tight.stack_size) <= {1, 2, 4}
    torch.testing.assert_close(torch.tensor(tight.test_loss), torch.tensor(free.test_loss), rtol=1e-4, atol=0)


class LookalikeError(ValueError):
    """Words of memory, of an error that has nothing to do with it."""


WORDS = {
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12": True,
    "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.": True,
    "std::bad_alloc": True,
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": True,
    "this optimizer's history is out of memory slots": False,
    "mat1 and mat2 shapes cannot be multiplied": False,
}
RAN_OUT = [words for words, memory in WORDS.items() if memory]


def halved(error):
    """The sizes of stacks that are tried where each raises `error`."""
    tried = []

    def engine(cells, *_):
        tried.append(len(cells))
        raise error

    class Data:
        train = type("Samples", (), {"images": torch.zeros(1)})

    session = Session(devices.describe(torch.device("cpu")), Engine(engine))
    done = trained([Cell(seed=seed) for seed in range(2)], Data, session)
    assert all(isinstance(each, Failed) and each.reason == "out of memory" for each in done)
    return tried


@pytest.mark.parametrize("words", RAN_OUT)
def test_what_torch_says_of_memory_halves(words):
    assert halved(RuntimeError(words)) == [2, 1, 1]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")], ids=["python", "cuda"])
def test_errors_of_memory_by_type_halve(error):
    assert halved(error) == [2, 1, 1]


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), *map(RuntimeError, RAN_OUT)],
)
def test_memory_that_runs_out_in_an_optimizer_or_in_a_users_code_is_not_their_fault(error, monkeypatch):
    """An optimizer's first step is where a stack takes the most."""
    step = Mock(side_effect=error)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    optimizer = OPTIMIZERS.make("adam")
    made = optimizer.over([{"params": [torch.zeros(1)], "lr": 0.1}])
    with pytest.raises(type(error)) as raised:
        optimizer.step(made)
    assert raised.value is error
    assert halved(raised.value) == [2, 1, 1]
    with pytest.raises(type(error)), blamed("activation 'mine'", step):
        step()


@pytest.mark.parametrize("words", [words for words, memory in WORDS.items() if not memory])
def test_other_errors_are_not_taken_for_it(words):
    with pytest.raises(RuntimeError, match=words):
        halved(RuntimeError(words))


def test_neither_is_another_type_with_its_words():
    with pytest.raises(LookalikeError):
        halved(LookalikeError("std::bad_alloc"))
