"""Stacks in processes of this machine: the same numbers, and what becomes of one that dies, hangs or is left alone."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from plugin_catalogues import lent_catalogues, program
from torture.program import is_at_work

import initbench as ib
from initbench.cli import main
from initbench.core.errors import UsageError, WorkError
from initbench.engine.timing import Stopwatch
from initbench.grid import executors, first_copy, on_processes, training
from initbench.grid.executors import Hands, executor_of
from initbench.grid.training import prepare

GRID = ["train-grid", "--no-figures", "--executor", "processes", "--set", "depth=1", "--set", "init=he", "--set",
        "activation=relu", "--set", "momentum=0.0", "--set", "seeds=2"]  # fmt: skip


@pytest.fixture(autouse=True)
def two_cores():
    """As many workers, whatever this process was given."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def study(**fixed):
    fix = {"steps": 20, "width": 8, "record_every": 10, **fixed}
    return ib.Study(compare={"init": ["he", "orthogonal"], "depth": [1, 2], "lr": [0.1, 0.01]}, fix=fix, seeds=2)


def untimed(results):
    tables = (results.runs, results.curves)
    return [table.drop(columns=[name for name in table if name.endswith("seconds")]) for table in tables]


def same(one, other):
    for left, right in zip(untimed(one), untimed(other), strict=True):
        pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.fixture(scope="module")
def on_threads(tmp_path_factory):
    torch.set_num_threads(2)
    return ib.run(study(), tmp_path_factory.mktemp("threads") / "out", executor="threads")


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_the_tables_are_those_of_threads_bit_for_bit(tmp_path, on_threads, monkeypatch):
    seen = set()
    real = on_processes.Processes.next

    def watched(self):
        seen.update(worker.process.pid for worker in self._workers)
        return real(self)

    monkeypatch.setattr(on_processes.Processes, "next", watched)
    same(ib.run(study(), tmp_path / "out", executor="processes"), on_threads)
    assert len(seen) == 2
    assert os.getpid() not in seen
    assert not any(map(is_at_work, seen))


def test_a_worker_that_is_killed_with_a_stack_in_hand_changes_nothing(tmp_path, on_threads, monkeypatch):
    killed = []
    real = on_processes.Processes.start

    def start(self, attempt):
        real(self, attempt)
        if len(killed) < 2:
            worker = next(worker for worker in self._workers if worker.attempt is attempt)
            killed.append(worker.process.pid)
            os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(on_processes.Processes, "start", start)
    same(ib.run(study(), tmp_path / "out", executor="processes"), on_threads)
    assert len(set(killed)) == 2


FAULTY = """
import os, signal, time, torch, initbench
@initbench.optimizer(name="faulty")
class Faulty(torch.optim.SGD):
    def step(self, closure=None):
        if any(group["lr"] == 0.3 for group in self.param_groups):
            FAULT
        return super().step(closure)
"""


def called(folder, *arguments, fault="pass", loading="pass"):
    """The program, in this process, with a user's plug-in: `loading` is what its file does in a worker."""
    apart = f"import os, time\nif os.getpid() != {os.getpid()}: {loading}\n"
    (folder / "faulty.py").write_text(apart + FAULTY.replace("FAULT", fault))
    with lent_catalogues(), contextlib.chdir(folder):
        done = program(*GRID, "--plugin=faulty.py", "--set=optimizer=faulty", "--set=lr=0.1,0.3", *arguments)
    return done, pd.read_parquet(folder / "results/digits/runs.parquet").set_index("lr")


def test_the_network_that_kills_its_process_is_found_and_told(tmp_path):
    """The plug-in's file goes with the work: the other networks are trained."""
    done, runs = called(tmp_path, "--set", "steps=3", fault="os.kill(os.getpid(), signal.SIGKILL)")
    assert set(runs.status[0.1]) == {"finished"}
    assert set(runs.status[0.3]) == {"failed"}
    assert set(runs.note[0.3]) == {"its worker process died"}
    half = len(runs) // 2
    assert done.stderr.endswith(
        f"Error: {half} of {2 * half} runs failed: its worker process died; the same command tries them again\n"
    )
    assert done.exit_code == 1


