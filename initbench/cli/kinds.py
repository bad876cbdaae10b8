"""The kinds of things that have a catalogue: what `list` and `show` know, and completion offers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from initbench.core.catalogue import Catalogue, did_you_mean
from initbench.core.errors import UsageError

KINDS = {
    "initializers": "initbench.initializers:INITIALIZERS",
    "activations": "initbench.activations:ACTIVATIONS",
    "inputs": "initbench.datasets.inputs:SYNTHETIC",
    "datasets": "initbench.datasets:DATASETS",
    "preparations": "initbench.datasets:PREPARATIONS",
    "optimizers": "initbench.recipe:OPTIMIZERS",
    "schedules": "initbench.recipe:SCHEDULES",
    "losses": "initbench.recipe:LOSSES",
    "regularizers": "initbench.recipe:REGULARIZERS",
    "laws": "initbench.theory.laws:LAWS",
    "measures": "initbench.analysis.measures:MEASURES",
    "columns": "initbench.core.columns:COLUMNS",
    "words": "initbench.analysis.verdicts:WORDS",
    "agreements": "initbench.analysis.agreement:AGREEMENTS",
    "targets": "initbench.analysis.export:TARGETS",
}


def catalogue(kind: str) -> Catalogue[Any]:
    """The catalogue of `kind`, imported now."""
    if kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{did_you_mean(kind, [*KINDS, 'studies'])}")
    module, name = KINDS[kind].split(":")
    return getattr(import_module(module), name)
