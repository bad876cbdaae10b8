"""Updates as CUDA graphs, without a GPU: a recording on the CPU that has a graph's laws takes the graph's place.

Nothing is computed while it records; a replay repeats every operation on the same memory, with Python's numbers as
they were; and whoever looks at a number meanwhile is refused, as CUDA refuses what would wait for it.
"""

import sys
import warnings
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from initbench.core.cell import Cell
from initbench.datasets import DATASETS
from initbench.engine.training.captured import EAGER, Captured
from initbench.engine.training.trainer import Trainer
from initbench.engine.tuning import UNTUNED
from initbench.recipe import OPTIMIZERS
from initbench.recipe.optimizers import Optimizer
from initbench.recipe.samples import split

SMALL = {"data_seed": 0, "width": 16, "depth": 3, "batch_size": 32}


class Recording(TorchDispatchMode):
    """Stands for `torch.cuda.CUDAGraph`."""

    made: ClassVar[list["Recording"]] = []

    def __init__(self):
        super().__init__()
        self.operations, self.before, self.replays = [], [], 0
        self.made.append(self)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError(f"operation not permitted when stream is capturing: {function}")
        schema = function._schema
        given = [*args, *(kwargs[each.name] for each in schema.arguments[len(args) :] if each.name in kwargs)]
        named = [*schema.arguments[: len(args)], *(e for e in schema.arguments[len(args) :] if e.name in kwargs)]
        for argument, value in zip(named, given, strict=True):
            if argument.alias_info and argument.alias_info.is_write:
                self.before += [(each, each.clone()) for each in tensors(value)]
        if function == torch.ops.aten.native_batch_norm.default:  # its schema does not tell of the running moments
            self.before += [(each, each.clone()) for each in args[3:5]]
        found = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, found))
        return found

    def undo(self):
        """Of what was computed to record it, nothing is left."""
        for tensor, value in reversed(self.before):
            tensor.copy_(value)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, args, kwargs, found in self.operations:
            memory = {each.untyped_storage().data_ptr() for each in tensors((args, kwargs))}
            of_view = any(each.untyped_storage().data_ptr() in memory for each in tensors(found))
            if function._schema.is_mutable:
                function(*args, **kwargs)
            elif not of_view and "empty" not in function.name():
                for old, new in zip(tensors(found), tensors(function(*args, **kwargs)), strict=True):
                    old.copy_(new)


def tensors(tree):
    return [each for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]


@contextmanager
def record(recording, stream, capture_error_mode):
    """Stands for `torch.cuda.graph`."""
    assert capture_error_mode == "thread_local"
    try:
        with recording:
            yield
    finally:
        recording.undo()


@pytest.fixture
def cuda(monkeypatch):
    """What `Captured` calls of CUDA; the optimizers are those for a GPU."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(Recording, "made", [])
    for name, stand_in in {
        "CUDAGraph": Recording,
        "graph": record,
        "Stream": lambda device: stream,
        "current_stream": lambda device: stream,
        "stream": lambda stream: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    over = Optimizer.over

    def on_gpu(self, groups, device=None):
        made = over(self, groups, device and torch.device("cuda"))
        for group in made.param_groups:  # what torch chooses there
            group["foreach"] = device is not None and not group.get("fused")
        return made

    monkeypatch.setattr(Optimizer, "over", on_gpu)
    for name in ("adam", "nadam", "rmsprop"):
        module = sys.modules[f"torch.optim.{name}"]  # torch.optim deletes these names of its own
        monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"])


def digits(device="cpu"):
    return split(DATASETS.make("digits").load(None, False), "standardize", 0.2, 0).to(
        torch.device(device), torch.float32
    )


def trained(cells, captured):
    """The outcomes, one by one or by recordings."""
    with torch.no_grad():
        trainer = Trainer(cells, digits(), None, UNTUNED, lambda: False)
        if captured:
            assert trainer._updates.capturable
            trainer._unobserved = Captured(trainer._step, trainer._noise, trainer._updates, torch.device("cpu"))
        return trainer.run(SimpleNamespace(lap=lambda phase: nullcontext()))


def agree(cells, sizes=1):
    """Both ways give the same, by as many recordings as there are sizes of minibatches."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there = trained(cells, captured=True)
    assert len(Recording.made) == sizes
    assert all(recording.replays > 2 for recording in Recording.made)
    for one, other in zip(trained(cells, captured=False), there, strict=True):
        assert (one.status, one.diverged_at, one.stopped_at) == (other.status, other.diverged_at, other.stopped_at)
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4, abs=1e-6, nan_ok=True)
        for here, replayed in zip(one.curves + one.layer_curves, other.curves + other.layer_curves, strict=True):
            assert here == pytest.approx(replayed, rel=1e-3, abs=1e-6, nan_ok=True)


