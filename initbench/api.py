"""The functions of `import initbench`: options in, tables out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

from initbench.activations import ACTIVATIONS
from initbench.analysis import slopes as of_slopes
from initbench.analysis.results import Results
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError, require
from initbench.datasets.inputs import Inputs
from initbench.engine import device as devices
from initbench.grid import audit as audits
from initbench.grid.executors import Hands
from initbench.grid.jacobians import jacobians
from initbench.grid.phases import phase_diagram
from initbench.grid.plan import plan
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import VarianceStudy, open_inputs, require_kinds, resolve, resolve_sweep

T = TypeVar("T")


def _options_of(*others: Callable[..., Any]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """For a function that hands options on to `others`: its signature has theirs, and a misspelt one gets one line."""

    def known(function: Callable[..., T]) -> Callable[..., T]:
        named = {parameter.name: parameter for each in (function, *others)
                 for parameter in inspect.signature(each).parameters.values()
                 if parameter.kind is not parameter.VAR_KEYWORD}  # fmt: skip

        @functools.wraps(function)
        def checked(*positional: Any, **options: Any) -> T:
            for name in options:
                if name not in named:
                    raise UsageError(f"unknown option '{name}'{did_you_mean(name, named)}")
            return function(*positional, **options)

        checked.__signature__ = inspect.Signature([*named.values()])  # type: ignore[attr-defined]
        return checked

    return known


@_options_of(resolve)
def predict(
    *, laws: str | Sequence[str] = (), data_root: str | Path | None = None, download: bool = False, **options: Any
) -> pd.DataFrame:
    """What theory says of every pairing, a row per init, activation, law and layer; no sampling.

    `options` are those of `resolve`: init, activation, depth, width or widths, bias_variance, input, ... Raises
    `UsageError` for what cannot be.

    >>> predict(init="he_normal", activation="relu", depth=20, width=512, laws=["mean_field"]).chi.iloc[0]
    np.float64(1.0)
    """
    study = resolve(**options)
    moments = open_inputs(study, _path(data_root), download).moments(study.seeds, study.batch)
    return predictions(study, moments, laws)


@_options_of(resolve)
def propagate(
    *, data_root: str | Path | None = None, download: bool = False, device: str = "auto", **options: Any
) -> pd.DataFrame:
    """What deep MLPs do, a row per init, activation, seed and layer: the columns of `initbench list columns`.

    `options` are those of `resolve`. Raises `UsageError` for what cannot be.
    """
    study, there = resolve(**options), devices.resolve(device)
    return _layers(study, open_inputs(study, _path(data_root), download), there)


@_options_of(resolve)
def slopes(
    *,
    widths_sweep: Sequence[int] = (),
    data_root: str | Path | None = None,
    download: bool = False,
    device: str = "auto",
    **options: Any,
) -> pd.DataFrame:
    """How each statistic of a layer goes with the width and the depth, as `variance --widths-sweep` tells it.

    A row per init, activation, statistic and layer (against ``width``: the power) or width (against ``depth``: log10 of
    the factor a layer), each with its 95 % interval, what is expected, and a word. `options` are those of `resolve`.
    Raises `UsageError` for what cannot be.

    >>> table = slopes(widths_sweep=[16, 32, 64], init="he_normal", activation="relu", depth=2, batch=8)
    >>> table[(table.statistic == "weight_variance") & (table.against == "width")].slope.round(1).tolist()
    [-1.0, -1.0]
    """
    studies, there = resolve_sweep(widths_sweep, **options), devices.resolve(device)
    layers, theory = {}, {}
    for width, study in studies.items():
        inputs = open_inputs(study, _path(data_root), download)
        layers[width] = _layers(study, inputs, there)
        theory[width] = predictions(study, inputs.moments(study.seeds, study.batch), [of_slopes.LAW])
    return of_slopes.slopes(layers, theory)


@_options_of(resolve)
def jacobian(
    *,
    spectrum: bool = False,
    at: int = 4,
    probes: int = 64,
    data_root: str | Path | None = None,
    download: bool = False,
    device: str = "auto",
    **options: Any,
) -> pd.DataFrame:
    """Singular values of each layer's and the whole network's Jacobian, effective rank, cosines and tangent kernel.

    A row per init, activation, seed and layer (scope ``layer``), and one for the network (scope ``network``): what
    `initbench.grid.jacobians.jacobians` says of each column. `options` are those of `resolve`. Raises `UsageError` for
    what cannot be.

    >>> found = jacobian(init="orthogonal", activation="linear", depth=3, width=8, seeds=1, batch=4, spectrum=True)
    >>> round(found.condition[found.scope == "network"].item(), 5)
    1.0
    """
    given: dict[str, Any] = {"spectrum": spectrum, "at": at, "probes": probes, "download": download, "device": device}
    return jacobians(data_root=_path(data_root), **given, **options)


audit = _options_of()(audits.audit)


@_options_of()
def phase(activation: str | Sequence[str] = (), *, critical_line: bool = False) -> pd.DataFrame:
    """The phase diagram of activations at infinite width, a row per weight variance fan_in·Var(w) and bias variance.

    Where E[z²] and cosines end, their slopes, depth scales in layers, and the phase (`initbench.theory.phase.phase`).
    With `critical_line`, where chi_1 = 1 instead: a row per bias variance and branch, with its stability. Raises
    `UsageError` for an activation that is not known.

    >>> phase("erf", critical_line=True).weight_variance.iloc[0].round(4)
    np.float64(0.7854)
    """
    require_kinds({"activation": activation})
    require(len(activation) > 0, "a phase diagram is of an activation: give its name, or several")
    specs = [activation] if isinstance(activation, str) else activation
    diagrams = [phase_diagram(spec) for spec in dict.fromkeys(map(ACTIVATIONS.canonical, specs))]
    return pd.concat([each.line if critical_line else each.points for each in diagrams], ignore_index=True)


def run(
    study: Study,
    out: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    download: bool = False,
    device: str = "auto",
    engine: str = "stacked",
    executor: str = "auto",
    address: str | None = None,
    stack_timeout: float | None = None,
) -> Results:
    """Train what `study` asks for into the folder `out` (default: results/NAME), going on where it stopped before.

    `executor` is ``threads`` of this process, ``processes`` of this machine, ``auto`` (these where they gain), or
    ``ray``: on the cluster at `address`, or one of this machine. What fails, or is not done in `stack_timeout` seconds,
    is tried again and then a row of status ``failed``. Raises `UsageError` for what cannot be, or where `out` holds
    something else.
    """
    if not isinstance(study, Study):
        raise UsageError(f"a study is an initbench.Study, not {type(study).__name__}")
    folder = _path(out) or Path("results") / study.name
    hands = Hands(executor, address, stack_timeout)
    run_training(prepare(study, _path(data_root), download, device, engine, hands), folder)
    return Results(folder)


def _layers(study: VarianceStudy, inputs: Inputs, device: torch.device) -> pd.DataFrame:
    """The table `layers` of all seeds."""
    planned = plan(study)
    parts = [measure(planned, inputs, seeds, device)["layers"] for seeds in planned.parts]
    return pd.concat(parts, ignore_index=True)


def _path(given: str | Path | None) -> Path | None:
    try:
        return None if given is None else Path(given)
    except TypeError:
        raise UsageError(f"a folder is a text or a pathlib.Path, not {type(given).__name__}") from None
