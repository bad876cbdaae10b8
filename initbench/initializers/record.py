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
from initbench.core.errors import require
from initbench.core.randomness import generator
from initbench.core.records import Layer, Network, Promise
from initbench.initializers.adaptation import Adapt


@dataclass(frozen=True)
class Basis:
    """A distribution of weight matrices with E[w²] = 1."""

    name: str
    draw: Callable[[Layer, Generator], Tensor]
    """Weights of the layer, float32 on the CPU, `fan_out fan_in` as in nn.Linear; every draw uses the generator."""
    mean: Callable[[Layer], float] = lambda _: 0.0
    """E[w], at unit mean square."""
    coupling: str | Callable[[Layer], str] = "independent"
    """As in `Promise`: of all layers, or of each."""
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
    square_layers: int = 1
    """How many layers of the network are as wide as their input: those that a residual network adds up."""
    input_square: float = 1.0
    """E[x²] of the network's input."""
    output: bool = False
    """Whether the layer is the linear output of the network."""

    @property
    def first(self) -> bool:
        """Whether the layer is given the network's input."""
        return self.layer.index == 1

    @property
    def square(self) -> bool:
        """Whether it is as wide as its input."""
        return self.fan_in == self.fan_out

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
    """E[w²]: the promised variance, for every basis with mean 0. Of a layer's place it asks only if it is the first
    or the output."""
    bias_basis: Basis | None = None
    """What its biases are drawn from; None where it leaves them to the network's own bias variance (Gaussian)."""
    bias_mean_square: Callable[[Setting], float] | None = None
    """Its biases' variance, where it sets one."""
    adapt: Adapt | None = None
    """What it makes of a network so drawn, given data; its promise is then of the weights after that."""
    spec: str = ""

    def promise(self, setting: Setting) -> Promise:
        """What this initializer promises of one layer. Raises `UsageError` where it cannot serve the activation."""
        square = float(self.mean_square(setting))
        mean = self.basis.mean(setting.layer)
        own, coupling = self.bias_mean_square, self.basis.coupling
        return Promise(
            layer=setting.layer,
            variance=square * (1 - mean**2),
            mean=square**0.5 * mean,
            bias_variance=setting.bias_variance if own is None else float(own(setting)),
            coupling=coupling if isinstance(coupling, str) else coupling(setting.layer),
            excess_kurtosis=self.basis.excess_kurtosis(setting.layer),
            adapted=self.adapt is not None,
        )

    def alone(self, setting: Setting) -> Promise:
        """The same of a layer that is drawn without its network. Raises `UsageError` where weights adapt to data."""
        require(self.adapt is None, f"{self.spec} adapts its weights to data, which a layer alone has none of")
        return self.promise(setting)

    def promises(self, activation: Activation, network: Network, input_square: float = 1.0) -> list[Promise]:
        """What it promises of each layer of `network`, first to last, for inputs of this mean square."""
        known: dict[tuple[Any, ...], dict[str, Any]] = {}  # most layers have the fans of the one before
        square = sum(layer.fan_in == layer.fan_out for layer in network.layers)
        promises = []
        for layer in network.layers:
            output = network.output and layer.index == network.depth
            setting = Setting(layer, activation, network.bias_variance, square, input_square, output)
            place = layer.fan_in, layer.fan_out, setting.first, output
            if place not in known:
                known[place] = vars(self.promise(setting))
            promises.append(Promise(**{**known[place], "layer": layer}))
        return promises
