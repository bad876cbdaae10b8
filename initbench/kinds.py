"""Kinds of parts of a study file: what each kind of options becomes, and the work that it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initbench.analysis import verdicts
from initbench.analysis.agreement import agreement
from initbench.core.catalogue import did_you_mean, require_known
from initbench.core.errors import UsageError
from initbench.grid.at_once import OF_JACOBIANS, OF_PHASES, jacobian_work, phase_work
from initbench.grid.calibration import Calibration, calibration_of, run_calibration
from initbench.grid.estimate import estimate
from initbench.grid.executors import HERE, Hands
from initbench.grid.factors import names
from initbench.grid.landscape import View, landscape_work
from initbench.grid.learning_curves import LearningCurves, curve_work
from initbench.grid.run import run_variance
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training
from initbench.grid.variance_study import resolve

Progress = Callable[[int, int], None]
Options = dict[str, Any]
Way = Callable[[Path, Progress], object]
"""Carries a part out into a folder."""


@dataclass(frozen=True)
class Work:
    """What a part asks for."""

    way: Way
    takes: Callable[[], dict[str, str]] | None = None
    """Cells, time, memory and so on (`grid.estimate`); None where it is not estimated."""

    def __call__(self, out: Path, progress: Progress) -> object:
        return self.way(out, progress)


@dataclass(frozen=True)
class Where:
    """Where data is, and what computes."""

    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    hands: Hands = HERE
    """Who trains."""

    @property
    def alone(self) -> Options:
        """As options of what is computed in this process."""
        return {"data_root": self.data_root, "download": self.download, "device": self.device}


Kind = Callable[[Options, str, Where], Work]


def work_of(options: Options, name: str, where: Where) -> Work:
    """What a part's options ask for, by their `kind`; raises `UsageError` for what cannot be, before any work."""
    told = dict(options)
    kind = told.pop("kind", "train")
    if kind != "train":
        told.pop("question", None)  # of a file without parts
    if kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{did_you_mean(str(kind), KINDS)}")
    return KINDS[kind](told, name, where)


def _training(options: Options, name: str, where: Where) -> Work:
    job = prepare(Study(**{"name": name, **options}), **where.alone, hands=where.hands)
    return Work(lambda out, progress: run_training(job, out, progress=progress), lambda: estimate(job))


def _propagation(options: Options, name: str, where: Where) -> Work:
    require_known(options, inspect.signature(resolve).parameters)
    study = resolve(**options)
    return Work(
        lambda out, progress: run_variance(study, out, **where.alone, judge=verdicts.verdicts, progress=progress)
    )


def _calibration(options: Options, _: str, where: Where) -> Work:
    study = calibration_of(options)
    return Work(lambda out, progress: run_calibration(study, out, agreement, where.device, progress))


def _at_once(way: Callable[[Options, Options], Way]) -> Kind:
    return lambda options, _, where: Work(way(options, where.alone))


KINDS: dict[str, Kind] = {
    "train": _training,
    "variance": _propagation,
    "calibration": _calibration,
    "jacobian": _at_once(jacobian_work),
    "phase": _at_once(phase_work),
    "landscape": _at_once(landscape_work),
    "curve": _at_once(curve_work),
}
"""Kind of part -> what makes its work of its options, its name, and where it is done."""
_OF_NETWORKS, _OF_TRAINING = inspect.signature(resolve).parameters, Study.model_fields
OPTIONS: dict[str, Collection[str]] = {
    "train": _OF_TRAINING,
    "variance": _OF_NETWORKS,
    "calibration": Calibration.model_fields,
    "jacobian": (*_OF_NETWORKS, *OF_JACOBIANS),
    "phase": OF_PHASES,
    "landscape": (*_OF_TRAINING, *View.model_fields),
    "curve": LearningCurves.model_fields,
}
"""Kind of part -> the options that it has."""


def require_options(kind: str, options: Options, where: str) -> None:
    """Raises `UsageError`, with `where` they stand, for options that no part of this kind has, and for no factors."""
    require_known(options, [*OPTIONS.get(kind, options), "kind", "question"], f"key of {where}:")
    for role in ("compare", "tune", "fix"):
        factors = options.get(role) if "fix" in OPTIONS.get(kind, ()) else None
        require_known(factors if isinstance(factors, dict) else (), names(), f"factor of {where}:")
