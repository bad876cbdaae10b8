"""A class of torch.optim as an optimizer: trained in stacks as alone, or refused."""

import dataclasses

import pytest
import torch
from plugin_catalogues import lent_catalogues
from test_training_twin import BASE, check

import initbench as ib
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
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


class Normed(Plain):
    """A step of length lr for each tensor."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                w.sub_(group["lr"] * w.grad / w.grad.norm())


class WithoutRate(Plain):
    def __init__(self, params):
        super().__init__(params, 0.1)


class Failing(Plain):
    def __init__(self, params, lr=0.1):
        raise RuntimeError("no luck")


@pytest.mark.parametrize(("of", "message"), [
    (Normed, "does not work element by element: networks side by side in a stack would change each other's steps"),
    (WithoutRate, "its constructor has no lr"),
    (Failing, "RuntimeError: no luck"),
    (dict, "is no subclass of torch.optim.Optimizer"),
])  # fmt: skip
def test_what_cannot_step_a_stack_is_told_in_one_line(of, message):
    ib.optimizer(name="mine")(of)
    with pytest.raises(UsageError) as caught:
        OPTIMIZERS.make("mine")
    assert str(caught.value).startswith("optimizer 'mine'")
    assert str(caught.value).endswith(message)