def test_a_stack_that_hangs_is_ended_with_its_process(tmp_path):
    start = time.monotonic()
    hangs = "print(os.getpid(), file=open('pid', 'a')) or time.sleep(1e6)"
    done, runs = called(tmp_path, "--set", "steps=3", "--stack-timeout", "1.5", fault=hangs)
    assert "runs failed: no end within 1.5 s; the same command tries them again" in done.stderr
    assert done.exit_code == 1
    assert set(runs.note[0.3]) == {"no end within 1.5 s"}
    assert time.monotonic() - start < 150
    pids = (tmp_path / "pid").read_text().split()
    assert pids
    assert not any(map(is_at_work, pids))


def test_what_a_worker_needs_before_it_trains_is_not_the_stacks_time(tmp_path):
    """Its plug-in takes longer to load than a stack may take: every network is trained all the same."""
    done, runs = called(tmp_path, "--set=steps=3", "--stack-timeout=2", loading="time.sleep(2.5)")
    assert done.exit_code == 0, done.stderr
    assert set(runs.status) == {"finished"}


def test_a_plugin_without_a_file_is_refused_in_one_line(tmp_path):
    with lent_catalogues():
        ib.optimizer(name="typed")(torch.optim.SGD)
        with pytest.raises(UsageError, match=r"a plug-in is not the same on .*: give its file with --plugin"):
            ib.run(study(optimizer="typed"), tmp_path / "out", executor="processes")


SCRIPT = """
import os
print("begun", flush=True)
import initbench as ib
study = ib.Study(compare={"lr": [0.1, 0.01]}, fix={"steps": 5}, seeds=2)
print(len(ib.run(study, "out", executor="processes").runs), flush=True)
"""


def test_a_script_needs_no_guard_and_runs_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr) == ("begun\n4\n", "")


@pytest.mark.parametrize(("how", "code", "told"), [
    (signal.SIGKILL, -signal.SIGKILL, ""),
    (signal.SIGINT, 1, "Error: interrupted; what was finished is kept, and the same command goes on there\n"),
], ids=["SIGKILL", "SIGINT"])  # fmt: skip
def test_no_worker_outlives_the_program(tmp_path, how, code, told):
    """Ctrl-C goes to all processes of the terminal, kill -9 to one."""
    workers = tmp_path / "workers"
    workers.mkdir()
    noted = f"os.path.exists(p := {str(workers)!r} + '/' + str(os.getpid())) or open(p, 'w').close()"
    (tmp_path / "noting.py").write_text(FAULTY.replace("if any", "if 1 or any").replace("FAULT", noted))
    command = [sys.executable, "-m", "initbench", *GRID, "--plugin", "noting.py", "--set", "optimizer=faulty", "--set",
               "lr=0.1", "--set", "steps=200000"]  # fmt: skip
    listening = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "2"}, start_new_session=True,
                          preexec_fn=listening) as process:  # fmt: skip
        # trying the optimizer out is the program's own
        until(lambda: len([each for each in workers.iterdir() if each.name != str(process.pid)]) == 2)
        pids = [each.name for each in workers.iterdir()]
        if how == signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, re.sub(r"^(runs|Note).*\n", "", said, flags=re.MULTILINE)) == (code, told)
    until(lambda: not any(map(is_at_work, pids)), 20)


