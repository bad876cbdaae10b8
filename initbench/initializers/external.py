"""Initializers of other packages, by one word: they run where their entry is named, and are not imported before.

A network is handed to a package as plain modules. Like all entries here, these treat a linear output as if the
activation followed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from threading import Lock
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from initbench.activations import Activation
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import require
from initbench.core.plugins import Origin, blamed
from initbench.core.records import Layer
from initbench.initializers.adaptation import Drawn
from initbench.initializers.bases import DRAWN
from initbench.initializers.catalogue import register
from initbench.initializers.data_driven import lsuv
from initbench.initializers.record import Basis, Initializer, Setting

MODES = ("analytic", "empirical")
DISTRIBUTIONS = {"normal": ("independent", 0.0), "uniform": ("independent", -1.2), "sinusoidal": ("structured", 0.0)}
"""Of anyinit: how the weights hang together, and their excess kurtosis."""
UNITS, LAYERS = 8, 4
"""Of the network that anyinit is asked about: its gains are those of any width, and of any layer after the second."""
_alone = Lock()
"""The packages, and torch.fx, hold what they are at for the whole process: one network at a time."""


def _package(name: str) -> Origin | None:
    """Its version, on which results rest."""
    return Origin(f"{name} {version(name)}", 0, version(name)) if _is_installed(name) else None


def _is_installed(package: str) -> bool:
    found = find_spec(package)
    return found is not None and found.origin is not None  # a folder of that name is no package


@register("lsuv_package", formula="as `lsuv`, but each layer is let be as soon as |std(w h) - 1| <= tolerance",
          source="the package lsuv of Mishkin, github.com/ducha-aiki/lsuv, on the draws of `lsuv`",
          summary="The author's own package beside ours; needs initbench[packages].",
          origin=_package("lsuv"))  # fmt: skip
def lsuv_package(tolerance: float = 0.1) -> Initializer:
    require(tolerance > 0, f"lsuv_package: tolerance must be above 0, not {tolerance:g}")
    _require_installed("lsuv_package", "lsuv")
    return replace(lsuv(), adapt=partial(_by_lsuv, tolerance))


@register("anyinit", formula="Var(w) so that E[phi(z)²] = 1, or half of what the variance of a bounded phi can be: by"
          " theory (mode=analytic), or on data (mode=empirical); distribution=normal, uniform or sinusoidal; b = 0",
          source="the package anyinit of Mestre et al., github.com/jmiravet/AnyInit, on its own draws",
          summary="Any activation whose E[phi(z)²] should be 1; needs initbench[packages].",
          origin=_package("anyinit"))  # fmt: skip
def anyinit(mode: str = "analytic", distribution: str = "normal") -> Initializer:
    require(mode in MODES, f"anyinit: unknown mode '{mode}'{did_you_mean(mode, MODES)}")
    require(distribution in DISTRIBUTIONS,
            f"anyinit: unknown distribution '{distribution}'{did_you_mean(distribution, DISTRIBUTIONS)}")  # fmt: skip
    _require_installed("anyinit", "anyinit")
    coupling, kurtosis = DISTRIBUTIONS[distribution]
    basis = Basis(f"anyinit {distribution}", partial(_drawn_by_anyinit, distribution), coupling=coupling,
                  excess_kurtosis=lambda _: kurtosis)  # fmt: skip
    measured = mode == "empirical"

    def mean_square(setting: Setting) -> float:
        input_square = setting.input_square if measured and setting.first else 0.0
        first, last = _square_gains(setting.activation, distribution)
        return (first if setting.first else last) / setting.fan_in / (input_square or 1.0)

    return Initializer(basis, mean_square, bias_mean_square=lambda _: 0.0, adapt=_by_anyinit if measured else None)


class Plain(nn.Module):
    """A drawn network: nn.Linear without biases, a module of the activation behind each."""

    def __init__(self, drawn: Drawn, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part for weight in drawn.weights for part in (_linear(weight), activation()))
        self._drawn = drawn

    def forward(self, x: Tensor) -> Tensor:
        given = [x]
        *hidden, last = self.layers
        for layer, activation in zip(hidden, self.parts[1::2], strict=False):
            here = replace(self._drawn, activation=replace(self._drawn.activation, function=activation))
            given.append(here.onward(layer(given[-1]), given))
        return self.parts[-1](last(given[-1]))

    @property
    def layers(self) -> list[nn.Linear]:
        """First to last."""
        return [part for part in self.parts if isinstance(part, nn.Linear)]

    @property
    def sizes(self) -> list[float]:
        """The root mean square of each layer's weights."""
        return [_size(layer.weight) for layer in self.layers]


