"""Carry out a study into a results folder, going on where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from initbench.activations import ACTIVATIONS
from initbench.datasets import DATASETS
from initbench.engine import device as devices
from initbench.engine.signals import subnormals_flushed
from initbench.grid import provenance
from initbench.grid.plan import plan
from initbench.grid.residuals import residuals
from initbench.grid.store import Store
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import VarianceStudy, open_inputs
from initbench.initializers import INITIALIZERS

TABLES = ("layers", "histograms")
"""What each part of a study holds."""


@subnormals_flushed()
def run_variance(
    study: VarianceStudy,
    out: Path,
    *,
    data_root: Path | None = None,
    download: bool = False,
    device: str = "auto",
    judge: Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame], pd.DataFrame] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Store:
    """The tables of `study` in `out`: layers, histograms, predictions, residuals, and verdicts as `judge` makes them.

    Each part is kept as soon as it is done, and a finished one is not computed again. `judge` is given `layers`,
    `predictions` and `residuals`. `progress` is called with the networks done and their number. Raises `UsageError`
    for what cannot be before anything is written.
    """
    there = devices.resolve(device)
    planned = plan(study)
    inputs = open_inputs(study, data_root, download)
    inputs.batch(0, study.batch, study.widths[0])  # data that does not fit is told before the folder is made
    read = [study.input] if inputs.fingerprint else []
    plugins = provenance.plugins({INITIALIZERS: study.init, ACTIVATIONS: study.activation, DATASETS: read})
    rests_on = {"versions": provenance.versions(), "data": inputs.fingerprint, **plugins}
    with Store(out, study.as_toml(), rests_on, TABLES, replace=True) as store:
        if store.finished:
            return store
        told = provenance.Told(there)
        done = 0

        def count(just_done: int) -> None:
            nonlocal done
            done += just_done
            progress(done, planned.size)

        parts = {f"seed{seeds.start:06d}": seeds for seeds in planned.parts}
        for part, seeds in parts.items():
            if store.has(part):
                count(len(seeds) * planned.size // study.seeds)
            else:
                store.write_part(part, measure(planned, inputs, seeds, there, count))
        store.require(list(parts))
        tables = {table: store.read_parts(table) for table in TABLES}
        moments = inputs.moments(study.seeds, study.batch)
        tables["predictions"] = predictions(study, moments)
        tables["residuals"] = residuals(study, moments, tables["layers"])
        if judge:
            tables["verdicts"] = judge(tables["layers"], tables["predictions"], tables["residuals"])
        store.finish(tables, {**told.now(), **plugins})
    return store
