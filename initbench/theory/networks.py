"""Several networks of one shape, whose theory is computed at once: each number is an array, an entry a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from initbench.core.records import Layer, Promise

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Promises:
    """What is promised of one layer's parameters, as in `Promise`; arrays `networks`."""

    layer: Layer
    variance: Real
    bias_variance: Real
    excess_kurtosis: Real
    orthogonal: NDArray[np.bool_]

    def of(self, chosen: NDArray[np.intp]) -> Promises:
        """Those of some networks."""
        arrays = ("variance", "bias_variance", "excess_kurtosis", "orthogonal")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


@dataclass(frozen=True, eq=False)  # compared as one object, so that what is known of it is found again at once
class Networks:
    """What several initializers with random weights promise, layer by layer."""

    layers: list[Promises]

    @classmethod
    def of(cls, several: Sequence[Sequence[Promise]]) -> Networks:
        """From the promises of each, first layer to last."""
        return cls([
            Promises(
                layer[0].layer,
                np.array([promise.variance for promise in layer]),
                np.array([promise.bias_variance for promise in layer]),
                np.array([promise.excess_kurtosis for promise in layer]),
                np.array([promise.coupling == "orthogonal" for promise in layer]),
            )
            for layer in zip(*several, strict=True)
        ])  # fmt: skip

    def distinct(self) -> tuple[Networks, NDArray[np.intp]]:
        """The networks that differ in variances, and for each network which of them it is."""
        variances = np.concatenate([[layer.variance, layer.bias_variance] for layer in self.layers])
        _, first, which = np.unique(variances, axis=1, return_index=True, return_inverse=True)
        return Networks([layer.of(first) for layer in self.layers]), which.ravel()
