"""A module probed: its rows for every seed, with what would keep the signal beside what is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from initbench.activations import Activation
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError, require
from initbench.engine.probe.initialization import as_found, by_initializer, by_modules
from initbench.engine.probe.marks import Row
from initbench.engine.probe.measure import Measured, Prepare, measure, trace
from initbench.engine.probe.nested import tensors
from initbench.grid.variance_study import require_kinds
from initbench.initializers import INITIALIZERS
from initbench.theory.critical import critical, moment_gain_square
from initbench.theory.moments import GaussianMoments

COLUMNS = (
    "init", "seed", "layer", "module", "call", "kind", "role", "fan_in", "fan_out", "terms", "elements", "activation",
    "normalized_by", "weight_variance", "weight_second_moment", "kept_variance", "kept_but", "x_second_moment",
    "z_second_moment",
    "predicted_z_second_moment", "z_mean", "z_variance", "z_variance_batch", "z_variance_units", "a_second_moment",
    "a_mean", "a_variance", "a_variance_batch", "cosine", "saturated_fraction", "dead_fraction", "branch",
    "branch_to_trunk", "averaged", "grad_z_second_moment", "grad_a_second_moment", "grad_w_second_moment",
    "update_ratio", "parameters", "note",
)  # fmt: skip
TEXTS = {"init", "module", "kind", "role", "activation", "normalized_by", "kept_but", "branch", "parameters", "note"}
AS_FOUND, BY_MODULES = "as found", "reset_parameters"
"""What stands for the initializer where none is applied."""
UNKNOWN = "{}, to which its output goes, is none that theory follows: no variance is known to keep that"
TIED = "its weight is {} too, and stays with that"
GRADIENT_KEPT = 0.1
"""By how much the log of the squared gradient's factor a layer may be off 0 where E[z²] is kept at 1."""
REPELS = 1.01
"""The slope of the variance map from which on E[z²] leaves its fixed point."""


def probe_layers(
    module: nn.Module,
    batch: Any,
    *,
    seeds: int = 0,
    init: str = "",
    train: bool | None = None,
    only: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[pd.DataFrame, list[str]]:
    """A row per seed and call of a layer or sum of two activations, in order of execution; and what else is to tell.

    With `seeds` 0 the weights are those found; else every seed initializes a copy: by the modules' own
    `reset_parameters`, or by the initializer `init`. `train` is the mode (None: as found), `only` patterns that names
    must match one of. Raises `UsageError` for what cannot be, `WorkError` where the module does not run.
    """
    require(isinstance(module, nn.Module), f"what is probed is a torch.nn.Module, not {type(module).__name__}")
    require(next(tensors(batch), None) is not None, "a batch is a tensor, or a tuple, list or dictionary of tensors")
    require_kinds({"seeds": seeds})
    require(isinstance(init, str), f"init must be a name, not {init!r}")
    require(0 <= seeds <= 1_000_000, f"seeds must be from 0 to 1,000,000, not {seeds}")
    seeds = max(seeds, 1) if init else seeds
    label, prepare = _preparation(module, batch, train, seeds, init)
    frames: list[pd.DataFrame] = []
    notes: dict[str, None] = {}
    of = max(seeds, 1)
    for seed in range(of):
        measured = measure(module, batch, seed, train, prepare)
        frames.append(_frame(measured, label, seed))
        notes |= dict.fromkeys(measured.notes)
        progress(seed + 1, of)
    return _chosen(pd.concat(frames, ignore_index=True), only), [*notes]


def _preparation(
    module: nn.Module, batch: Any, train: bool | None, seeds: int, init: str
) -> tuple[str, Prepare]:  # fmt: skip
    if init:
        initializer, traced = INITIALIZERS.make(init), trace(module, batch, 0, train)
        return initializer.spec, partial(by_initializer, initializer, traced.rows, traced.activations)
    return (BY_MODULES, by_modules) if seeds else (AS_FOUND, as_found)


def _frame(measured: Measured, label: str, seed: int) -> pd.DataFrame:
    rows, tied = [], _tied(measured.rows)
    for number, row in enumerate(measured.rows, 1):
        kept, why_not, but = _kept(row, tied.get(id(row), row.unclear), measured.activations)
        notes = [*row.notes, *([why_not] if why_not else [])]
        rows.append({"init": label, "seed": seed, "layer": number, **row.known, "kept_variance": kept, "kept_but": but,
                     "parameters": ", ".join(row.parameters), "note": "; ".join(notes)})  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = frame.columns.difference([*TEXTS, "seed", "layer", "call"])
    return frame.astype(dict.fromkeys(numbers, float))


def _tied(rows: Sequence[Row]) -> dict[int, str]:
    """By id, rows of a weight that has another name where it is looked up, or first used: it is drawn as that is."""
    first: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.form.role != "lookup"):
        for name in row.aliases:
            first.setdefault(name, row)
    owned = ((row, first[row.aliases[0]].parameters[0]) for row in rows if row.aliases and row.parameters)
    return {id(row): TIED.format(owner) for row, owner in owned if owner != row.parameters[0]}


