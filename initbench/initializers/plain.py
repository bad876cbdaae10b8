"""A plain function in the manner of torch.nn.init as an initializer: a basis that it draws, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, overload

import numpy as np
import torch
from torch import Generator, Tensor

from initbench.core import plain
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import require
from initbench.core.global_generators import lent
from initbench.core.plugins import blamed, defined_at
from initbench.core.randomness import generator
from initbench.core.records import Layer
from initbench.initializers.bases import DRAWN, NORMAL
from initbench.initializers.catalogue import INITIALIZERS
from initbench.initializers.record import Basis, Initializer
from initbench.initializers.structure import coupling_of

Function = Callable[..., Any]
Variance = Callable[..., float]
DRAWN_ANEW, FIXED = ("independent", "orthogonal"), ("shared", "diagonal")
STRUCTURED = "structured"
COUPLINGS = (*DRAWN_ANEW, *FIXED, STRUCTURED)
SEEN = Layer(1, 64, 64)
"""The layer whose draws say how weights hang together, so many of them."""
SEEN_DRAWS = 64
FEWEST, MOST = 8, 256
WEIGHTS = 2**22
"""Draws by which a layer's moments are measured: enough for so many weights, a relative error of 0.07 % of a normal's
variance, where no more than `MOST` draws have them."""


@dataclass(frozen=True)
class Told:
    """What the user says of a function's weights; what is None is measured."""

    variance: Variance | None = None
    """Var(w) of (fan_in, fan_out), and of those parameters of the spec that it names."""
    coupling: str | None = None
    excess_kurtosis: float | None = None


@overload
def initializer(function: Function, /) -> Function: ...
@overload
def initializer(
    *, name: str = ..., aliases: tuple[str, ...] = ..., formula: str = ..., summary: str = ..., source: str = ...,
    variance: Variance | float | None = ..., coupling: str | None = ..., excess_kurtosis: float | None = ...,
) -> Callable[[Function], Function]: ...  # fmt: skip
def initializer(
    function: Function | None = None,
    /,
    *,
    name: str = "",
    aliases: tuple[str, ...] = (),
    formula: str = "",
    summary: str = "",
    source: str = "",
    variance: Variance | float | None = None,
    coupling: str | None = None,
    excess_kurtosis: float | None = None,
) -> Any:
    """Decorate ``fn(tensor, generator=None, ...)``, which fills or returns weights `fan_out fan_in`, or a factory of
    `Initializer`: it joins the catalogue under its name.

    Every draw is the project's: the generator that is handed over, and the global ones, start from what the draw is
    for. Without `variance`, a number or a function of fan_in, fan_out and the parameters that it names, mean square,
    mean and kurtosis of each layer's shape are measured on draws of their own; without `coupling`, how weights hang
    together is looked for in them. Raises `UsageError` for a name that is taken.

    >>> @initializer(formula="w ~ N(0, 1.5/fan_in)")
    ... def between(tensor):
    ...     return torch.nn.init.normal_(tensor, 0, (1.5 / tensor.shape[1]) ** 0.5)
    >>> "between" in INITIALIZERS
    True
    """
    require(coupling in (None, *COUPLINGS), f"unknown coupling '{coupling}'{did_you_mean(str(coupling), COUPLINGS)}")
    require(variance is None or coupling not in FIXED, f"weights that are {coupling} have no variance to promise")
    promised = variance if variance is None or callable(variance) else lambda: variance
    build = partial(_build, Told(promised, coupling, excess_kurtosis))
    about = {"aliases": aliases, "formula": formula, "summary": summary, "source": source}
    add = lambda given: plain.register(  # noqa: E731
        INITIALIZERS, given, name, build, Initializer, apart=("generator",), about=about
    )
    return add if function is None else add(function)


def _build(told: Told, name: str, function: Function, arguments: Mapping[str, Any]) -> Initializer:
    weights = PlainWeights(name, function, arguments, told)
    moments = lru_cache(maxsize=None)(lambda fan_in, fan_out: weights.moments(Layer(1, fan_in, fan_out)))
    of = lambda layer: moments(layer.fan_in, layer.fan_out)  # noqa: E731
    basis = Basis(
        name=f"{name} {sorted(arguments.items())}",
        draw=lambda layer, source: weights.unit(layer, source, of(layer).mean_square),
        mean=lambda layer: of(layer).unit_mean,
        coupling=weights.coupling,
        excess_kurtosis=lambda layer: of(layer).excess_kurtosis,
        stream=NORMAL.name,
    )
    return Initializer(basis, lambda setting: of(setting.layer).mean_square)


@dataclass(frozen=True)
class Moments:
    """Of one layer's weights: E[w²], and at unit mean square E[w] and E[w⁴] - 3."""

    mean_square: float
    unit_mean: float
    excess_kurtosis: float


