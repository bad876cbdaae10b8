"""Updates as CUDA graphs, without a GPU: a recording on the CPU that has a graph's laws takes the graph's place.

Nothing is computed while it records; a replay repeats every operation on the same memory, with Python's numbers as
they were; and whoever looks at a number meanwhile is refused, as CUDA refuses what would wait for it.
"""

import gc
import sys
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.datasets import DATASETS
from initbench.engine.training import captured as capturing
from initbench.engine.training.captured import EAGER, Captured, _Watch
from initbench.engine.training.trainer import Trainer
from initbench.engine.tuning import UNTUNED
from initbench.recipe import LOSSES, OPTIMIZERS
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


class Streams:
    """Stand for the default stream, and those that are made; one is current."""

    def __init__(self):
        self.default = self.current = self.made()

    def made(self, device=None):
        return SimpleNamespace(wait_stream=lambda other: None)

    @contextmanager
    def within(self, stream):
        """Stands for `torch.cuda.stream`."""
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, recording, pool, stream, capture_error_mode):
        """Stands for `torch.cuda.graph`, which leaves its stream current where what is captured is refused."""
        assert capture_error_mode == "thread_local"
        assert pool == "pool"
        before, self.current = self.current, stream
        try:
            with recording:
                yield
            self.current = before
        finally:
            recording.undo()


