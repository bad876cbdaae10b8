"""One torch optimizer for a whole stack: each run of networks with equal settings is a parameter group of slices."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.records import shape_of
from initbench.engine.training.network import StackedMLP
from initbench.initializers import INITIALIZERS
from initbench.recipe import OPTIMIZERS, SCHEDULES
from initbench.recipe.optimizers import Optimizer

SMALL = 2**15
"""Numbers a network has in a parameter, at most, for a copy of its gradient to be cheaper than a call of its own."""

Group = tuple[dict[str, Any], list[int]]
"""Settings, and the parameters that have them by number."""
Place = slice | int
"""Models that stand beside each other; or one, whose parameters have no models axis."""


class Updates:
    """Optimizer, schedule and clipping of a stack.

    Networks with equal settings should stand beside each other. Where the schedule watches the validation loss, each
    network has an optimizer of its own, because their learning rates part; where the optimizer does not work element by
    element, because it may look at all that it is given.
    """

    def __init__(self, cells: Sequence[Cell], network: StackedMLP, steps: int) -> None:
        self._optimizer, schedule = OPTIMIZERS.make(cells[0].optimizer), SCHEDULES.make(cells[0].schedule)
        self.watches_validation = schedule.watches_validation
        self._slices: list[tuple[Tensor, int, Place]] = []
        """A part of a parameter, that parameter's number, and the models of the part."""
        parameters = network.parameters
        apart = self.watches_validation or not self._optimizer.elementwise
        groups = [_groups(cell, network, self._optimizer) for cell in cells]
        alike = self._optimizer.elementwise and all(len(each) == 1 for each in groups)
        self._joint = Joint(parameters, small) if alike and any(small := _small(parameters)) else None
        if self._joint:
            parameters = self._joint.parameters
            groups = [[(settings, [*range(len(parameters))]) for settings, _ in each] for each in groups]
        runs = [
            [{**settings, "params": self._sliced(parameters, numbers, where)} for settings, numbers in each]
            for each, where in self._runs(groups, apart)
        ]
        together = runs if apart else [[group for run in runs for group in run]]
        self._made = [self._optimizer.over(part, parameters[0].device) for part in together]
        self._schedules = [made for each in self._made if (made := schedule.make(each, steps)) is not None]
        self._clip = _column([cell.clip_norm for cell in cells], parameters[0])
        self._clips = any(cell.clip_norm for cell in cells)
        self._rates = _column(self._told(), self._clip)
        """What the learning rates are in a CUDA graph."""

    def _runs(self, groups: Sequence[list[Group]], apart: bool) -> Iterator[tuple[list[Group], Place]]:
        """Runs of neighbours with equal groups, and where they stand; each network its own run if `apart`."""
        start = 0
        for _, run in itertools.groupby(enumerate(groups), key=lambda item: item[0] if apart else item[1]):
            members = list(run)
            where = slice(start, start + len(members))
            yield members[0][1], where if self._optimizer.elementwise else start
            start += len(members)

    def _sliced(self, parameters: Sequence[Tensor], numbers: Sequence[int], where: Place) -> list[Tensor]:
        """These models' parts of the parameters; they share memory with the whole."""
        parts = [(parameters[number].detach()[where], number, where) for number in numbers]
        self._slices += parts
        return [part for part, _, _ in parts]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One update of all models, by gradients `models ...`. Raises `WorkError` where the optimizer fails."""
        if self._clips:
            gradients = clipped(gradients, self._clip)
        if self._joint:
            gradients = self._joint.of(gradients)
        # torch's fused steps read memory in order, whatever the strides say
        whole = [gradient.contiguous() for gradient in gradients]
        for part, number, where in self._slices:
            part.grad = whole[number][where]
        for made in self._made:
            self._optimizer.step(made)

    def scheduled(self) -> None:
        """Tell the schedules that an update was made."""
        if not self.watches_validation:
            for schedule in self._schedules:
                schedule.step()

    def validated(self, losses: Sequence[float]) -> None:
        """Tell the schedules that watch it each model's validation loss."""
        if self.watches_validation:
            for schedule, loss in zip(self._schedules, losses, strict=True):
                schedule.step(loss)

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph may hold `step`."""
        return self._optimizer.capturable

    @contextmanager
    def rates_in_memory(self) -> Iterator[None]:
        """Let `step` read the learning rates from memory: a CUDA graph would keep Python's as they are now."""
        told = self._told()
        self._tell(self._rates.unbind())
        try:
            yield
        finally:
            self._tell(told)

    def renew_rates(self) -> None:
        """Bring them there up to date."""
        if self._schedules:
            self._rates.copy_(_column(self._told(), self._rates))

    def _told(self) -> list[float]:
        """The learning rate of each group."""
        return [group["lr"] for made in self._made for group in made.param_groups]

    def _tell(self, rates: Iterable[float | Tensor]) -> None:
        groups = (group for made in self._made for group in made.param_groups)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


