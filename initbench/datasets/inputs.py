"""What goes into a network that is measured and not trained: a batch for each seed, its moments for the theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from initbench.core.catalogue import Catalogue
from initbench.core.errors import UsageError
from initbench.core.randomness import generator
from initbench.core.records import InputMoments
from initbench.datasets.fitness import require_memory
from initbench.datasets.record import fingerprint


class Inputs(Protocol):
    """A source of batches."""

    @property
    def fingerprint(self) -> str:
        """Of the content that batches are taken from; empty where they are drawn."""

    def batch(self, seed: int, size: int, features: int) -> Tensor:
        """`size features`, float32 on the CPU: the same for everyone who asks for this seed."""

    def moments(self, seeds: int, size: int) -> InputMoments:
        """What theory needs of the batches of seeds 0 to `seeds` - 1."""


SYNTHETIC: Catalogue[GaussianInputs] = Catalogue("input")
"""Inputs that are drawn and not read; data sets are the others."""


@dataclass(frozen=True)
class GaussianInputs:
    """x_b = sqrt(q) (sqrt(c) u + sqrt(1 - c) e_b), u and e_b i.i.d. N(0, 1): E[x²] = q, cosine c between any two."""

    second_moment: float = 1.0
    cosine: float = 0.0
    spec: str = ""
    fingerprint = ""

    def batch(self, seed: int, size: int, features: int) -> Tensor:
        """As in `Inputs`; batches of two sizes are unrelated."""
        source = generator(seed, "input", size, features)
        draws = torch.randn(size + 1, features, generator=source, dtype=torch.float32, device="cpu")
        mixed = draws[:1] * self.cosine**0.5 + draws[1:] * (1 - self.cosine) ** 0.5
        return mixed * self.second_moment**0.5

    def moments(self, seeds: int, size: int) -> InputMoments:
        """The distribution's own, not the draws'."""
        return InputMoments((self.second_moment,), self.cosine, batch=size)


@dataclass(frozen=True, eq=False)
class SampledInputs:
    """Rows of a data set, `samples features`, already prepared."""

    images: Tensor

    @cached_property
    def fingerprint(self) -> str:
        """As in `Inputs`."""
        return fingerprint(self.images)

    def batch(self, seed: int, size: int, features: int) -> Tensor:
        """Distinct rows. Raises `UsageError` if there are fewer than `size`, or of another length."""
        if features != self.images.shape[1]:
            raise UsageError(f"a network with {features} inputs cannot take data of {self.images.shape[1]} features")
        if size > len(self.images):
            raise UsageError(f"a batch of {size} is more than the {len(self.images)} inputs of the data set")
        order = torch.randperm(len(self.images), generator=generator(seed, "input", size), device="cpu")
        return self.images[order[:size]]

    def require_room(self, seeds: int, size: int) -> None:
        """Raises `UsageError` where the moments of so many batches need more memory than there is."""
        require_memory(f"{seeds:,} batches of {size:,} inputs", 2 * 8 * seeds * size * self.images.shape[1])

    def moments(self, seeds: int, size: int) -> InputMoments:
        """Measured on the very batches: each input's E[x²] (in at most `GROUPS` groups), and the pairs' cosines."""
        self.require_room(seeds, size)
        batches = torch.stack([self.batch(seed, size, self.images.shape[1]) for seed in range(seeds)]).double()
        squares = batches.square().mean(dim=2).flatten()
        if len(squares) > GROUPS:
            # each length stands in the list GROUPS times, so that it falls apart into groups of one size
            squares = squares.sort().values.repeat_interleave(GROUPS).view(GROUPS, -1).mean(dim=1)
        mean, variance, cosines = _cosines(batches)
        return InputMoments(tuple(squares.tolist()), mean, variance, gaussian=False, batch=size, cosines=cosines)


def _cosines(batches: Tensor) -> tuple[float, float, tuple[float, ...]]:
    """Mean and variance of the cosines between a batch's pairs, over all `batches size features`; 0 without a pair.

    And the means of `COSINES` groups of them, least to largest.
    """
    size = batches.shape[1]
    if size == 1:
        return 0.0, 0.0, ()
    upper = torch.ones(size, size, dtype=torch.bool).triu(1)
    means, groups = [], []
    for batch in torch.nn.functional.normalize(batches, dim=2):
        pairs = (batch @ batch.t())[upper].sort().values
        means.append([float(pairs.mean()), float(pairs.square().mean())])
        below = np.append(0.0, pairs.cumsum(0).numpy())  # groups of one size, though it be no whole number
        ends = np.interp(np.linspace(0, len(pairs), COSINES + 1), np.arange(len(below)), below)
        groups.append(np.diff(ends) * COSINES / len(pairs))
    mean, square = np.mean(means, axis=0).tolist()
    return mean, max(square - mean**2, 0.0), tuple(np.mean(groups, axis=0).tolist())


GROUPS = 64
"""Neighbouring lengths are summed up by their mean: enough for the theory's mean over inputs of different length."""
COSINES = 8
"""Likewise of cosines, whose mean theory's map bends."""


@SYNTHETIC.register("gaussian", summary="Independent features with a chosen E[x²] and cosine between inputs.",
                    formula="x_b = sqrt(q) (sqrt(c) u + sqrt(1 - c) e_b), u and e_b i.i.d. N(0, 1)",
                    source="-")  # fmt: skip
def gaussian(second_moment: float = 1.0, cosine: float = 0.0) -> GaussianInputs:
    """Raises `UsageError` for moments that no batch can have."""
    if second_moment <= 0:
        raise UsageError(f"the input's second moment must be above 0, not {second_moment:g}")
    if not 0 <= cosine <= 1:
        raise UsageError(f"the input's cosine must be from 0 to 1, not {cosine:g}")
    return GaussianInputs(second_moment, cosine)