def _chosen(frame: pd.DataFrame, only: Collection[str]) -> pd.DataFrame:
    patterns = [only] if isinstance(only, str) else [*only]
    if not patterns:
        return frame
    named = frame.module.map(lambda name: any(fnmatchcase(name, pattern) for pattern in patterns))
    if not named.any():
        raise UsageError(
            f"no layer is called {' or '.join(patterns)}{did_you_mean(patterns[0], frame.module.unique())}"
        )
    return frame[named].reset_index(drop=True)


def _kept(row: Row, unclear: str, activations: Mapping[str, Activation]) -> tuple[float, str, str]:
    """Var(w) by the activation that follows, as initializers have it; why there is none; and what it does not keep.

    Only of layers that theory reaches. An activation of the output alone has no level to settle at.
    """
    name, terms = row.known["activation"], row.known.get("seen_terms") or row.known.get("terms")
    if row.known["role"] != "weights" or not terms:
        return math.nan, "", ""
    if unclear or (name and name not in activations):
        return math.nan, unclear or UNKNOWN.format(name), ""
    if not name or (settles_at(activations[name]) and not row.leads):
        return 1 / terms, "", ""
    return keeping_gain(activations[name]) / terms, "", reservation(activations[name])


@lru_cache
def keeping_gain(activation: Activation) -> float:
    """fan_in·Var(w) that keeps the signal: `moment`'s, which keeps E[z²] at 1, if it nearly keeps the gradient too.

    Else that of the critical point, where it attracts E[z²].
    """
    gain = moment_gain_square(activation)
    passed = gain * float(GaussianMoments(activation).slope_second_moment(np.ones(())))
    if passed > 0 and abs(math.log(passed)) < GRADIENT_KEPT:
        return gain
    try:
        point = critical(activation)
    except UsageError:
        return gain
    return point.weight_variance if point.attracting else gain


def settles_at(activation: Activation) -> float:
    """The level of the critical point, where `keeping_gain` is of one that attracts; else 0."""
    return 0.0 if keeping_gain(activation) == moment_gain_square(activation) else critical(activation).q


@lru_cache
def reservation(activation: Activation) -> str:
    """What `keeping_gain` does not keep, in words; empty where E[z²] and gradient² stay at any level."""
    gain = keeping_gain(activation)
    if gain != moment_gain_square(activation):
        q = settles_at(activation)
        return f"E[z²] settles at {q:.3g}" if q else "E[z²] falls, ever more slowly"
    moments, near = GaussianMoments(activation), np.array([1 - 1e-4, 1.0, 1 + 1e-4])
    low, _, high = gain * moments.second_moment(near)
    rise, passed = float(high - low) / 2e-4, gain * float(moments.slope_second_moment(near[1]))
    told = []
    if not np.exp(-GRADIENT_KEPT) < passed < np.exp(GRADIENT_KEPT):
        told.append(f"forward alone: gradient² goes ×{passed:.3g} a layer")
    if rise > REPELS:
        told.append(f"only near E[z²] = 1: what it is off by grows ×{rise:.3g} a layer")
    return ", and ".join(told)
