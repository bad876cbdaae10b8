"""What an initializer is: a basis that is drawn, and the variance that it promises.

The basis has unit mean square and knows no scale; the initializer scales it. So all initializers of one family share
one draw (common random numbers), and the promise is one number that sampler, theory, tests and report all read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from initbench.activations import Activation
from initbench.core.randomness import generator
from initbench.core.records import Layer, Network, Promise


@dataclass(frozen=True)
class Basis:
    """A distribution of weight matrices with E[w²] = 1."""

    name: str
    draw: Callable[[Layer, Generator], Tensor]
    """Weights of the layer, float32 on the CPU, `fan_out fan_in` as in nn.Linear; every draw uses the generator."""
    mean: Callable[[Layer], float] = lambda _: 0.0
    """E[w], at unit mean square."""
    coupling: str = "independent"
    """As in `Promise`."""
    excess_kurtosis: Callable[[Layer], float] = lambda _: 0.0
    """E[w⁴] - 3, at unit mean square."""
    stream: str = ""
    """Whose random numbers it is made from, if not its own: two bases of one stream are compared draw by draw."""

    def weights(self, layer: Layer, seed: int) -> Tensor:
        """The unit draw of this layer for `seed`: the same for everyone who asks."""
        place = layer.index, layer.fan_out, layer.fan_in
        return self.draw(layer, generator(seed, "weight", *place, self.stream or self.name))

    def biases(self, layer: Layer, seed: int) -> Tensor:
        """The unit draw of this layer's biases for `seed`, `fan_out`."""
        column = Layer(layer.index, 1, layer.fan_out)
        return self.draw(column, generator(seed, "bias", layer.index, layer.fan_out, self.name)).squeeze(1)


@dataclass(frozen=True)
class Setting:
    """What the variance may depend on."""

    layer: Layer
    activation: Activation
    bias_variance: float = 0.0

    @property
    def fan_in(self) -> int:
        """Inputs of the layer."""
        return self.layer.fan_in

    @property
    def fan_out(self) -> int:
        """Units of the layer."""
        return self.layer.fan_out


@dataclass(frozen=True)
class Initializer:
    """A basis and a scale."""

    basis: Basis
    mean_square: Callable[[Setting], float]
    """E[w²]: the promised variance, for every basis with mean 0."""
    bias_basis: Basis | None = None
    """What its biases are drawn from; None where it leaves them to the network's own bias variance (Gaussian)."""
    bias_mean_square: Callable[[Setting], float] | None = None
    """Its biases' variance, where it sets one."""
    spec: str = ""

    def promise(self, setting: Setting) -> Promise:
        """What this initializer promises of one layer. Raises `UsageError` where it cannot serve the activation."""
        square = float(self.mean_square(setting))
        mean = self.basis.mean(setting.layer)
        own = self.bias_mean_square
        return Promise(
            layer=setting.layer,
            variance=square * (1 - mean**2),
            mean=square**0.5 * mean,
            bias_variance=setting.bias_variance if own is None else float(own(setting)),
            coupling=self.basis.coupling,
            excess_kurtosis=self.basis.excess_kurtosis(setting.layer),
        )

    def promises(self, activation: Activation, network: Network) -> list[Promise]:
        """What it promises of each layer of `network`, first to last."""
        known: dict[tuple[int, int], dict[str, Any]] = {}  # most layers have the fans of the one before
        promises = []
        for layer in network.layers:
            fans = layer.fan_in, layer.fan_out
            if fans not in known:
                known[fans] = vars(self.promise(Setting(layer, activation, network.bias_variance)))
            promises.append(Promise(**{**known[fans], "layer": layer}))
        return promises