CAPTURABLE = [entry.name for entry in OPTIMIZERS if OPTIMIZERS.make(entry.name).capturable]


@pytest.mark.parametrize(("optimizer", "schedule"), [*((each, "cosine") for each in CAPTURABLE), ("adam", "constant"),
                                                     ("sgd", "step"), ("sgd", "warmup")])  # fmt: skip
def test_an_update_replayed_is_the_update(cuda, optimizer, schedule):
    agree([Cell(optimizer=optimizer, schedule=schedule, steps=12, lr=lr, momentum=momentum, nesterov=momentum > 0,
                weight_decay=0.01, **SMALL) for lr in (0.02, 0.005) for momentum in (0.0, 0.9)])  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"regularizers": (("dropout", 0.4),)},
        {"regularizers": (("stochastic_depth", 0.5),), "residual": True},
        {"regularizers": (("mixup", 0.4), ("cutout", 0.4))},
        {"regularizers": (("l1", 1e-3), ("l2", 1e-3), ("label_smoothing", 0.1))},
        {"batch_norm": True},
        {"clip_norm": 0.5},
        {"loss": "mean_squared_error", "activation": "gelu"},
        {"record_every": 3, "early_stopping": 1, "lr": 0.9},
        {"record_every": 4, "schedule": "plateau(patience=0)", "optimizer": "adam", "lr": 0.1},
    ],
    ids=str,
)
def test_what_changes_from_step_to_step_reaches_a_replay(cuda, fields):
    agree([Cell(**{"steps": 14, "lr": 0.1, "seed": seed, **SMALL, **fields}) for seed in (0, 1)])


def test_a_shorter_last_minibatch_has_a_recording_of_its_own(cuda):
    agree([Cell(epochs=8, optimizer="adam", regularizers=(("dropout", 0.2),), **SMALL | {"batch_size": 500})], sizes=2)


def test_the_update_that_diverged_is_counted_on(cuda):
    cells = [Cell(activation="identity", loss="mean_squared_error", steps=12, lr=lr, **SMALL) for lr in (0.001, 0.03)]
    agree(cells)
    (finished, diverged) = trained(cells, captured=True)
    assert finished.status == "finished"
    assert diverged.diverged_at > EAGER + 1


def test_what_looks_at_a_number_goes_on_kernel_by_kernel(cuda, monkeypatch):
    cells = [Cell(steps=12, **SMALL)]
    here = trained(cells, captured=False)
    real = Trainer._penalties
    monkeypatch.setattr(
        Trainer, "_penalties", lambda self: real(self) + 0 * float(self._network.weights[0].detach().sum())
    )
    with pytest.warns(UserWarning, match="kernel by kernel.*not permitted when stream is capturing"):
        there = trained(cells, captured=True)
    assert [one.metrics for one in here] == [other.metrics for other in there]


def test_running_out_of_memory_in_a_capture_is_for_the_caller_who_halves_the_stack(cuda, monkeypatch):
    @contextmanager
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(torch.cuda, "graph", full)
    with pytest.raises(torch.OutOfMemoryError):
        trained([Cell(steps=EAGER + 1, **SMALL)], captured=True)


@pytest.mark.parametrize("optimizer", [entry.name for entry in OPTIMIZERS])
def test_all_of_an_update_is_on_the_device_of_the_data(monkeypatch, optimizer):
    """By torch's device without memory, which refuses to compute with the CPU's tensors, and to tell a number."""
    over = Optimizer.over
    monkeypatch.setattr(Optimizer, "over", lambda self, groups, device=None: over(self, groups))
    regularizers = ("l1", "l2", "dropout", "stochastic_depth", "label_smoothing", "mixup", "cutout")
    cells = [Cell(optimizer=optimizer, batch_norm=True, residual=True, clip_norm=1.0, weight_decay=0.1, seed=seed,
                  regularizers=tuple((name, 0.2) for name in regularizers), **SMALL) for seed in (0, 1)]  # fmt: skip
    trainer = Trainer(cells, digits("meta"), None, UNTUNED, lambda: False)
    batches = trainer._minibatches()
    for step in range(1, 4):
        trainer._update(step, batches, recorded=False)
