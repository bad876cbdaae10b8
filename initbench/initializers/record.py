"""What an initializer is: a basis that is drawn, and the variance that it promises.

The basis has unit mean square and knows no scale; the initializer scales it. So all initializers of one family share
one draw (common random numbers), and the promise is one number that sampler, theory, tests and report all read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Generator, Tensor

from initbench.activations import Activation
from initbench.core.errors import require
from initbench.core.randomness import generator
from initbench.core.records import Layer, Network, Promise
from initbench.initializers.adaptation import Adapt
from initbench.initializers.rates import Rates


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

    def weights(self, layer: Layer, seed: int, groups: int = 1) -> Tensor:
        """The unit draw of this layer for `seed`: the same for everyone who asks; of each of `groups`, one by one."""
        place = layer.index, layer.fan_out, layer.fan_in
        source = generator(seed, "weight", *place, self.stream or self.name)
        return torch.cat([self.draw(layer, source) for _ in range(groups)])

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
    """How many layers of the network are `square`: those that a residual network adds up."""
    input_square: float = 1.0
    """E[x²] of the network's input."""
    output: bool = False
    """Whether the layer is the linear output of the network."""
    branches: int = 0
    """How many residual branches the network has."""
    branch_layers: int = 0
    """Layers of each of them."""
    place_in_branch: int = 0
    """Which of these the layer is, from 1; 0 if it is in no branch."""

    @property
    def first(self) -> bool:
        """Whether the layer is given the network's input."""
        return self.layer.index == 1

    @property
    def square(self) -> bool:
        """Whether it is as wide as its input, and no linear output."""
        return self.fan_in == self.fan_out and not self.output

    @property
    def fan_in(self) -> int:
        """Inputs of the layer."""
        return self.layer.fan_in

    @property
    def fan_out(self) -> int:
        """Units of the layer."""
        return self.layer.fan_out


@dataclass(frozen=True)
class Branch:
    """A trained scalar on each residual branch, which only networks that have branches can have."""

    scale: float
    """What it starts at."""
    layers: int = 1
    """The fewest layers that a branch needs to have."""


@dataclass(frozen=True)
class Initializer:
    """A basis and a scale."""

    basis: Basis
    mean_square: Callable[[Setting], float]
    """E[w²]: the promised variance, for every basis with mean 0. Of a layer's place it asks only if it is the first
    or the output, and which one of a branch."""
    bias_basis: Basis | None = None
    """What its biases are drawn from; None where it leaves them to the network's own bias variance (Gaussian)."""
    bias_mean_square: Callable[[Setting], float] | None = None
    """Its biases' variance, where it sets one."""
    adapt: Adapt | None = None
    """What it makes of a network so drawn, given data; its promise is then of the weights after that."""
    looks: bool = True
    """Whether `adapt` looks at that data."""
    rates: Callable[[Setting, bool], Rates] | None = None
    """Factors on the learning rate, by layer and by whether the optimizer divides by the gradient's size, as Adam does;
    None where one learning rate is that of all layers."""
    branch: Branch | None = None
    """What it multiplies residual branches by; None: by nothing."""
    central: bool = False
    """Whether a convolution's kernel is 0 but at its centre, which is then what a layer of its channels would be."""
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
        """The same of a layer that is drawn without its network.

        Raises `UsageError` where weights adapt to data, or are one half of it, beside a scalar on residual branches.
        """
        require(self.adapt is None, f"{self.spec} adapts its weights to data, which a layer alone has none of")
        require(self.branch is None, f"{self.spec} is for residual branches, of which a layer alone tells nothing")
        return self.promise(setting)

    def promises(self, activation: Activation, network: Network, input_square: float = 1.0) -> list[Promise]:
        """What it promises of each layer of `network`, first to last, for inputs of this mean square."""
        each, (firsts, _) = settings(activation, network, input_square), _alike(network)
        return [*_laid(tuple(self.promise(each[first]) for first in firsts), network)]

    def learning_rates(self, activation: Activation, network: Network, normalizes: bool | None) -> list[Rates]:
        """The factors of each layer of `network`, for an optimizer that divides by the gradient's size or does not.

        Raises `UsageError` where it has `rates`, and none for an optimizer that is like neither (None).
        """
        if self.rates is None:
            return [Rates()] * network.depth
        require(normalizes is not None, f"{self.spec} has learning rates for optimizers like SGD or Adam, and no other")
        return [self.rates(setting, bool(normalizes)) for setting in settings(activation, network)]


@lru_cache(maxsize=32)  # all initializers of a study ask for the same
def settings(activation: Activation, network: Network, input_square: float = 1.0) -> tuple[Setting, ...]:
    """What is known of each layer of `network`, first to last, for inputs of this mean square."""
    branches = network.branches, network.residual
    outputs = [network.output and layer.index == network.depth for layer in network.layers]
    found = [
        Setting(layer, activation, network.bias_variance, 0, input_square, output, *branches, branch)
        for layer, branch, output in zip(network.layers, network.places, outputs, strict=True)
    ]
    square = sum(setting.square for setting in found)
    return tuple(replace(setting, square_layers=square) for setting in found)


@lru_cache(maxsize=32)
def _alike(network: Network) -> tuple[list[int], list[int]]:
    """Of layers of which an initializer asks the same, the first; and of each layer, which of these it is like."""
    seen: dict[tuple[Any, ...], int] = {}
    firsts, which = list[int](), list[int]()
    for number, (layer, branch) in enumerate(zip(network.layers, network.places, strict=True)):
        output = network.output and layer.index == network.depth
        place = layer.fan_in, layer.fan_out, layer.index == 1, output, branch
        if place not in seen:
            seen[place] = len(firsts)
            firsts.append(number)
        which.append(seen[place])
    return firsts, which


@lru_cache(maxsize=4)  # an initializer that does not ask for the activation promises the next one the same
def _laid(promised: tuple[Promise, ...], network: Network) -> list[Promise]:
    """Of each layer, what is promised of the first that is like it."""
    told = [vars(promise) for promise in promised]
    return [Promise(**{**told[number], "layer": layer})
            for number, layer in zip(_alike(network)[1], network.layers, strict=True)]  # fmt: skip
