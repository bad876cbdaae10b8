"""The functions of `import initbench`: options in, tables out."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.analysis.results import Results
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError
from initbench.engine import device as devices
from initbench.grid.plan import plan
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import VarianceStudy, open_inputs, resolve


def predict(
    *, laws: str | Sequence[str] = (), data_root: str | Path | None = None, download: bool = False, **options: Any
) -> pd.DataFrame:
    """What theory says of every pairing, a row per init, activation, law and layer; no sampling.

    `options` are those of `resolve`: init, activation, depth, width or widths, bias_variance, input, ... Raises
    `UsageError` for what cannot be.

    >>> predict(init="he_normal", activation="relu", depth=20, width=512, laws=["mean_field"]).chi.iloc[0]
    np.float64(1.0)
    """
    study = _study(options, "laws", "data_root", "download")
    moments = open_inputs(study, _path(data_root), download).moments(study.seeds, study.batch)
    return predictions(study, moments, laws)


def propagate(
    *, data_root: str | Path | None = None, download: bool = False, device: str = "auto", **options: Any
) -> pd.DataFrame:
    """What deep MLPs do, a row per init, activation, seed and layer: the columns of `initbench list columns`.

    `options` are those of `resolve`. Raises `UsageError` for what cannot be.
    """
    study, there = _study(options, "device", "data_root", "download"), devices.resolve(device)
    inputs = open_inputs(study, _path(data_root), download)
    planned = plan(study)
    parts = [measure(planned, inputs, seeds, there)["layers"] for seeds in planned.parts]
    return pd.concat(parts, ignore_index=True)


def run(
    study: Study,
    out: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    download: bool = False,
    device: str = "auto",
    engine: str = "stacked",
) -> Results:
    """Train what `study` asks for into the folder `out` (default: results/NAME), going on where it stopped before.

    Raises `UsageError` for what cannot be, or where `out` holds something else.
    """
    if not isinstance(study, Study):
        raise UsageError(f"a study is an initbench.Study, not {type(study).__name__}")
    folder = _path(out) or Path("results") / study.name
    run_training(prepare(study, _path(data_root), download, device, engine), folder)
    return Results(folder)


def _study(options: dict[str, Any], *others: str) -> VarianceStudy:
    """The study; a misspelt option may also be one of the caller's `others`."""
    known = [*inspect.signature(resolve).parameters, *others]
    for name in options:
        if name not in known:
            raise UsageError(f"unknown option '{name}'{did_you_mean(name, known)}")
    return resolve(**options)


def _path(given: str | Path | None) -> Path | None:
    try:
        return None if given is None else Path(given)
    except TypeError:
        raise UsageError(f"a folder is a text or a pathlib.Path, not {type(given).__name__}") from None
