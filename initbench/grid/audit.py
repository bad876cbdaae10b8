"""What variance one really gets: each framework's conventions, drawn and held against what their documentation says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.errors import UsageError, require
from initbench.core.records import InputMoments, Layer, Promise
from initbench.grid.conventions import CONVENTIONS, Convention, Draw, Drawn
from initbench.grid.variance_study import MOST_SEEDS, require_kinds
from initbench.initializers import INITIALIZERS, Setting
from initbench.initializers.bases import parameters
from initbench.theory.laws import LAWS, predict

DEPTH = 20
CONFIDENCE = 0.999
"""Of a row's interval: a table has some thirty rows, and at 95 % one or two right ones would be called wrong."""
FEWEST, MOST = 100, 10**8
COLUMNS = ("convention", "init", "fan_in", "fan_out", "activation", "seeds", "promised_variance", "promised_by",
           "variance", "variance_low", "variance_high", "ratio", "agrees", "growth_forward", "growth_backward",
           "z_second_moment_20", "note")  # fmt: skip


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
