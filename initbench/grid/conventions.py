"""Each framework's conventions, and what their documentation promises of them: the rows of the audit.

torch's are drawn by torch's own functions; Keras's and JAX's, which need not be installed, by the catalogue's entry of
the same distribution: the tests hold these against what Keras and JAX draw themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from initbench.core.randomness import generator
from initbench.core.records import Layer
from initbench.initializers.bases import DRAWN

Drawn = tuple[Tensor, Tensor]
"""Weights `fan_out fan_in` and biases `fan_out`."""
Draw = Callable[[Layer, int], Drawn]
"""One layer's parameters for a seed."""


@dataclass(frozen=True)
class Convention:
    """A way to initialize, and one reading of what it promises."""

    name: str
    promised: Callable[[Layer], float]
    """Var(w)."""
    promised_by: str
    """Who says so, and the formula."""
    init: str | Callable[[Layer], str] = ""
    """The catalogue's entry of the same distribution, where there is one."""
    draw: Draw | None = None
    """None where the catalogue's entry draws."""
    note: str = ""

    def spec(self, layer: Layer) -> str:
        """`init`, for a layer whose fans it may depend on."""
        return self.init if isinstance(self.init, str) else self.init(layer)


@contextmanager
def _global_generator(source: Generator) -> Iterator[None]:
    """For what draws from torch's global CPU generator alone: it draws as `source` would, and is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(source.get_state())  # manual_seed would seed the accelerators too
        yield


def _source(layer: Layer, seed: int, purpose: str = "audit") -> Generator:
    """Without the convention's name: what torch draws in the same way is compared on the same draw."""
    return generator(seed, purpose, layer.fan_out, layer.fan_in)


def _linear(layer: Layer, seed: int, bias: bool = True) -> Drawn:
    with _global_generator(_source(layer, seed)):
        made = torch.nn.Linear(layer.fan_in, layer.fan_out, bias=bias, **DRAWN)
    return made.weight.detach(), made.bias.detach() if bias else torch.zeros(layer.fan_out, **DRAWN)


def _filled(fill: Callable[..., Tensor], **options: Any) -> Draw:
    """A function of torch.nn.init on a weight as nn.Linear has it, without biases."""

    def draw(layer: Layer, seed: int) -> Drawn:
        weight, source = torch.empty(layer.fan_out, layer.fan_in, **DRAWN), _source(layer, seed)
        # sparse_ takes its zeros from the global one, whatever generator it is given
        with _global_generator(_source(layer, seed, "audit zeros")):
            fill(weight, generator=source, **options)
        return weight, torch.zeros(layer.fan_out, **DRAWN)

    return draw


def _turned(layer: Layer, seed: int) -> Drawn:
    """He's by torch on a weight stored as `fan_in fan_out`."""
    weight, _ = _he(_INIT.kaiming_normal_)(Layer(layer.index, layer.fan_out, layer.fan_in), seed)
    return weight.t(), torch.zeros(layer.fan_out, **DRAWN)


def _from_zero(layer: Layer, seed: int) -> Drawn:
    """U[0, 0.01): no entry of the catalogue has a mean and a spread."""
    weight = torch.rand(layer.fan_out, layer.fan_in, generator=_source(layer, seed), **DRAWN) * 0.01
    return weight, torch.zeros(layer.fan_out, **DRAWN)


def _over(scale: float, fan: str) -> Callable[[Layer], float]:
    """scale / fan, as a promise."""
    share = {"fan_in": 1.0, "fan_out": 0.0, "fan_avg": 0.5}[fan]
    return lambda layer: scale / (share * layer.fan_in + (1 - share) * layer.fan_out)


def _always(variance: float) -> Callable[[Layer], float]:
    return lambda _: variance


_INIT = torch.nn.init
_LINEAR = "torch docs: U(±1/sqrt(fan_in)), 1/(3 fan_in)"
_KAIMING = "torch docs: gain²/fan, gain² = 2"
_KERAS = "Keras docs: stddev sqrt(scale/n)"
_TORCH_CUT = "torch docs: std is the standard deviation; the bounds ±2 are absolute"
_HE_CUT = "variance_scaling(scale=2, distribution=truncated_normal)"
_CORRECTED = "cut at 2 std and corrected for it; torch's is neither"
_he = partial(_filled, nonlinearity="relu")
_no_bias = partial(_linear, bias=False)