@dataclass(frozen=True, eq=False)
class PlainWeights:
    """What a function draws."""

    name: str
    function: Function
    arguments: Mapping[str, Any]
    told: Told

    @property
    def _what(self) -> str:
        return f"initializer '{self.name}'{defined_at(self.function)}"

    def draw(self, layer: Layer, source: Generator) -> Tensor:
        """As the function gives them, `fan_out fan_in`. Raises `UsageError` where it fails, or they are no weights."""
        tensor = torch.zeros(layer.fan_out, layer.fan_in, **DRAWN)
        made = self._called(tensor, source)
        if made is None and not tensor._version and not tensor.any():  # or filled with 0 behind torch's back
            self._called(ones := torch.ones_like(tensor), source)
            require(not ones.all(), f"{self._what} returned nothing and left its tensor as it was; it fills the one"
                    " that it is given, or returns weights")  # fmt: skip
        made = tensor if made is None else made
        fans = f"for a layer of {layer.fan_in} inputs and {layer.fan_out} units"
        require(isinstance(made, Tensor), f"{self._what} returned {type(made).__name__}, not a tensor")
        require(made.shape == tensor.shape, f"{self._what} returned the shape {tuple(made.shape)} {fans}")
        require(made.dtype == tensor.dtype, f"{self._what} returned {made.dtype}, not {tensor.dtype}")
        require(bool(made.isfinite().all()), f"{self._what} gives weights that are not finite {fans}")
        return made.detach()

    def _called(self, tensor: Tensor, source: Generator) -> Any:
        handed = {"generator": source} if plain.takes(self.function, "generator") else {}
        with blamed(f"initializer '{self.name}'", self.function), lent(source.initial_seed()), torch.no_grad():
            return self.function(tensor, **self.arguments, **handed)

    def unit(self, layer: Layer, source: Generator, mean_square: float) -> Tensor:
        """At unit mean square."""
        weight = self.draw(layer, source)
        require(mean_square > 0 or not weight.any(), f"{self._what} promises the variance 0 and draws other weights")
        return weight / math.sqrt(mean_square or 1.0)

    @cached_property
    def coupling(self) -> str:
        """As told, else as draws have it: ``structured`` where none that theory knows of fits them."""
        return self.told.coupling or coupling_of(list(self._draws(SEEN, SEEN_DRAWS)))[0] or STRUCTURED

    def moments(self, layer: Layer) -> Moments:
        """What is promised, and else measured, of weights of this shape, wherever the layer stands."""
        coupling, told = self.coupling, self.told
        if told.variance and (told.excess_kurtosis is not None or coupling == "orthogonal"):
            return Moments(self._promised(told.variance, layer), 0.0, told.excess_kurtosis or 0.0)
        draws = min(max(FEWEST, WEIGHTS // (layer.fan_in * layer.fan_out)), MOST)
        powers = np.array([_powers(weight) for weight in self._draws(layer, draws)])
        mean, square, fourth = powers.mean(axis=0)
        kurtosis = 0.0 if square == 0 or coupling != "independent" else fourth / square**2 - 3
        if told.excess_kurtosis is not None:
            kurtosis = told.excess_kurtosis
        if told.variance:
            return Moments(self._promised(told.variance, layer), 0.0, kurtosis)
        unit = mean / math.sqrt(square) if square else 0.0
        if coupling in FIXED:  # rounding apart, all their entries are one number, or those of the diagonal are
            entries = 1 if coupling == "shared" else max(layer.fan_in, layer.fan_out)
            return Moments(square, math.copysign(1 / math.sqrt(entries), mean) if square else 0.0, kurtosis)
        surely = abs(unit) > 6 * powers[:, 0].std() / math.sqrt(draws * (square or 1.0)) + 1e-7
        return Moments(square, unit if surely else 0.0, kurtosis)

    def _promised(self, variance: Variance, layer: Layer) -> float:
        asked = {"fan_in": layer.fan_in, "fan_out": layer.fan_out, **self.arguments}
        with blamed(f"initializer '{self.name}': its variance", variance):
            found = float(variance(**{name: value for name, value in asked.items() if plain.takes(variance, name)}))
        require(0 <= found < math.inf, f"{self._what} promises the variance {found:g}; it must be 0 or more")
        return found

    def _draws(self, layer: Layer, count: int) -> Iterator[Tensor]:
        """For measuring: none of them is a network's."""
        return (self.draw(layer, generator(seed, "measured", self.name, layer.fan_out, layer.fan_in))
                for seed in range(count))  # fmt: skip


def _powers(weight: Tensor) -> tuple[float, float, float]:
    """The means of w, w² and w⁴."""
    exact = weight.double()
    square = exact.square()
    return float(exact.mean()), float(square.mean()), float(square.square().mean())
