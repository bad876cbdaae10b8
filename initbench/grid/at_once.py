"""Studies whose result is computed at once, in one piece: Jacobians, and theory's depth scales."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from initbench.activations import ACTIVATIONS
from initbench.core.catalogue import Catalogue, require_known
from initbench.core.errors import UsageError, require
from initbench.datasets import DATASETS
from initbench.engine import device as devices
from initbench.grid import provenance
from initbench.grid.jacobians import jacobians
from initbench.grid.store import Store
from initbench.grid.variance_study import open_inputs, resolve
from initbench.initializers import INITIALIZERS
from initbench.theory.phase import phase

Progress = Callable[[int, int], None]
Compute = Callable[[Progress], pd.DataFrame | dict[str, pd.DataFrame]]
"""Gives one table, or several by name."""
Uses = Mapping[Catalogue[Any], Iterable[str]]
"""Specs that a result rests on, by the catalogue that reads them."""
OF_JACOBIANS = ("spectrum", "at", "probes")
OF_PHASES = ("activation", "weight_variances", "bias_variances")
LISTS = "weight_variances and bias_variances are lists of numbers"


def jacobian_work(options: dict[str, Any], where: dict[str, Any]) -> Callable[[Path, Progress], None]:
    """What writes the table ``jacobians`` (`grid.jacobians`); raises `UsageError` for what cannot be."""
    known = [*inspect.signature(resolve).parameters, *OF_JACOBIANS]
    require_known(options, known)
    study = resolve(**{name: value for name, value in options.items() if name not in OF_JACOBIANS})
    read = open_inputs(study, where["data_root"], where["download"]).fingerprint
    data = {study.input: read} if read else {}
    uses: Uses = {INITIALIZERS: study.init, ACTIVATIONS: study.activation, DATASETS: data}
    return computed("jacobian", options, where["device"], lambda count: jacobians(**options, **where, progress=count),
                    uses, data)  # fmt: skip


def phase_work(options: dict[str, Any], where: dict[str, Any]) -> Callable[[Path, Progress], None]:
    """What writes the table ``phases`` (`theory.phase.phase`): fixed points and depth scales at each variance."""
    require_known(options, OF_PHASES)
    activation = ACTIVATIONS.make(options.get("activation", "tanh"))
    try:
        given = [options.get(name, [1.0]) for name in OF_PHASES[1:]]
        require(all(isinstance(values, list | tuple) and values for values in given), LISTS)
        grid = [[float(value) for value in values] for values in given]
    except (OverflowError, TypeError, ValueError):
        raise UsageError(LISTS) from None

    def compute(count: Progress) -> pd.DataFrame:
        return pd.DataFrame(phase(activation, *grid)).assign(activation=activation.spec, init="", seed=0)

    return computed("phase", options, where["device"], compute, {ACTIVATIONS: [activation.spec]})


def computed(
    kind: str,
    options: dict[str, Any],
    device: str,
    compute: Compute,
    uses: Uses,
    data: Mapping[str, str] | None = None,
) -> Callable[[Path, Progress], None]:
    """What writes the tables that `compute` gives (one alone: as ``{kind}s``) into a folder, unless they are there.

    `data` are the fingerprints, by name, of the data that they rest on.
    """
    there: torch.device = devices.resolve(device)
    plugins = provenance.plugins(uses)
    rests_on = {"versions": provenance.versions(), **({"data": data} if data else {}), **plugins}

    def work(out: Path, progress: Progress) -> None:
        with Store(out, {"kind": kind, **options}, rests_on, (), replace=True) as store:
            if not store.finished:
                told = provenance.Told(there)
                found = compute(progress)
                store.finish(found if isinstance(found, dict) else {f"{kind}s": found}, {**told.now(), **plugins})

    return work
