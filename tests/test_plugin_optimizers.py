"""A class of torch.optim as an optimizer: trained in stacks as alone, whatever it looks at."""

import dataclasses
import re

import pytest
import torch
from plugin_catalogues import lent_catalogues, program
from test_training_twin import BASE, check, prepared

import initbench as ib
from initbench import reference
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, WorkError
from initbench.engine.training.trainer import train
from initbench.recipe import OPTIMIZERS
from initbench.recipe.optimizers import Optimizer


@pytest.fixture(autouse=True)
def _lent():
    with lent_catalogues():
        yield


class Plain(torch.optim.Optimizer):
    """Gradient descent, written out."""

    def __init__(self, params, lr, momentum=0.0, factor=1.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "factor": factor})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                v = self.state[w].setdefault("v", torch.zeros_like(w))
                v.mul_(group["momentum"]).add_(w.grad)
                w.sub_(group["factor"] * group["lr"] * v)


def test_it_trains_in_a_stack_as_alone():
    ib.optimizer(name="plain")(Plain)
    cell = dataclasses.replace(BASE, optimizer="plain(factor=0.5)", steps=40)
    check(
        cell, *(dataclasses.replace(cell, **change) for change in ({"lr": 0.1}, {"momentum": 0.9}, {"init": "zeros"}))
    )


def test_it_reads_what_its_constructor_has():
    ib.optimizer(name="plain")(Plain)
    made = OPTIMIZERS.make("plain")
    assert OPTIMIZERS.entry("plain").signature == "plain(factor=1)"
    assert made.settings(Cell(optimizer="plain", lr=0.2, momentum=0.5)) == {
        "lr": 0.2, "momentum": 0.5, "weight_decay": 0.0}  # fmt: skip
    with pytest.raises(UsageError, match="optimizer 'plain' has no weight decay; leave it 0"):
        made.settings(Cell(optimizer="plain", weight_decay=0.1))


