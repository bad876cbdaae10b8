"""Several networks of one shape, whose theory is computed at once: each number is an array, an entry a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from initbench.activations import Activation
from initbench.core.records import Layer, Promise
from initbench.theory.several import Several

Real = NDArray[np.float64]

PROMISED = ("variance", "bias_variance", "excess_kurtosis", "orthogonal")
"""The arrays of `Promises`."""


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
        return replace(self, **{name: getattr(self, name)[chosen] for name in PROMISED})


@dataclass(frozen=True, eq=False)  # compared as one object, so that what is known of it is found again at once
class Networks:
    """What several initializers with random weights promise, layer by layer, and their activations."""

    activations: Several
    layers: list[Promises]

    @classmethod
    def of(cls, several: Sequence[tuple[Activation, Sequence[Promise]]]) -> Networks:
        """From the activation of each, and its promises, first layer to last."""
        activations, promises = zip(*several, strict=True)
        distinct, which = told_apart(promises)
        layers = [
            Promises(
                layer[0].layer,
                np.array([promise.variance for promise in layer]),
                np.array([promise.bias_variance for promise in layer]),
                np.array([promise.excess_kurtosis for promise in layer]),
                np.array([promise.coupling == "orthogonal" for promise in layer]),
            )
            for layer in zip(*distinct, strict=True)
        ]
        return cls(Several.of(activations), [layer.of(which) for layer in layers])

    def distinct(self, *arrays: str) -> tuple[Networks, NDArray[np.intp]]:
        """The networks that differ in activation or in `arrays` of `Promises`; for each network, which of them it is.

        Those of one activation stand together.
        """
        told = [getattr(layer, name) for layer in self.layers for name in arrays]
        _, first, which = np.unique([self.activations.which, *told], axis=1, return_index=True, return_inverse=True)
        return Networks(self.activations.at(first), [layer.of(first) for layer in self.layers]), which.ravel()


def told_apart(several: Sequence[Sequence[Promise]]) -> tuple[list[Sequence[Promise]], NDArray[np.intp]]:
    """Promises that are not the very same objects as others; for each of `several`, which of them it is."""
    seen = {tuple(map(id, promises)): promises for promises in several}
    number = {one: place for place, one in enumerate(seen)}
    return [*seen.values()], np.array([number[tuple(map(id, promises))] for promises in several], np.intp)
