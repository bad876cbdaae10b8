"""On a real Ray cluster of two nodes: what is killed or taken away on the way changes no number."""

import contextlib
import dataclasses
import functools
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock
from plugin_catalogues import program

from initbench.core.errors import UsageError
from initbench.grid.study import Study
from initbench.grid.training import prepare

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason='Ray is not installed: pip install "initbench[ray]"')

GRID = ["--set", "init=he", "--set", "activation=relu,tanh", "--set", "depth=1", "--set", "lr=0.1,0.01", "--set",
        "momentum=0.0", "--set", "optimizer=sgd", "--set", "steps=250", "--set", "seeds=4"]  # fmt: skip
FAULTS = """
import os, time, torch, initbench

def optimizer(name, fault):
    class Made(torch.optim.SGD):
        def step(self, closure=None):
            if any(group["lr"] == 0.3 for group in self.param_groups):
                fault()
            return super().step(closure)
    initbench.optimizer(name=name)(Made)

def faulty():
    raise ArithmeticError("cursed")

optimizer("healthy", lambda: None)
optimizer("faulty", faulty)
optimizer("deadly", lambda: os._exit(3))
optimizer("stuck", lambda: time.sleep(1e6))
"""


class Cluster:
    """A head and a second node on this machine, each of one core, with a token of their own."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        (folder / "token").write_text(secrets.token_hex(32))
        self.without_token = {**os.environ, "HOME": str(folder), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token"}
        self.environment = {**self.without_token, "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
        self.nodes = []
        self.add("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={folder}")
        self.add(f"--address={self.address}")

    def add(self, *arguments):
        """Start a node, and wait until it is one."""
        ray = [Path(sys.executable).with_name("ray"), "start", "--block", "--num-cpus=1", "--disable-usage-stats",
               "--object-store-memory=100000000", *arguments]  # fmt: skip
        with (self.folder / f"node{len(self.nodes)}.log").open("w") as log:
            node = subprocess.Popen(ray, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self.nodes.append(node)
        while "Ray runtime started" not in (self.folder / f"node{len(self.nodes) - 1}.log").read_text():
            assert self.nodes[-1].poll() is None, (self.folder / f"node{len(self.nodes) - 1}.log").read_text()
            time.sleep(0.1)

    def processes(self, title):
        """The pids of this cluster's processes whose command line has `title` in it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                ours = str(self.folder).encode() in path.with_name("environ").read_bytes()
                if ours and title.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def remove(self, number):
        """A node is gone, without a farewell."""
        raylets = self.processes("raylet/raylet")
        of_node = [pid for pid in raylets if _parent(pid) == self.nodes[number].pid]
        for pid in of_node:
            os.kill(pid, signal.SIGKILL)
        assert of_node

    def stop(self):
        """All of its processes, whatever became of them."""
        for node in reversed(self.nodes):
            node.terminate()
        for node in self.nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(10)
        for pid in self.processes(""):
            if pid != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(scope="module")
def cluster():
    with FileLock(Path(tempfile.gettempdir(), "initbench-test-ray.lock")):  # one at a time, whoever runs the tests
        folder = Path(tempfile.mkdtemp(prefix="ib", dir="/tmp"))  # short: a socket's path has 107 letters at most
        made = Cluster(folder)
        try:
            yield made
        finally:
            made.stop()
            shutil.rmtree(folder, ignore_errors=True)


def started(cluster, out, *options, environment=None):
    """The real program, in a process of its own."""
    # a shell's background job inherits that Ctrl-C is ignored; a user's terminal does not
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [sys.executable, "-m", "initbench", "train-grid", "--no-figures", "--out", out, *options],
        env=environment or cluster.environment, cwd=cluster.folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=listening,
    )  # fmt: skip


