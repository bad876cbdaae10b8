"""A study of Jacobians: their singular values beside mean field's chi, and what each layer does to a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from initbench.activations import ACTIVATIONS
from initbench.core.errors import UsageError, require
from initbench.core.randomness import generator
from initbench.core.records import InputMoments, Layer, Network, Promise
from initbench.engine import device as devices
from initbench.engine import jacobian as engine
from initbench.engine.stack import draw_projection
from initbench.engine.statistics import mean_cosine
from initbench.grid.plan import require_memory
from initbench.grid.variance_study import VarianceStudy, open_inputs, require_kinds, resolve
from initbench.initializers import INITIALIZERS, Basis
from initbench.initializers.bases import DRAWN, UnitDraw
from initbench.theory.laws import LAWS, predict

QUANTILES = tuple(f"singular_{round(100 * share)}" for share in engine.SHARES)
COLUMNS = ("init", "activation", "seed", "scope", "layer", "fan_in", "fan_out", "squared_singular_value",
           "squared_singular_value_se", "predicted_squared_singular_value", "singular_max", "singular_mean",
           "singular_min", *QUANTILES, "condition", "rank", "effective_rank", "cosine", "predicted_cosine",
           "ntk_condition", "note")  # fmt: skip
Rows = list[dict[str, Any]]
PREDICTED = "predicted_squared_singular_value"
LOST = "beyond float64"
UNRESOLVED = "the smallest singular values are 0 or below the rounding"


def jacobians(
    *,
    spectrum: bool = False,
    at: int = 4,
    probes: int = 64,
    data_root: Path | None = None,
    download: bool = False,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, of: None,
    **options: Any,
) -> pd.DataFrame:
    """A row per init, activation, seed and layer (scope ``layer``), and one for the whole network (scope ``network``).

    `squared_singular_value` is tr(J'J)/fan_in at the first `at` inputs of the batch, the factor on a gradient's second
    moment on its way back: of a layer exactly, of the network by `probes` random vectors an input, with its standard
    error. Beside it what mean field predicts, the (product of) fan_out·Var(w) E[phi'²]. `singular_max`,
    `singular_mean`, `singular_min`, quantiles between, `condition` and `rank` need `spectrum`; `note` says at how many
    inputs the Jacobian is 0. Of the whole batch are `effective_rank` (of the activations), `cosine` (of the
    pre-activations, mean over pairs) with mean field's, and `ntk_condition`. `options` are those of `resolve`. Raises
    `UsageError` for what cannot be.

    >>> frame = jacobians(init="orthogonal", activation="linear", depth=3, width=8, seeds=1, batch=4, spectrum=True)
    >>> round(frame.condition[frame.scope == "network"].item(), 5)
    1.0
    """
    require_kinds({"at": at, "probes": probes})
    require(at >= 1, f"the Jacobian is taken at 1 input or more, not {at}")
    require(probes >= 1, f"probes must be at least 1, not {probes}")
    study, there = resolve(**options), devices.resolve(device)
    require_memory(study.widths, study.batch + at * probes)
    inputs = open_inputs(study, data_root, download)
    moments = inputs.moments(study.seeds, study.batch)
    pairings = [Pairing(init, activation, study.network, moments) for init, activation in study.pairings]
    if not any(pairing.promises for pairing in pairings):
        raise UsageError(pairings[0].refusal)
    rows, of = [pairing.refused() for pairing in pairings if not pairing.promises], study.seeds * len(pairings)
    for seed in range(study.seeds):
        batch = inputs.batch(seed, study.batch, study.widths[0]).to(there)
        unit_draw = _remembered()
        for number, pairing in enumerate(pairings):
            if pairing.promises:
                rows.append(pairing.rows(seed, batch, unit_draw, at, probes, spectrum))
            progress(seed * len(pairings) + number + 1, of)
    return _table(study, [row for group in rows for row in group])


def _remembered() -> UnitDraw:
    """Initializers of one family share a draw: it is made once for a seed."""
    return lru_cache(maxsize=None)(Basis.weights)


def _table(study: VarianceStudy, rows: Rows) -> pd.DataFrame:
    order = {pairing: place for place, pairing in enumerate(study.pairings)}
    rows.sort(key=lambda row: (order[row["init"], row["activation"]], row["seed"], row["scope"], row["layer"]))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"seed": "Int64"})


class Pairing:
    """An initializer with an activation, on one network's shape: its theory once, its rows for each seed."""

    def __init__(self, init: str, activation: str, network: Network, moments: InputMoments) -> None:
        self.who = {"init": init, "activation": activation}
        self._activation, self._initializer = ACTIVATIONS.make(activation), INITIALIZERS.make(init)
        self._network = network
        self.promises: list[Promise] = []
        self.refusal = ""
        try:
            self.promises = self._initializer.promises(self._activation, network, moments.mean_square)
        except UsageError as reason:
            self.refusal = str(reason)
            return
        self._theory = self._predicted(moments)

    def refused(self) -> Rows:
        """One row that says why the pairing cannot be."""
        return [{**self.who, "seed": None, "scope": "network", "layer": self._network.depth, "note": self.refusal}]

    def rows(self, seed: int, batch: Tensor, unit_draw: UnitDraw, at: int, probes: int, spectrum: bool) -> Rows:
        """The rows of one draw: the layers, and the network."""
        drawn = engine.draw(self._initializer, self.promises, self._activation, seed, batch.device, unit_draw,
                            batch)  # fmt: skip
        whole = engine.forward(drawn, batch)
        few = whole.first(at)
        layers = self._network.layers
        squares = engine.layer_squares(drawn, few)
        rows = [self._row(seed, "layer", layer) for layer in layers]
        for number, row in enumerate(rows):
            row |= self._theory[number]
            if not whole.held[number] or math.isnan(_held(squares[number])):
                row["note"] = LOST
                continue
            row |= {"squared_singular_value": squares[number], "squared_singular_value_se": 0.0,
                    "effective_rank": engine.effective_rank(whole.a[number]),
                    "cosine": float(mean_cosine(whole.z[number][None]))}  # fmt: skip
            if spectrum:
                row |= _spectrum(engine.layer_jacobian(drawn, few, number))
        return [*rows, self._whole(seed, drawn, whole, few, probes, spectrum)]

    def _whole(
        self, seed: int, drawn: engine.Mlp, whole: engine.Passage, few: engine.Passage, probes: int, spectrum: bool
    ) -> dict[str, Any]:
        widths = self._network.widths
        row = self._row(seed, "network", Layer(self._network.depth, widths[0], widths[-1]))
        row[PREDICTED] = _held(math.prod(layer[PREDICTED] for layer in self._theory))
        if not whole.held[-1]:
            return {**row, "note": LOST}
        vectors = _probes(len(few.inputs), probes, widths[0], seed).to(few.inputs.device)
        square, error = engine.network_square(drawn, few, vectors)
        if math.isnan(_held(square)):
            return {**row, "note": LOST}
        kernel = engine.tangent_kernel(drawn, whole, draw_projection(1, widths[-1], seed)[0])
        row |= {"squared_singular_value": square, "squared_singular_value_se": error,
                "ntk_condition": engine.kernel_condition(kernel)}  # fmt: skip
        return row | (_spectrum(engine.jacobian(drawn, few), len(self.promises)) if spectrum else {})

    def _row(self, seed: int, scope: str, layer: Layer) -> dict[str, Any]:
        place = {"layer": layer.index, "fan_in": layer.fan_in, "fan_out": layer.fan_out}
        return {**self.who, "seed": seed, "scope": scope, **place, "note": ""}

    def _predicted(self, moments: InputMoments) -> list[dict[str, float]]:
        """Mean field's columns of each layer; without randomness of zero mean it has no chi."""
        rows = predict(LAWS.make("mean_field"), self._activation, self.promises, moments)
        return [{PREDICTED: _chi(promise, row), "predicted_cosine": float(row["z_cosine"])}
                for promise, row in zip(self.promises, rows, strict=True)]  # fmt: skip


def _chi(promise: Promise, row: dict[str, float | str]) -> float:
    """fan_out·Var(w) E[phi'(z)²], the slope's mean square read from the gradient's way through it."""
    if not promise.random:
        return math.nan
    before, after = float(row["grad_a_second_moment"]), float(row["grad_z_second_moment"])
    if promise.variance == 0 or before == 0:  # a network of zeros sends back nothing that a slope could be read from
        return 0.0 if promise.variance == 0 else math.nan
    return promise.layer.fan_out * promise.variance * after / before


def _held(square: float) -> float:
    """NaN for what float64 cannot hold."""
    return square if math.isfinite(square) and (square == 0 or square >= np.finfo(float).tiny) else math.nan


def _probes(inputs: int, probes: int, features: int, seed: int) -> Tensor:
    """Random vectors with E[vv'] = 1, `inputs probes features`: signs, whose estimate of a trace varies least."""
    source = generator(seed, "probe", inputs, probes, features)
    return torch.randint(0, 2, (inputs, probes, features), generator=source, device="cpu").to(DRAWN["dtype"]) * 2 - 1


def _spectrum(matrices: Tensor, factors: int = 1) -> dict[str, Any]:
    found = engine.spectrum(matrices, factors)
    between = dict(zip(QUANTILES, found.quantiles, strict=True))
    told = {"singular_max": found.largest, "singular_mean": found.mean, "singular_min": found.smallest, **between,
            "condition": found.condition, "rank": found.rank}  # fmt: skip
    notes, inputs = [], len(matrices)
    if found.zero:
        rest = "all" if found.zero == inputs else "the singular values told are of the others"
        notes.append(f"the Jacobian is 0 at {found.zero} of {inputs} inputs: {rest}")
    if found.zero < inputs and math.isnan(found.condition):
        notes.append(UNRESOLVED)
    return told | {"note": "; ".join(notes)}
