"""`ib.probe`: any module measured, diagnosed, and what would repair it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from initbench.analysis import coordinates as of_coordinates
from initbench.analysis import diagnosis as of_diagnosis
from initbench.analysis import repair

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn


@dataclass(frozen=True)
class Probe:
    """What was measured of a module."""

    layers: pd.DataFrame
    """A row per seed and call: the columns of `initbench list columns` that are of the table probe."""
    notes: tuple[str, ...] = ()
    """What holds for the whole."""

    @cached_property
    def diagnosis(self) -> pd.DataFrame:
        """A row per direction: word, where it starts, decades, cause."""
        return of_diagnosis.diagnose(self.layers)

    @property
    def stable(self) -> bool:
        """Whether the signal keeps within its band, forward and backward."""
        return of_diagnosis.is_stable(self.diagnosis)

    @property
    def suggestion(self) -> str:
        """Python code that initializes the module so that the signal is kept; it needs torch alone."""
        return repair.code(self.layers)

    def __str__(self) -> str:
        return "\n".join([*of_diagnosis.sentences(self.diagnosis), *self.notes])


def probe(
    module: nn.Module,
    batch: Any,
    *,
    seeds: int = 0,
    init: str = "",
    train: bool | None = None,
    only: Collection[str] = (),
) -> Probe:
    """Measure every layer of `module` on `batch`, forward and backward, and say where the signal is lost and why.

    `module` stays as it is, bit for bit: a copy is measured. A tuple or list is passed on as arguments, a dictionary by
    name. With `seeds` 0 the weights are those found; else each seed initializes anew, by `reset_parameters` or by the
    initializer `init`. `train` is the mode (None: as found), `only` patterns for names (``features.*``). Raises
    `UsageError` for what cannot be and `WorkError` where the module does not run.

    >>> import torch
    >>> layers = [part for _ in range(12) for part in (torch.nn.Linear(64, 64), torch.nn.ReLU())]
    >>> probe(torch.nn.Sequential(*layers), torch.randn(16, 64), init="he_normal", seeds=3).stable
    True
    """
    from initbench.grid.probe import probe_layers

    layers, notes = probe_layers(module, batch, seeds=seeds, init=init, train=train, only=only)
    return Probe(layers, tuple(notes))


@dataclass(frozen=True)
class Coordinates:
    """What was measured of one network at several widths."""

    sizes: pd.DataFrame
    """A row per width, seed, step and call of a part: root mean squares."""

    @cached_property
    def slopes(self) -> pd.DataFrame:
        """A row per step, call and quantity: the power of the width, its interval, what is expected, a word."""
        return of_coordinates.check(self.sizes)

    @property
    def word(self) -> str:
        """``pass``, ``fail`` or ``undecided``."""
        return of_coordinates.verdict(self.slopes)

    def draw(self) -> Figure:
        """Sizes against the width."""
        from initbench.analysis.figures import coordinates as figure

        return figure.draw(figure.summary(self.sizes, self.slopes))

    def __str__(self) -> str:
        return of_coordinates.sentence(self.slopes)


def coordinates(
    build: Callable[[int], nn.Module],
    batch: Any,
    widths: Sequence[int],
    *,
    steps: int = 3,
    seeds: int = 10,
    parametrization: str = "standard",
    optimizer: str = "adam",
    lr: float = 1e-2,
) -> Coordinates:
    """The coordinate check: do outputs, updates and gradients change with the width while ``build(width)`` trains?

    `build` makes the module of a width, initialized; it is trained for `steps` on `batch`. ``standard`` takes it as it
    is, ``mup`` with the maximal update parametrization's factors on weights and learning rates (Yang et al. 2022,
    table 3), relative to the smallest width. Raises `UsageError` for what cannot be, `WorkError` where a module does
    not run.

    >>> import torch
    >>> def build(width):
    ...     return torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.Tanh(), torch.nn.Linear(width, 4))
    >>> coordinates(build, torch.randn(16, 8), [64, 256, 1024], steps=1).word
    'fail'
    """
    from initbench.grid.coordinates import coordinates as measured

    return Coordinates(measured(build, batch, widths, steps=steps, seeds=seeds, parametrization=parametrization,
                                optimizer=optimizer, lr=lr))  # fmt: skip