def ended(process, code=0):
    """What the program says on standard error; on the other, nothing of Ray's."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "raylet" not in out
    return err


def parts(out):
    return sorted(out.glob("parts/*.runs.parquet"))


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def untimed(out):
    runs = pd.read_parquet(out / "runs.parquet")
    return runs.drop(columns=[name for name in runs if name.endswith("seconds")])


def on(cluster):
    return ["--executor", "ray", "--address", cluster.address]


@pytest.fixture(scope="module")
def whole(cluster):
    """What one process gives."""
    ended(started(cluster, cluster.folder / "whole", *GRID, "--executor", "threads"))
    return untimed(cluster.folder / "whole")


def test_a_worker_killed_and_a_node_removed_leave_the_table_bit_for_bit(cluster, whole):
    out = cluster.folder / "broken"
    running = started(cluster, out, *GRID, *on(cluster))
    wait_for(lambda: parts(out) and cluster.processes("ray::train"), running)
    os.kill(cluster.processes("ray::train")[0], signal.SIGKILL)
    reached = len(parts(out))
    wait_for(lambda: len(parts(out)) > reached, running)
    cluster.remove(1)
    assert running.poll() is None
    assert ended(running) == ""
    pd.testing.assert_frame_equal(untimed(out), whole, check_exact=True)


def test_ctrl_c_keeps_what_is_done_and_threads_go_on_from_there(cluster, whole):
    out = cluster.folder / "halted"
    running = started(cluster, out, *GRID, *on(cluster))
    wait_for(lambda: parts(out), running)
    running.send_signal(signal.SIGINT)
    err = ended(running, 1)
    assert err == "Error: interrupted; what was finished is kept, and the same command goes on there\n"
    kept = {path: path.stat().st_mtime_ns for path in parts(out)}
    ended(started(cluster, out, *GRID, "--executor", "threads"))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    pd.testing.assert_frame_equal(untimed(out), whole, check_exact=True)


def test_ctrl_c_ends_the_stacks_under_way(cluster):
    endless = ["--set", "init=he", "--set", "activation=relu", "--set", "depth=1", "--set", "steps=100000000"]
    running = started(cluster, cluster.folder / "endless", *endless, *on(cluster))
    wait_for(lambda: cluster.processes("ray::train"), running)
    running.send_signal(signal.SIGINT)
    assert ended(running, 1).startswith("Error: interrupted")
    latest = time.monotonic() + 30
    while cluster.processes("ray::train"):
        assert time.monotonic() < latest, "a stack goes on though nobody waits for it"
        time.sleep(0.1)


def test_plugins_travel_and_what_dies_hangs_or_fails_is_told(cluster):
    (cluster.folder / "faults.py").write_text(FAULTS)
    out = cluster.folder / "faults"
    grid = ["--set", "init=he", "--set", "activation=relu", "--set", "depth=1", "--set", "lr=0.1,0.3", "--set",
            "seeds=1", "--set", "momentum=0.0", "--set", "nesterov=false", "--set", "steps=5", "--set",
            "batch_size=64", "--set", "optimizer=healthy,faulty,deadly,stuck"]  # fmt: skip
    running = started(cluster, out, *grid, *on(cluster), "--plugin", "faults.py", "--stack-timeout", "10")
    err = ended(running, 1)
    assert err.startswith("Error: 5 of 8 runs failed: ")
    runs = untimed(out).set_index(["optimizer", "lr"])
    status = runs.status.unstack()
    assert status.loc["healthy"].tolist() == ["finished", "finished"]
    assert status.loc["faulty"].tolist() == ["finished", "failed"]
    assert status.loc["deadly"].tolist() == status.loc["stuck"].tolist() == ["failed", "failed"]
    assert "ArithmeticError: cursed" in runs.note["faulty", 0.3]
    assert runs.note["deadly", 0.1] == "its worker process died"
    assert runs.note["stuck", 0.1] == "no end within 10 s"


def test_a_missing_token_is_named(cluster):
    running = started(cluster, cluster.folder / "tokenless", *GRID, *on(cluster), environment=cluster.without_token)
    assert ended(running, 1) == (
        f"Error: the Ray cluster {cluster.address} asks for a token, and the right one was not found here: put it into"
        " ~/.ray/auth_token or a file named by RAY_AUTH_TOKEN_PATH, and set RAY_AUTH_MODE=token\n")  # fmt: skip


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path):
    done = program("train-grid", *GRID, "--executor", "ray", "--address", "127.0.0.1:1", "--out", tmp_path / "out")
    told = "Error: there is no Ray cluster at 127.0.0.1:1: Connection refused\n"
    assert (done.exit_code, done.stderr, done.stdout) == (1, told, "")


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "initbench.grid.on_ray", raising=False)  # as in a process that has not loaded it
    monkeypatch.delattr("initbench.grid.on_ray", raising=False)
    done = program("train-grid", *GRID, "--executor", "ray", "--out", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (2, 'Error: ray is not installed here: pip install "initbench[ray]"\n')
    assert not (tmp_path / "out").exists()


def test_a_stack_on_a_gpu_asks_for_one_and_is_refused_where_none_is():
    from initbench.grid.on_ray import OnRay, joined

    job = prepare(Study(compare={"init": ["he"]}, fix={"depth": 1, "width": 8, "steps": 1}), device="cpu")
    here, there = OnRay(job), OnRay(dataclasses.replace(job, device=torch.device("cuda")))
    (stack,) = job.plan.stacks
    on_cpu, on_gpu = (executor._resources(stack) for executor in (here, there))
    assert (on_cpu["num_gpus"], on_gpu["num_gpus"], on_gpu["num_cpus"]) == (0, 1, 1)
    assert on_gpu["memory"] <= on_cpu["memory"]  # the networks are in the GPU's
    with joined(None, 2):
        here._require_room()
        with pytest.raises(UsageError, match="a stack asks for 1 CPU, 1 GPU and"):
            there._require_room()


def test_stacks_that_ask_for_a_gpu_train_one_after_the_other_where_a_node_has_one(tmp_path, monkeypatch):
    """A GPU that Ray counts and torch does not see: what is asked for is a GPU stack's, and the work is a CPU's."""
    import ray

    import initbench as ib
    from initbench.grid import on_ray

    study = Study(compare={"init": ["he"], "width": [8, 9, 10, 11]}, fix={"depth": 1, "steps": 20}, seeds=2)
    whole = ib.run(study, tmp_path / "whole", executor="threads").runs
    asked = on_ray.OnRay._resources
    slots = []

    def as_on_gpu(self, cells):
        there = on_ray.OnRay(dataclasses.replace(self._job, device=torch.device("cuda")))
        return asked(there, cells)

    def noted(shared, cells, folder=str(tmp_path)):
        from initbench.grid.at_work import train

        began = time.monotonic()
        made = train(shared, cells)
        with open(f"{folder}/{began}.task", "w") as file:
            file.write(f"{time.monotonic()} {ray.get_gpu_ids()} {os.environ['CUDA_VISIBLE_DEVICES']}")
        return made

    def counted(self, attempt, start=on_ray.OnRay.start):
        slots.append(self.slots)
        start(self, attempt)

    monkeypatch.setattr(on_ray.OnRay, "_resources", as_on_gpu)
    monkeypatch.setattr(on_ray.OnRay, "start", counted)
    monkeypatch.setattr(on_ray, "train", noted)
    with on_ray._quiet():
        ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        found = ib.run(study, tmp_path / "out", executor="ray").runs
    finally:
        ray.shutdown()
    times = [name for name in whole if name.endswith("seconds")]
    pd.testing.assert_frame_equal(found.drop(columns=times), whole.drop(columns=times), check_exact=True)
    assert set(slots) == {on_ray.AHEAD}  # times one GPU, whatever the cores
    tasks = sorted((float(path.stem), path.read_text().split(maxsplit=1)) for path in tmp_path.glob("*.task"))
    assert len(tasks) == 8
    assert {told for _, (_, told) in tasks} == {"[0] 0"}  # the GPU's number, and what a worker's torch would see
    assert all(float(end) <= later for (_, (end, _)), (later, _) in itertools.pairwise(tasks))
