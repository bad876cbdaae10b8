"""The frozen records that travel between rooms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from initbench.core.cell import Cell

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One hidden layer's place in the network. Layers count from 1."""

    index: int
    fan_in: int
    fan_out: int

    def place_in_branch(self, length: int) -> int:
        """Which layer of a residual branch of `length` layers it is, from 1; 0 if of none, or if there are none.

        Each layer as wide as its input is a branch of one. Longer ones follow each other after the first layer.
        """
        if length > 1:
            return (self.index - 2) % length + 1 if self.index > 1 else 0
        return int(length == 1 and self.fan_in == self.fan_out)


@dataclass(frozen=True)
class Network:
    """A deep MLP's shape: `widths` from the input to the last hidden layer, and the bias variance sigma_b²."""

    widths: tuple[int, ...]
    bias_variance: float = 0.0
    output: bool = False
    """Whether the last layer is a linear output and no hidden one."""
    residual: int = 0
    """Layers of a residual branch; 0 where there are none."""

    @property
    def depth(self) -> int:
        """The number of hidden layers."""
        return len(self.widths) - 1

    @cached_property
    def layers(self) -> list[Layer]:
        """The hidden layers, first to last."""
        return [Layer(i + 1, self.widths[i], self.widths[i + 1]) for i in range(self.depth)]

    @cached_property
    def places(self) -> list[int]:
        """Of each layer, which one of a residual branch it is, from 1; 0 of others, such as the output."""
        hidden = self.layers[: self.depth - self.output]
        return [layer.place_in_branch(self.residual) for layer in hidden] + [0] * self.output

    @property
    def branches(self) -> int:
        """The number of residual branches."""
        return sum(place == self.residual > 0 for place in self.places)


def shape_of(cell: Cell, features: int, classes: int) -> Network:
    """All layers of a cell's network, the output's too, which `depth` counts with them here."""
    widths = (features, *[cell.width] * cell.depth, classes)
    return Network(widths, cell.bias_variance, output=True, residual=int(cell.residual))


def parameter_count(network: Network) -> int:
    """Weights and biases of one network."""
    return sum((layer.fan_in + 1) * layer.fan_out for layer in network.layers)


@dataclass(frozen=True)
class InputMoments:
    """What theory needs of the input: per sample E[x²] over features, and the mean pairwise cosine."""

    second_moment: tuple[float, ...] = (1.0,)
    """One value where all inputs have the same, else a sample of them: theory maps each and averages."""
    cosine: float = 0.0
    cosine_variance: float = 0.0
    """Of the cosines of a batch's pairs; of Gaussian features it follows from their number."""
    gaussian: bool = True
    """Whether features are i.i.d. Gaussian: what a deterministic initializer's theory rests on."""
    batch: int = 1
    """How many inputs are averaged over: what the spread of a batch's mean rests on."""
    cosines: tuple[float, ...] = ()
    """A sample of the pairs' cosines, as of the second moments; where there is none, all pairs have the mean."""

    @property
    def mean_square(self) -> float:
        """E[x²] over all inputs."""
        return float(np.mean(self.second_moment))

    @property
    def others(self) -> float:
        """The share of a batch's pairs that are of two inputs."""
        return 1 - 1 / self.batch

    def over_batch(self, variance: Real, unequal: float = 0.0) -> Real:
        """Of the mean over the batch, given `fixed same pair ...`: one input's variances, two inputs' covariance.

        Inputs whose logarithms differ by the variance `unequal` count as fewer.
        """
        return variance[1] * np.exp(self.others * unequal) / self.batch + self.others * variance[2]


@dataclass(frozen=True)
class Promise:
    """What an initializer promises of one layer's parameters; the theory reads nothing else of it."""

    layer: Layer
    variance: float
    """Var(w)."""
    mean: float = 0.0
    """E[w]."""
    bias_variance: float = 0.0
    coupling: str = "independent"
    """How entries hang together: ``independent``, ``orthogonal`` (the same mean-field map), ``shared`` (all equal) or
    ``diagonal`` (w_ij = 0 unless i = j); ``structured`` (otherwise: no law is about them)."""
    excess_kurtosis: float = 0.0
    """E[w⁴] / E[w²]² - 3: 0 for a Gaussian."""
    adapted: bool = False
    """Whether the variance is what data makes of it: near the promised, another in each network."""

    @property
    def random(self) -> bool:
        """Whether weights are drawn, or all 0: what a law of averages is about."""
        return self.coupling in ("independent", "orthogonal") or (self.mean == 0 and self.coupling != "structured")