def test_a_process_that_cannot_begin_is_one_line(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(on_processes.multiprocessing.get_context(first_copy.METHOD).Process, "start", fails)
    with pytest.raises(WorkError, match=r"^cannot start a process to train in: .*Resource temporarily unavailable$"):
        ib.run(study(), tmp_path / "out", executor="processes")


def test_a_gpu_is_refused():
    job = replace(prepare(study(), hands=Hands("processes")), device=torch.device("cuda"))
    with pytest.raises(UsageError, match="a GPU trains one stack at a time; give --executor threads"):
        executor_of(job, None)


@pytest.mark.parametrize(("options", "profile", "message"), [
    ({"address": "auto"}, None, "an address is of a Ray cluster; give --executor ray with it"),
    ({}, Stopwatch(torch.device("cpu")), "where the time goes is measured in this process alone"),
])  # fmt: skip
def test_what_cannot_be_is_refused(options, profile, message):
    job = prepare(study(), hands=Hands("processes", **options))
    with pytest.raises(UsageError, match=message):
        executor_of(job, profile)


def chosen(of, profile=None, begun=False):
    """Whom `auto` takes for this study, with two workers."""
    return executors.chosen(prepare(of), profile, begun)


LONG = {"compare": {"depth": [1, 20], "lr": [0.1, 0.01]}, "seeds": 20}


def test_auto_takes_processes_where_calls_are_much_of_much_work():
    small = ib.Study(**LONG, fix={"width": 20, "steps": 200})
    assert chosen(small) == "processes"
    assert chosen(small, Stopwatch(torch.device("cpu"))) == "threads"
    short = ib.Study(**LONG, fix={"width": 20, "steps": 20})
    assert (chosen(short), chosen(short, begun=True)) == ("threads", "processes")  # over before they have begun, or not
    assert chosen(ib.Study(**LONG, fix={"width": 20, "steps": 1}), begun=True) == "threads"
    assert chosen(ib.Study(compare={"lr": [0.1, 0.01]}, fix={"depth": 20, "steps": 10_000}, seeds=1)) == "threads"
    assert chosen(ib.Study(**LONG, fix={"width": 2000, "steps": 200, "batch_size": 1000})) == "threads"  # products
    torch.set_num_threads(1)
    assert chosen(small) == "threads"


@pytest.mark.parametrize(("arguments", "cores", "begins"), [
    (["train-grid"], 2, True),
    (["train-grid", "--executor", "processes"], 2, True),
    (["train-grid", "--executor", "threads"], 2, False),
    (["train-grid", "--dry-run"], 2, False),
    (["train-grid", "--device", "cuda:0"], 2, False),
    (["train-grid"], 1, False),
    (["run"], 2, True),
    (["run", "--executor", "ray"], 2, False),
])  # fmt: skip
def test_the_first_copy_begins_ahead_of_all_where_processes_may_train(monkeypatch, arguments, cores, begins):
    begun = []
    monkeypatch.setattr(first_copy, "begin", lambda: begun.append(True))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert CliRunner().invoke(main, [*arguments, "no_such_study.toml"]).exit_code == 2
    assert bool(begun) == begins


def test_the_first_copy_loads_what_workers_run():
    """By name, and what it cannot load it passes over in silence."""
    assert first_copy.LOADED[0] == on_processes.serve.__module__


def test_who_trains_asks_whether_the_first_copy_is_there(monkeypatch):
    short = prepare(ib.Study(**LONG, fix={"width": 20, "steps": 20}))
    for there, who in ((False, "threads"), (True, "processes")):
        monkeypatch.setattr(first_copy, "_begun", there)
        assert executors.chosen(short) == who


def test_auto_keeps_plugins_and_large_data_in_this_process(monkeypatch):
    small = ib.Study(**LONG, fix={"width": 20, "steps": 200})
    with lent_catalogues():
        ib.optimizer(name="typed")(torch.optim.SGD)
        assert chosen(ib.Study(**LONG, fix={"width": 20, "steps": 200, "optimizer": "typed"})) == "threads"
    monkeypatch.setattr(executors, "COPIED", 2**20 * 0.5)
    assert chosen(small) == "threads"
    assert training.HERE.executor == "auto"
