"""Early stopping of single networks of a stack, while their neighbours go on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from initbench.core.cell import Cell


class EarlyStopping:
    """Keeps each network's best state by validation loss; stops it after `early_stopping` records without a better."""

    def __init__(self, cells: Sequence[Cell], state: Sequence[Tensor]) -> None:
        """`state` is what the networks consist of, `models ...` each; it is read, and written by `restore` alone."""
        self.stopped_at: list[int | None] = [None] * len(cells)
        """The update at which each network stopped."""
        self._patience = [cell.early_stopping for cell in cells]
        self._state = state
        self._best = [tensor.detach().clone() for tensor in state] if any(self._patience) else []
        self._losses = [math.inf] * len(cells)
        self._stale = [0] * len(cells)

    @property
    def all_stopped(self) -> bool:
        """Whether no network is left to train."""
        return all(step is not None for step in self.stopped_at)

    def watch(self, step: int, losses: Sequence[float]) -> None:
        """Take each network's validation loss after `step` updates."""
        for i, loss in enumerate(losses):
            if not self._patience[i] or self.stopped_at[i] is not None:
                continue
            if loss < self._losses[i]:
                self._losses[i], self._stale[i] = loss, 0
                self._keep(i)
            else:
                self._stale[i] += 1
                if self._stale[i] >= self._patience[i]:
                    self.stopped_at[i] = step
                    if not math.isfinite(self._losses[i]):  # never a loss that is a number: it ends as it stopped
                        self._keep(i)

    def _keep(self, i: int) -> None:
        for kept, tensor in zip(self._best, self._state, strict=True):
            kept[i].copy_(tensor[i].detach())

    def restore(self) -> None:
        """Put the networks that are watched back to their best state, or the one in which they stopped without any."""
        for i, stopped in enumerate(self.stopped_at):
            if stopped is not None or math.isfinite(self._losses[i]):
                for kept, tensor in zip(self._best, self._state, strict=True):
                    tensor.detach()[i].copy_(kept[i])