class Joint:
    """The small parameters of all layers as one tensor `models numbers`, of which they become views.

    A step of hundreds of small tensors is calls: of twenty layers of 50 units it takes a third of an update's time.
    """

    def __init__(self, parameters: Sequence[Tensor], small: Sequence[bool]) -> None:
        self._small, joined = small, list(itertools.compress(parameters, small))
        whole = torch.cat(_flat(joined), dim=1)
        self._gradient = torch.empty_like(whole)
        for parameter, part in zip(joined, whole.split([each[0].numel() for each in joined], dim=1), strict=True):
            parameter.data = part.view(parameter.shape)
        self.parameters = self._with(parameters, whole)
        """The large ones, and the joint one."""

    def of(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of `parameters` from those of all."""
        torch.cat(_flat(itertools.compress(gradients, self._small)), dim=1, out=self._gradient)
        return self._with(gradients, self._gradient)

    def _with(self, tensors: Sequence[Tensor], joined: Tensor) -> list[Tensor]:
        return [*(each for each, small in zip(tensors, self._small, strict=True) if not small), joined]


def _small(parameters: Sequence[Tensor]) -> list[bool]:
    """Which to join. The first layer's weights come first, and stay as they are: they enter a product as one matrix."""
    return [number > 0 and each[0].numel() <= SMALL for number, each in enumerate(parameters)]


def _flat(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [each.detach().flatten(1) for each in tensors]


def clipped(gradients: Sequence[Tensor], largest: Tensor) -> list[Tensor]:
    """Each model's gradients shortened to a norm of at most `largest`, `models`; 0 leaves them. As torch's own."""
    square = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0)
    factor = torch.where(largest > 0, largest / (square.sqrt() + 1e-6), torch.inf).clamp(max=1.0)
    return [g * factor.view(-1, *[1] * (g.dim() - 1)) for g in gradients]


def _groups(cell: Cell, network: StackedMLP, optimizer: Optimizer) -> list[Group]:
    """The parameter groups of one network: all parameters, or those of each learning rate."""
    rates = _rates(cell, network, optimizer)
    return [
        (optimizer.settings(cell, rate), [number for number, own in enumerate(rates) if own == rate])
        for rate in dict.fromkeys(rates)
    ]


def _rates(cell: Cell, network: StackedMLP, optimizer: Optimizer) -> list[float]:
    """Factors on the learning rate of each of `network.parameters`; 1 of what belongs to no layer."""
    initializer, parameters = INITIALIZERS.make(cell.init), network.parameters
    if initializer.rates is None:
        return [1.0] * len(parameters)
    shape = shape_of(cell, network.weights[0].shape[2], network.weights[-1].shape[1])
    rates = initializer.learning_rates(ACTIVATIONS.make(cell.activation), shape, optimizer.normalizes)
    of: dict[int, float] = {}
    for weight, bias, rate in zip(network.weights, network.biases, rates, strict=True):
        of |= {id(weight): rate.weight, id(bias): rate.bias}
    for normalization, rate in zip(network.normalizations, rates, strict=False):  # the output has none
        of |= {id(normalization.scale): rate.bias, id(normalization.shift): rate.bias}
    return [of.get(id(parameter), 1.0) for parameter in parameters]


def _column(numbers: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)