def test_classes_of_torch_are_optimizers_as_they_are():
    """With torch's own numbers: the catalogue's sgd is the same class."""
    ib.optimizer(name="mine")(torch.optim.SGD)
    start, ends = torch.linspace(-1, 1, 6, dtype=torch.float64), []
    for name in ("mine", "sgd"):
        weight = start.clone()
        made = OPTIMIZERS.make(name).over([{"params": [weight], "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}])
        for _ in range(3):
            weight.grad = weight**2
            made.step()
        ends.append(weight)
    assert torch.equal(*ends)


def test_a_factory_of_the_full_interface_is_one_too():
    @ib.optimizer
    def mine(eps: float = 1e-6) -> Optimizer:
        return Optimizer(lambda groups, **_: torch.optim.Rprop(groups))

    assert isinstance(OPTIMIZERS.make("mine(eps=1e-3)").over([{"params": [torch.zeros(1)]}]), torch.optim.Rprop)


class Lamb(torch.optim.Optimizer):
    """You et al. 2020, algorithm 2, without decay: Adam's step at the norm of the weights, tensor by tensor."""

    def __init__(self, params, lr, clip=10.0):
        super().__init__(params, {"lr": lr, "clip": clip})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                state = self.state[w] or self.state[w].update(m=0.0, v=0.0, t=0) or self.state[w]
                state["t"] += 1
                state["m"] = 0.9 * state["m"] + 0.1 * w.grad
                state["v"] = 0.999 * state["v"] + 0.001 * w.grad**2
                seen = 1 - 0.9 ** state["t"], 1 - 0.999 ** state["t"]
                r = state["m"] / seen[0] / ((state["v"] / seen[1]).sqrt() + 1e-6)
                trust = (w.norm() / r.norm()).clamp(max=group["clip"]) if w.any() and r.any() else 1.0
                w.sub_(group["lr"] * trust * r)


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024: the momentum of a matrix orthogonalized by Newton and Schulz, that of a vector as it is."""

    def __init__(self, params, lr, momentum=0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                v = self.state[w].setdefault("v", torch.zeros_like(w))
                v.mul_(group["momentum"]).add_(w.grad)
                w.sub_(group["lr"] * (orthogonalized(v) if w.dim() == 2 else v))


def orthogonalized(v, steps=5):
    x = v / (v.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


class NormedByAll(Plain):
    """A step of length lr for all parameters together, those of all groups."""

    @torch.no_grad()
    def step(self):
        every = [w for group in self.param_groups for w in group["params"]]
        norm = torch.stack([w.grad.norm() for w in every]).norm()
        for group in self.param_groups:
            for w in group["params"]:
                w.sub_(group["lr"] * w.grad / norm)


@pytest.mark.parametrize("of", [Lamb, Muon, NormedByAll])
@pytest.mark.parametrize(("schedule", "batch_norm"), [("cosine", True), ("plateau(patience=0, factor=0.5)", False)])
def test_one_that_looks_at_whole_tensors_trains_in_a_stack_as_alone(of, schedule, batch_norm):
    ib.optimizer(name="it")(of)
    cell = dataclasses.replace(BASE, optimizer="it", lr=0.02, schedule=schedule, batch_norm=batch_norm)
    check(
        cell, *(dataclasses.replace(cell, **change) for change in
                ({"lr": 0.01}, {"momentum": 0.5}, {"init": "zeros"}, {"clip_norm": 0.1}, {"seed": 4, "data_seed": 3}))
    )  # fmt: skip


@pytest.mark.parametrize("of", [Lamb, Muon, NormedByAll])
def test_its_neighbours_do_not_matter(of):
    ib.optimizer(name="it")(of)
    cell = dataclasses.replace(BASE, optimizer="it", lr=0.02)
    data, wild = prepared(cell), dataclasses.replace(cell, lr=1e30)
    (alone,) = train([cell], data)
    *_, beside = train([wild, dataclasses.replace(cell, init="xavier"), cell], data)
    assert beside.metrics == pytest.approx(alone.metrics, rel=1e-12)


@pytest.mark.parametrize(("of", "elementwise", "normalizes"), [
    (torch.optim.SGD, True, False),
    (torch.optim.Adam, True, True),
    (torch.optim.Adamax, True, True),
    (torch.optim.ASGD, True, False),
    (torch.optim.Adafactor, False, None),
    (Lamb, False, None),
    (Muon, False, None),
    (NormedByAll, False, None),
])  # fmt: skip
def test_what_it_is_like_is_found(of, elementwise, normalizes):
    ib.optimizer(name="it")(of)
    made = OPTIMIZERS.make("it")
    assert (made.elementwise, made.normalizes) == (elementwise, normalizes)


class WithoutRate(Plain):
    def __init__(self, params):
        super().__init__(params, 0.1)


class Failing(Plain):
    def __init__(self, params, lr=0.1):
        raise RuntimeError("no luck")


class Matrices(Plain):
    """Takes no biases."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                if w.dim() != 2:
                    raise ValueError("matrices alone")


class Tiring(Plain):
    """Fails when it has stepped a while."""

    @torch.no_grad()
    def step(self):
        super().step()
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 7:
            raise ValueError("tired\nof steps")


@pytest.mark.parametrize(("of", "message"), [
    (WithoutRate, "its constructor has no lr"),
    (Failing, "RuntimeError: no luck"),
    (Matrices, "ValueError: matrices alone"),
    (dict, "is no subclass of torch.optim.Optimizer"),
])  # fmt: skip
def test_what_cannot_step_a_network_is_told_in_one_line(of, message):
    ib.optimizer(name="mine")(of)
    with pytest.raises(UsageError) as caught:
        OPTIMIZERS.make("mine")
    assert str(caught.value).startswith("optimizer 'mine'")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("trained", [lambda cell, data: train([cell], data), reference.train])
def test_what_fails_at_work_is_told_in_one_line(trained):
    ib.optimizer(name="mine")(Tiring)
    cell = dataclasses.replace(BASE, optimizer="mine")
    with pytest.raises(WorkError) as caught:
        trained(cell, prepared(cell))
    assert re.fullmatch(rf"optimizer 'mine': {re.escape(__file__)}, line \d+: ValueError: tired", str(caught.value))


def test_the_command_ends_with_that_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ib.optimizer(name="mine")(Tiring)
    (tmp_path / "study.toml").write_text('question = "?"\nseeds = 1\n[compare]\ninit = ["he", "xavier"]\n[fix]\n'
                                         'optimizer = "mine"\nsteps = 20\nwidth = 10\n')  # fmt: skip
    done = program("train-grid", "study.toml")
    assert (done.exit_code, done.stderr.count("Traceback")) == (1, 0)
    assert "ValueError: tired" in done.stderr.splitlines()[-1]
