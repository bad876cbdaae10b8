"""What variance one really gets: each framework's conventions, drawn and held against what their documentation says.

torch's are drawn by torch's own functions; Keras's and JAX's, which need not be installed, by the catalogue's entry of
the same distribution: the tests hold these against what Keras and JAX draw themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri
from torch import Generator, Tensor

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.errors import UsageError, require
from initbench.core.randomness import generator
from initbench.core.records import InputMoments, Layer, Promise
from initbench.grid.variance_study import MOST_SEEDS, require_kinds
from initbench.initializers import INITIALIZERS, Setting
from initbench.initializers.bases import DRAWN, parameters
from initbench.theory.laws import LAWS, predict

DEPTH = 20
CONFIDENCE = 0.999
"""Of a row's interval: a table has some thirty rows, and at 95 % one or two right ones would be called wrong."""
FEWEST, MOST = 100, 10**8
COLUMNS = ("convention", "init", "fan_in", "fan_out", "activation", "seeds", "promised_variance", "promised_by",
           "variance", "variance_low", "variance_high", "ratio", "agrees", "growth_forward", "growth_backward",
           "z_second_moment_20", "note")  # fmt: skip

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


@dataclass(frozen=True)
class Spread:
    """What was drawn, over all seeds."""

    variance: float
    """The mean over seeds of the unbiased variance about the seed's own mean."""
    relative_error: float
    """Its standard error / variance."""
    mean: float
    bias_variance: float
    """E[b²]."""

    @property
    def interval(self) -> tuple[float, float]:
        """Of Var(w), at `CONFIDENCE`: normal for the logarithm, which a variance of few weights is nearer to."""
        reach = math.exp(float(ndtri((1 + CONFIDENCE) / 2)) * self.relative_error)
        return self.variance / reach, self.variance * reach


def spread(draws: Iterator[Drawn]) -> Spread:
    """The spread of one layer's draws, a draw a seed.

    For n independent weights of kurtosis k = E[(w - m)⁴] / Var², Var(s²) = Var² (k - (n - 3)/(n - 1)) / n (Cramér 1946,
    sec. 27.4): the kurtosis is the draws' own. Chi-square takes k = 3 for granted: too wide for a uniform (1.8), too
    narrow for a sparse weight.
    """
    variances, fourths, means, biases, count = [], [], [], [], 0
    for weight, bias in draws:
        values, count = weight.double(), weight.numel()
        mean = values.mean()
        centred = values - mean if bool(values.min() < values.max()) else torch.zeros_like(values)
        variances.append(float(centred.square().sum()) / (count - 1))
        fourths.append(float(centred.pow(4).mean()))
        means.append(float(mean))
        biases.append(float(bias.double().square().mean()))
    variance = float(np.mean(variances))
    kurtosis = float(np.mean(fourths)) / variance**2 if variance > 0 else 1.0
    error = max(kurtosis - (count - 3) / (count - 1), 0.0) / (count * len(variances)) if variance > 0 else 0.0
    return Spread(variance, math.sqrt(error), float(np.mean(means)), float(np.mean(biases)))


