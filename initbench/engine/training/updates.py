"""One torch optimizer for a whole stack: each run of networks with equal settings is a parameter group of slices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from initbench.core.cell import Cell
from initbench.recipe import OPTIMIZERS, SCHEDULES


class Updates:
    """Optimizer, schedule and clipping of a stack.

    `parameters` are `models ...`; networks with equal settings should stand beside each other. Where the schedule
    watches the validation loss, each network has an optimizer of its own, because their learning rates part.
    """

    def __init__(self, cells: Sequence[Cell], parameters: Sequence[Tensor], steps: int) -> None:
        optimizer, schedule = OPTIMIZERS.make(cells[0].optimizer), SCHEDULES.make(cells[0].schedule)
        self.watches_validation = schedule.watches_validation
        self._slices: list[tuple[Tensor, int, slice]] = []
        """A part of a parameter, that parameter's number, and the models of the part."""
        groups = [
            {**settings, "params": self._sliced(parameters, where)}
            for settings, where in _runs(cells, optimizer.settings, apart=self.watches_validation)
        ]
        together = [[group] for group in groups] if self.watches_validation else [groups]
        self._optimizers = [optimizer.over(part, fast=True) for part in together]
        self._schedules = [made for each in self._optimizers if (made := schedule.make(each, steps)) is not None]
        self._clip = _column([cell.clip_norm for cell in cells], parameters[0])
        self._clips = any(cell.clip_norm for cell in cells)

    def _sliced(self, parameters: Sequence[Tensor], where: slice) -> list[Tensor]:
        """These models' parts of all parameters; they share memory with the whole."""
        parts = [parameter.detach()[where] for parameter in parameters]
        self._slices += [(part, number, where) for number, part in enumerate(parts)]
        return parts

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One update of all models, by gradients `models ...`."""
        if self._clips:
            gradients = clipped(gradients, self._clip)
        # torch's fused steps read memory in order, whatever the strides say
        whole = [gradient.contiguous() for gradient in gradients]
        for part, number, where in self._slices:
            part.grad = whole[number][where]
        for optimizer in self._optimizers:
            optimizer.step()
        if not self.watches_validation:
            for schedule in self._schedules:
                schedule.step()

    def validated(self, losses: Sequence[float]) -> None:
        """Tell the schedules that watch it each model's validation loss."""
        if self.watches_validation:
            for schedule, loss in zip(self._schedules, losses, strict=True):
                schedule.step(loss)


def clipped(gradients: Sequence[Tensor], largest: Tensor) -> list[Tensor]:
    """Each model's gradients shortened to a norm of at most `largest`, `models`; 0 leaves them. As torch's own."""
    square = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0)
    factor = torch.where(largest > 0, largest / (square.sqrt() + 1e-6), torch.inf).clamp(max=1.0)
    return [g * factor.view(-1, *[1] * (g.dim() - 1)) for g in gradients]


def _runs(
    cells: Sequence[Cell], settings: Callable[[Cell], dict[str, Any]], apart: bool
) -> list[tuple[dict[str, Any], slice]]:
    """Runs of neighbours with equal settings, and where they stand; each network its own run if `apart`."""
    found, start = [], 0
    keyed = enumerate(cells)
    for _, run in itertools.groupby(keyed, key=lambda item: item[0] if apart else settings(item[1])):
        members = list(run)
        found.append((settings(members[0][1]), slice(start, start + len(members))))
        start += len(members)
    return found


def _column(numbers: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)