@pytest.fixture
def cuda(monkeypatch):
    """What `Captured` calls of CUDA; the optimizers are those for a GPU. The streams."""
    streams = Streams()
    monkeypatch.setattr(Recording, "made", [])
    for name, stand_in in {
        "CUDAGraph": Recording,
        "graph": streams.graph,
        "graph_pool_handle": lambda: "pool",
        "Stream": streams.made,
        "current_stream": lambda device: streams.current,
        "stream": streams.within,
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
    return streams


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
            trainer._captured = Captured(trainer._noise, trainer._updates, torch.device("cpu"))
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


NOISY = Cell(steps=12, schedule="cosine", regularizers=(("dropout", 0.3),), **SMALL)


def looking(monkeypatch, look):
    """Updates that do this once more."""
    real = Trainer._penalties
    monkeypatch.setattr(
        Trainer, "_penalties", lambda self: real(self) + 0 * look(self._network.weights[0].detach().flatten()).sum()
    )


@pytest.mark.parametrize(
    ("look", "told"),
    {
        lambda w: w * float(w.sum()): "_local_scalar_dense.*waits",
        lambda w: w if w.sum() > 0 else w + 1: "_local_scalar_dense.*waits",
        lambda w: w[w > 0]: "index.Tensor waits",
        lambda w: w.nonzero().double(): "nonzero.default waits",
    }.items(),
)
def test_what_looks_at_a_number_is_not_captured(cuda, monkeypatch, look, told):
    """A capture that CUDA breaks off harms torch's allocator for good: it is not begun."""
    here = trained([NOISY], captured=False)
    looking(monkeypatch, look)
    with pytest.warns(UserWarning, match=f"kernel by kernel: no CUDA graph: .*{told}"):
        there = trained([NOISY], captured=True)
    assert Recording.made == []
    assert [one.metrics for one in here] == [other.metrics for other in there]


@pytest.mark.parametrize(
    ("look", "refused"),
    {
        torch.ops.aten.lift_fresh: "lift_fresh",  # as torch.tensor([1.0], device="cuda") ends
        lambda z: z * torch.ones(1, device="cpu").to(z): "_to_copy",
        lambda z: torch.empty_like(z).copy_(torch.ones(3, device="cpu")): "copy_",
        lambda z: z * torch.tensor(2.0, device="cpu"): "",
        lambda z: torch.where(z > 0, z, 0.5).clamp(max=1.0).to(torch.float64): "",
    }.items(),
)
def test_what_crosses_devices_is_not_captured(look, refused):
    with _Watch() as watch:
        look(torch.ones(3, device="meta"))
    assert refused in watch.refused
    assert bool(refused) == bool(watch.refused)


@pytest.mark.parametrize(
    "fields",
    [*({"activation": each.name} for each in ACTIVATIONS), *({"loss": each.name} for each in LOSSES)],
    ids=str,
)
def test_whatever_is_catalogued_can_be_captured(monkeypatch, fields):
    """Nothing of an update looks at a number or leaves the device: here torch's without memory, which has none."""
    over = Optimizer.over
    monkeypatch.setattr(Optimizer, "over", lambda self, groups, device=None: over(self, groups))
    noisy = ("l1", "l2", "label_smoothing", "dropout", "stochastic_depth")
    regularizers = tuple((name, 0.2) for name in noisy)
    cells = [Cell(**SMALL, batch_norm=True, residual=1, clip_norm=1.0, weight_decay=0.1, regularizers=regularizers,
                  seed=seed, **fields) for seed in (0, 1)]  # fmt: skip
    trainer = Trainer(cells, digits("meta"), None, UNTUNED, lambda: False)
    images, targets = next(trainer._minibatches())
    with trainer._noise.lasting(len(images)):
        trainer._step(images, targets)
    with trainer._noise.lasting(len(images)), _Watch() as watch:  # its noise is drawn before
        trainer._step(images, targets)
    assert watch.refused == ""


@pytest.mark.parametrize("error", [RuntimeError("not permitted"), UsageError("activation 'mine': no")], ids=str)
def test_what_a_capture_refuses_goes_on_kernel_by_kernel_as_if_nothing_had_been(cuda, monkeypatch, error):
    """Its learning rates, noise and stream are those of before."""
    here = trained([NOISY], captured=False)

    def refuse(weights):
        if Recording.made:
            if cuda.refused:
                assert cuda.current is not cuda.default  # in an update, as in the capture
            else:
                cuda.refused = True
                raise error
        return weights

    cuda.refused = False
    looking(monkeypatch, refuse)
    with pytest.warns(UserWarning, match="kernel by kernel.*(not permitted|'mine': no)"):
        there = trained([NOISY], captured=True)
    assert len(Recording.made) == 1
    assert cuda.current is cuda.default
    assert [one.metrics for one in here] == [other.metrics for other in there]


def test_running_out_of_memory_in_a_capture_is_for_the_caller_who_halves_the_stack(cuda, monkeypatch):
    @contextmanager
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(torch.cuda, "graph", full)
    with pytest.raises(torch.OutOfMemoryError):
        trained([Cell(steps=EAGER + 1, **SMALL)], captured=True)


def test_a_stack_leaves_its_memory_when_it_ends(cuda):
    """At once: a GPU's memory is full before Python collects what refers to itself."""
    gc.collect()
    gc.disable()
    try:
        cells = [Cell(optimizer="adam", schedule="cosine", steps=EAGER + 2, batch_norm=True, **SMALL)]
        with torch.no_grad():
            trainer = Trainer(cells, digits(), None, UNTUNED, lambda: False)
            trainer._captured = Captured(trainer._noise, trainer._updates, torch.device("cpu"))
            trainer.run(SimpleNamespace(lap=lambda phase: nullcontext()))
        held = [weakref.ref(each) for each in (trainer, trainer._network, trainer._updates, trainer._captured)]
        del trainer
        assert [each() for each in held] == [None] * len(held)
    finally:
        gc.enable()


def test_stacks_of_a_thread_capture_on_one_stream(cuda, monkeypatch):
    """torch keeps memory for the products of each stream that it meets, up to 32 MiB."""
    made = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(device) or cuda.made())
    with ThreadPoolExecutor(1) as thread:
        devices = [torch.device("cuda", 0), torch.device("cuda", 0), torch.device("cuda", 1)]
        one, other, elsewhere = thread.map(capturing._stream, devices)
    assert one is other
    assert made == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert elsewhere is not one


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