CONVENTIONS = (
    Convention("torch.nn.Linear", _over(1 / 3, "fan_in"), _LINEAR, "torch_default", _linear,
               "its biases, drawn alike, set a floor"),
    Convention("torch.nn.Linear(bias=False)", _over(1 / 3, "fan_in"), _LINEAR, "torch_default(bias=false)", _no_bias),
    Convention("torch.nn.Linear(bias=False), taken for He's", _over(2, "fan_in"),
               "the function in its source, kaiming_uniform_: He et al. 2015, 2/fan_in",
               "torch_default(bias=false)", _no_bias,
               "a=sqrt(5) is no slope of the network's: it leaves 1/6 of He's (pytorch#15314, #57109)"),
    Convention("torch.nn.init.kaiming_normal_", _over(2, "fan_in"), _KAIMING, "he_normal", _he(_INIT.kaiming_normal_)),
    Convention("torch.nn.init.kaiming_uniform_", _over(2, "fan_in"), _KAIMING, "he_uniform",
               _he(_INIT.kaiming_uniform_)),
    Convention("torch.nn.init.kaiming_normal_(mode=fan_out)", _over(2, "fan_out"), _KAIMING, "he_fan_out_normal",
               _he(_INIT.kaiming_normal_, mode="fan_out")),
    Convention("torch.nn.init.kaiming_normal_, used as x @ w", _over(2, "fan_in"), _KAIMING, "he_fan_out_normal",
               _turned, "torch takes w[fan_out, fan_in]; stored the other way, the fans are exchanged"),
    Convention("torch.nn.init.xavier_normal_", _over(1, "fan_avg"), "torch docs: std sqrt(2/(fan_in + fan_out))",
               "xavier_normal", _filled(_INIT.xavier_normal_)),
    Convention("torch.nn.init.xavier_uniform_", _over(1, "fan_avg"), "torch docs: bound sqrt(6/(fan_in + fan_out))",
               "xavier_uniform", _filled(_INIT.xavier_uniform_)),
    Convention("torch.nn.init.orthogonal_", lambda s: 1 / max(s.fan_in, s.fan_out), "torch docs: (semi-)orthogonal",
               "orthogonal", _filled(_INIT.orthogonal_)),
    Convention("torch.nn.init.trunc_normal_(std=1)", _always(1.0), _TORCH_CUT, "truncated_normal",
               _filled(_INIT.trunc_normal_), "at std 1 they cut at 2 std and leave 0.7737 of the variance"),
    Convention("torch.nn.init.trunc_normal_(std=0.02)", _always(0.02**2), _TORCH_CUT, "normal(std=0.02)",
               _filled(_INIT.trunc_normal_, std=0.02), "at std 0.02 they are at 100 std and cut nothing"),
    Convention("torch.nn.init.sparse_(sparsity=0.1)", lambda s: 0.01 * (1 - math.ceil(0.1 * s.fan_out) / s.fan_out),
               "torch docs: what is not 0 is N(0, 0.01)", "sparse(sparsity=0.1)", _filled(_INIT.sparse_, sparsity=0.1),
               "0.01 is the standard deviation, where the docs' notation has the variance"),
    Convention("keras Dense", _over(1, "fan_avg"), "Keras docs: U(±sqrt(6/(fan_in + fan_out)))", "keras_default"),
    Convention("keras VarianceScaling", _over(1, "fan_in"), _KERAS, "variance_scaling(distribution=truncated_normal)",
               note=_CORRECTED),
    Convention("keras VarianceScaling(mode=fan_out)", _over(1, "fan_out"), _KERAS,
               "variance_scaling(mode=fan_out, distribution=truncated_normal)", note=_CORRECTED),
    Convention("keras VarianceScaling(mode=fan_avg)", _over(1, "fan_avg"), _KERAS,
               "variance_scaling(mode=fan_avg, distribution=truncated_normal)", note=_CORRECTED),
    Convention("keras HeNormal", _over(2, "fan_in"), "Keras docs: stddev sqrt(2/fan_in)", _HE_CUT, note=_CORRECTED),
    Convention("keras TruncatedNormal(stddev=0.05)", _always(0.05**2), "Keras docs: standard deviation of the values",
               "truncated_normal(std=0.05)", note="they are cut at 2 stddev: 0.7737 of the variance is left"),
    Convention("tf variance_scaling before #18706, tfjs", _over(1, "fan_in"), "TensorFlow docs: stddev sqrt(scale/n)",
               lambda s: f"truncated_normal(std={s.fan_in**-0.5!r})",
               note="cut at 2 std and not corrected (tensorflow#18706; tfjs#8594 is open)"),
    Convention("flax Dense", _over(1, "fan_in"), "Flax docs: lecun_normal, 1/fan_in", "jax_default", note=_CORRECTED),
    Convention("jax he_normal", _over(2, "fan_in"), "JAX docs: 2/fan_in after truncation", _HE_CUT, note=_CORRECTED),
    Convention("jax truncated_normal(stddev=0.01)", _always(0.01**2), "JAX docs, returns: standard deviation stddev",
               "truncated_normal(std=0.01)", note="of the argument the same docs say: of the untruncated distribution"),
    Convention("jax uniform(scale=0.01)", _always(0.01**2 / 12), "JAX docs: uniform in [0, scale)", draw=_from_zero),
    Convention("jax uniform(scale=0.01), taken for U(±scale)", _always(0.01**2 / 3), "the name elsewhere: scale²/3",
               draw=_from_zero, note="it is on [0, scale): three quarters of E[w²] = scale²/3 are the mean's"),
    Convention("lecture's He", _over(2, "fan_avg"), "lecture: 4/(fan_in + fan_out)", "he_fan_avg_normal"),
    Convention("lecture's He, taken for He's own", _over(2, "fan_in"), "He et al. 2015, eq. 10: 2/fan_in",
               "he_fan_avg_normal", note="2 fan_in/(fan_in + fan_out) times He's own: the same on square layers alone"),
)  # fmt: skip
"""Every reading is a row; where a name is often taken for something else, so is that."""
