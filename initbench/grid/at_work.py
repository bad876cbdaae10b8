"""What a worker in another process does with a stack: as the driver said, or not at all."""

from __future__ import annotations

import atexit
import hashlib
import platform
import shutil
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initbench.core.cell import Cell
from initbench.core.errors import InitbenchError, UsageError, WorkError, require
from initbench.core.plugins import load, told
from initbench.datasets import Data
from initbench.engine import device as devices
from initbench.engine.timing import warm_up
from initbench.engine.training.trainer import Halted
from initbench.engine.tuning import Tuning
from initbench.grid import provenance
from initbench.grid.factors import SPECS
from initbench.grid.stacks import ENGINES, Done, Session, attempted
from initbench.grid.training import Job
from initbench.grid.training_plan import split_of
from initbench.recipe.samples import Split, split


@dataclass(frozen=True)
class Shared:
    """What all stacks of a run need, in a form that travels; two with the same token are the same."""

    token: str
    engine: str = field(compare=False)
    told: str = field(compare=False)
    """The device, as tables tell it."""
    device: str = field(compare=False)
    """Its type: which of a kind is the worker's own choice."""
    tuning: Tuning = field(compare=False)
    threads: int = field(compare=False)
    data: Mapping[str, Mapping[str, Any]] = field(compare=False)
    """The fields of `Data` by name, tensors as arrays: they are read where they lie, without a copy."""
    versions: Mapping[str, str] = field(compare=False)
    specs: Mapping[str, Sequence[str]] = field(compare=False)
    """By factor, those that a plug-in may have added."""
    plugins: Mapping[str, Any] = field(compare=False)
    """Of these specs, as `initbench.grid.provenance.plugins` tells them."""
    files: Mapping[str, bytes] = field(compare=False)
    """Path and content of the plug-ins' files, in the order in which they were loaded."""


def shared(job: Job, token: str, threads: int) -> Shared:
    """What the job's stacks need. Raises `UsageError` for a plug-in's file that is another by now."""
    specs = job.specs
    return Shared(
        token=token,
        engine=job.engine,
        told=devices.describe(job.device),
        device=job.device.type,
        tuning=job.tuning,
        threads=threads,
        data={name: _portable(data) for name, data in job.data.items()},
        versions=provenance.versions(),
        specs=specs,
        plugins=job.plugins,
        files=_files(specs),
    )


STARTED = None
"""The first thing that a worker whose time is taken tells: from then on it trains."""
GRACE = 2.0
"""Seconds beyond its time that a stack may take: what ends in them counts."""
YEARS = 1e8
"""Seconds: more than the kernel need be told."""


def train(shared: Shared, cells: Sequence[Cell]) -> list[Done]:
    """What became of `cells` here. Raises `WorkError` where this worker is not as the driver is."""
    return attempted(cells, *_ready(shared, cells))


def train_watched(shared: Shared, cells: Sequence[Cell], patience: float) -> Iterator[list[Done] | None]:
    """`STARTED`, and what `train` gives; this process dies where that takes much longer than `patience` seconds."""
    ready = _ready(shared, cells)
    yield STARTED
    with _alive_for(patience + GRACE):
        made = attempted(cells, *ready)
    yield made


def serve(line: Connection, shared: Shared) -> None:
    """A process's life: `train` what comes through `line`, until the driver hangs up.

    Sent back are `STARTED`, once it has what it needs, and what became of the stack.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to judge
    with suppress(EOFError, OSError, KeyboardInterrupt):  # the last is what training is halted by
        while True:
            cells = line.recv()
            made: Sequence[Done] | InitbenchError
            try:
                ready = _ready(shared, cells, line.poll)  # all that comes meanwhile is the end
                line.send(STARTED)
                made = attempted(cells, *ready)
            except InitbenchError as error:
                made = error
            except Exception as error:
                made = WorkError(f"a worker process cannot train: {told(error)}")
            line.send(made)


@contextmanager
def _alive_for(seconds: float) -> Iterator[None]:
    """The kernel ends this process unless the block is left in time, even one that hangs outside of Python.

    Nobody else could: one that ends a worker from outside may meet it when it has just begun something else.
    """
    signal.setitimer(signal.ITIMER_REAL, min(seconds, YEARS))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _ready(shared: Shared, cells: Sequence[Cell], halted: Halted = lambda: False) -> tuple[Split, Session]:
    _, session = _here(shared)
    return _split(shared, *split_of(cells[0])), replace(session, halted=halted)


def _portable(data: Data) -> dict[str, Any]:
    fields = {name: getattr(data, name) for name in Data.__dataclass_fields__}
    return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in fields.items()}


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _plugins(specs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return provenance.plugins({SPECS[name]: named for name, named in specs.items()})


def _files(specs: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    entries = [SPECS[name].entry(spec.partition("(")[0].strip()) for name, named in specs.items() for spec in named]
    origins = sorted({e.origin for e in entries if e.origin and e.origin.loading}, key=lambda origin: origin.loading)
    found = {}
    for origin in origins:
        found[origin.path] = Path(origin.path).read_bytes()
        changed = fingerprint(found[origin.path]) != origin.fingerprint
        require(not changed, f"the plug-in {origin.path} was changed since it was loaded; run the command again")
    return found


@lru_cache(maxsize=1)
def _here(shared: Shared) -> tuple[dict[str, Data], Session]:
    torch.set_num_threads(shared.threads)
    where = f"on {platform.node()}"
    versions = provenance.versions()
    for package, wanted in shared.versions.items():
        if versions[package] != wanted:
            raise WorkError(f"{package} is {versions[package]} {where} and {wanted} here; the numbers would differ")
    for path, content in shared.files.items():
        _load(path, content)
    try:
        same = _plugins(shared.specs) == shared.plugins
    except UsageError:
        same = False
    if not same:
        raise UsageError(
            f"a plug-in is not the same {where}: give its file with --plugin, or install its package there"
        )
    device = torch.device(shared.device)
    warm_up(device)
    with warnings.catch_warnings(action="ignore"):  # that they cannot be written: nobody does
        data = {name: Data(**{key: _tensor(v) for key, v in told.items()}) for name, told in shared.data.items()}
    return data, Session(shared.told, ENGINES[shared.engine], tuning=shared.tuning)


@lru_cache(maxsize=1)
def _split(shared: Shared, dataset: str, normalization: str, validation: float, seed: int) -> Split:
    data, _ = _here(shared)
    return split(data[dataset], normalization, validation, seed).to(torch.device(shared.device), torch.float32)


def _load(path: str, content: bytes) -> None:
    """Under a name that stays the same for the same file, so that a later version of it takes the place of this."""
    copy = Path(_folder(), fingerprint(path.encode()), Path(path).name)
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(content)
    load(copy)


@cache
def _folder() -> str:
    """This process's own, until it ends."""
    folder = mkdtemp(prefix="initbench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def fingerprint(content: bytes) -> str:
    """As `initbench.core.plugins.Origin` has it."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()