def _by_lsuv(tolerance: float, drawn: Drawn, batch: Tensor) -> list[float]:
    from lsuv import lsuv_with_singlebatch

    sizes = [_size(weight) for weight in drawn.weights]
    # orthonormal, as the package begins: it lets be what fits
    start = [weight / (size * max(weight.shape) ** 0.5) for weight, size in zip(drawn.weights, sizes, strict=True)]
    network = Plain(replace(drawn, weights=start), _module_of(drawn.activation))
    with _alone, blamed("initializer 'lsuv_package'", lsuv_with_singlebatch):
        lsuv_with_singlebatch(network, batch, std_tol=tolerance, do_orthonorm=False, verbose=False)
    return [after / before for after, before in zip(network.sizes, sizes, strict=True)]


def _by_anyinit(drawn: Drawn, batch: Tensor) -> list[float]:
    """The package draws anew, so that each layer does what `drawn` would with weights of the size that it is given."""
    network = Plain(drawn, _known_to_anyinit(drawn.activation))
    sizes = network.sizes
    for layer, weight, size in zip(network.layers, drawn.weights, sizes, strict=True):
        layer.register_forward_hook(
            lambda layer, given, _, unit=weight / size: F.linear(given[0], unit * _size(layer.weight))
        )
    _initialize(network, "empirical", batch)
    return [after / before for after, before in zip(network.sizes, sizes, strict=True)]


@cache
def _square_gains(activation: Activation, distribution: str) -> tuple[float, float]:
    """fan_in·Var(w) of the first and of the last of `LAYERS` layers, for inputs of E[x²] = 1."""
    kind = _known_to_anyinit(activation)
    parts = [part for _ in range(LAYERS) for part in (_linear(torch.empty(UNITS, UNITS)), kind())]
    first, *_, last = _initialize(nn.Sequential(*parts), distribution=distribution)
    return first**2 * UNITS, last**2 * UNITS


def _drawn_by_anyinit(distribution: str, layer: Layer, generator: Generator) -> Tensor:
    linear = _linear(torch.empty(layer.fan_out, layer.fan_in, **DRAWN))
    seed = int(torch.randint(2**62, (), generator=generator))
    (scale,) = _initialize(nn.Sequential(linear), distribution=distribution, seed=seed)
    return linear.weight.detach() / scale


def _initialize(network: nn.Module, *asked: Any, **options: Any) -> list[float]:
    """Give `network` the package's weights; the scales of its layers."""
    import anyinit as package

    with _alone, blamed("initializer 'anyinit'", package.initialize):
        return [layer.scale or 0.0 for layer in package.initialize(network, *asked, **options).layers]


@cache
def _known_to_anyinit(activation: Activation) -> type[nn.Module]:
    import anyinit as package

    kind = _module_of(activation)
    package.register_activation(kind, name=f"initbench {activation.spec}", overwrite=True)
    return kind


def _module_of(activation: Activation) -> type[nn.Module]:
    """A class of its own: what a package may know an activation by."""

    class Elementwise(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return activation.function(z)

    return Elementwise


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")  # nothing is drawn
    layer.weight = nn.Parameter(weight.clone())
    return layer


def _size(weight: Tensor) -> float:
    return float(torch.linalg.vector_norm(weight)) / weight.numel() ** 0.5


def _require_installed(entry: str, package: str) -> None:
    require(_is_installed(package),
            f'{entry} needs a package that is not installed: pip install "initbench[packages]"')  # fmt: skip