def audit(
    *,
    init: str | Sequence[str] = (),
    fan_in: int = 512,
    fan_out: int = 256,
    activation: str = "relu",
    seeds: int = 10,
) -> pd.DataFrame:
    """A row for each convention, and for each `init`: the variance promised and the variance drawn, with its interval.

    `growth_forward` and `growth_backward` are log10 of the factor on E[z²] and on the gradient's second moment from
    layer to layer, `z_second_moment_20` is E[z²] at layer 20: mean field for input of E[x²] = 1 and 20 layers that have
    these fans and the variance drawn. Weights with a mean have none of the three, and a note. Raises `UsageError` for
    what cannot be.

    >>> audit(seeds=2).set_index("convention").agrees["torch.nn.Linear"]
    np.True_
    """
    require_kinds({"init": init, "fan_in": fan_in, "fan_out": fan_out, "seeds": seeds})
    require(isinstance(activation, str), f"activation must be a name, not {activation!r}")
    require(min(fan_in, fan_out) >= 1, f"fans must be at least 1, not {fan_in} and {fan_out}")
    count = fan_in * fan_out
    require(FEWEST <= count <= MOST, f"the audit is for layers of {FEWEST} to {MOST:,} weights, not {count:,}")
    require(1 <= seeds <= MOST_SEEDS, f"seeds must be from 1 to {MOST_SEEDS:,}, not {seeds:,}")
    layer, phi = Layer(1, fan_in, fan_out), ACTIVATIONS.make(activation)
    specs = dict.fromkeys(INITIALIZERS.make(spec).spec for spec in ([init] if isinstance(init, str) else init))
    asked = [_of_catalogue(spec, phi) for spec in specs]
    rows = [_row(convention, layer, phi, seeds) for convention in (*CONVENTIONS, *asked)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"agrees": "boolean"})


def _of_catalogue(spec: str, activation: Activation) -> Convention:
    """An entry of the catalogue, held to its own promise."""
    entry = INITIALIZERS.entry(spec.partition("(")[0])
    promised = lambda layer: _promise(spec, layer, activation).variance  # noqa: E731
    return Convention(spec, promised, f"initbench: {entry.formula}", spec)


def _promise(spec: str, layer: Layer, activation: Activation) -> Promise:
    return INITIALIZERS.make(spec).alone(Setting(layer, activation))


def _row(convention: Convention, layer: Layer, activation: Activation, seeds: int) -> dict[str, Any]:
    spec = convention.spec(layer)
    row: dict[str, Any] = {
        "convention": convention.name, "init": spec, "fan_in": layer.fan_in, "fan_out": layer.fan_out, "seeds": seeds,
        "activation": activation.spec, "promised_by": convention.promised_by, "note": convention.note}  # fmt: skip
    try:
        promised, draw = convention.promised(layer), convention.draw or _catalogue_draw(spec, activation)
        found = spread(draw(layer, seed) for seed in range(seeds))
    except UsageError as reason:  # an initializer that cannot serve this activation
        return {**row, "note": str(reason)}
    low, high = found.interval
    ratio = found.variance / promised if promised > 0 else math.nan
    row |= {"promised_variance": promised, "variance": found.variance, "variance_low": low, "variance_high": high,
            "ratio": ratio, "agrees": low <= promised <= high}  # fmt: skip
    return {**row, **_at_depth(spec, layer, activation, found, row["note"])}


def _catalogue_draw(spec: str, activation: Activation) -> Draw:
    return lambda layer, seed: parameters(INITIALIZERS.make(spec), _promise(spec, layer, activation), seed)


def _at_depth(spec: str, layer: Layer, activation: Activation, found: Spread, note: str) -> dict[str, Any]:
    """What 20 layers of these fans make of the variance that was drawn."""
    promise = _promise(spec, layer, activation) if spec else Promise(layer, found.variance, found.mean)
    if not promise.random or promise.mean != 0:
        why = f"E[w] = {found.mean:.3g}: no mean-field law of zero mean holds"
        return {"note": f"{note}; {why}" if note else why}
    made = replace(promise, variance=found.variance, bias_variance=found.bias_variance)
    promises = [replace(made, layer=replace(layer, index=index + 1)) for index in range(DEPTH)]
    rows = predict(LAWS.make("mean_field"), activation, promises, InputMoments())
    z, gradient = (np.array([float(row[name]) for row in rows]) for name in ("z_second_moment", "grad_z_second_moment"))
    with np.errstate(divide="ignore", invalid="ignore"):
        forward, backward = (np.log10(end / start) / (DEPTH - 1) for start, end in (z[[0, -1]], gradient[[-1, 0]]))
    return {"growth_forward": forward, "growth_backward": backward, "z_second_moment_20": z[-1]}
