"""Noise on hidden units and residual branches, the same for every strength and in every stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from initbench.core.cell import Cell
from initbench.core.randomness import generator
from initbench.recipe import REGULARIZERS


@dataclass(frozen=True)
class _Source:
    """One regularizer at work in one place of the network."""

    name: str
    factor: Callable[[Tensor, Tensor], Tensor]
    strengths: Tensor
    """`models 1 1`."""


class Noise:
    """What multiplies signals in training; drawn by each network's seed, so that one alone sees the same."""

    step = 0
    """The update that is being made, from 1: the trainer sets it."""

    def __init__(self, cells: Sequence[Cell], device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._seeds = [cell.seed for cell in cells]
        self._depth = cells[0].depth
        self._lasting = False
        self._held: dict[tuple[str, int, int, int], Tensor] = {}
        self._units, self._branches = (
            [
                _Source(entry.name, factor, torch.tensor(strengths, device=device, dtype=dtype)[:, None, None])
                for entry in REGULARIZERS
                if (factor := getattr(REGULARIZERS.make(entry.name), place))
                and any(strengths := [cell.strength(entry.name) for cell in cells])
            ]
            for place in ("units", "branches")
        )

    def on_units(self, number: int, a: Tensor) -> Tensor:
        """Activations of hidden layer `number` (from 0), `models units batch`, after dropout and its like."""
        for source in self._units:
            a = a * source.factor(self._uniform(source.name, number, a.shape[2], a.shape[1]), source.strengths)
        return a

    def on_branch(self, number: int, a: Tensor) -> Tensor:
        """A residual branch after stochastic depth and its like, whose strength grows with the layer."""
        share = (number + 1) / self._depth
        for source in self._branches:
            a = a * source.factor(self._uniform(source.name, number, a.shape[2], 1), source.strengths * share)
        return a

    @contextmanager
    def lasting(self, batch: int) -> Iterator[None]:
        """Give out the same memory at each update on minibatches of this size, for a CUDA graph to read.

        What was given out has this update's noise from here on: an update draws nothing but the first time.
        """
        for place, held in self._held.items():
            if place[2] == batch:
                held.copy_(self._drawn(*place))
        self._lasting = True
        try:
            yield
        finally:
            self._lasting = False

    def _uniform(self, *place: Any) -> Tensor:
        """`_drawn`, or what lasts of it."""
        if not self._lasting:
            return self._drawn(*place)
        if place not in self._held:
            self._held[place] = self._drawn(*place)
        return self._held[place]

    def _drawn(self, name: str, number: int, batch: int, units: int) -> Tensor:
        """`models units batch`, equal for equal seeds."""
        drawn = {seed: uniform(name, seed, self.step, number, batch, units) for seed in dict.fromkeys(self._seeds)}
        return torch.stack([drawn[seed].t() for seed in self._seeds]).to(self._device, self._dtype)


def uniform(name: str, seed: int, step: int, number: int, batch: int, units: int) -> Tensor:
    """The noise of one regularizer at one step and hidden layer, `batch units`, U(0, 1), float32 on the CPU."""
    drawn = generator(seed, name, step, number, batch, units)
    return torch.rand(batch, units, generator=drawn, dtype=torch.float32, device="cpu")
