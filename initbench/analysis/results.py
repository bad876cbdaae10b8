"""Read a results folder."""

from __future__ import annotations

import contextlib
import json
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.analysis import stored, stored_tables
from initbench.core.errors import UsageError, WorkError, require
from initbench.core.files import read_table
from initbench.core.folder import (
    LAYOUT,
    MANIFEST,
    OLDER,
    PARTS,
    STUDY,
    Fault,
    changed,
    faults,
    read_manifest,
    results_in,
)
from initbench.core.seal import read_sealed


class Results:
    """The tables of one study, each read when it is first asked for."""

    def __init__(self, folder: str | Path) -> None:
        """Raises `UsageError` where `folder` holds no results."""
        self.folder = Path(folder)
        there = results_in(self.folder)
        require(bool(there), f"{self.folder} holds no results: there is no {MANIFEST}")
        require(there == [""], f"{self.folder} holds results in folders of their own: {', '.join(there)}")

    @property
    def finished(self) -> bool:
        """Whether all is there."""
        return "tables" in self.manifest

    def table(self, name: str, whole: bool = True) -> pd.DataFrame:
        """The table `name`; unless it is to be `whole`, it may lack columns of numbers.

        Raises `UsageError` with the tables that are there, and `WorkError` where it is not as ours are.
        """
        path = self.folder / f"{name}.parquet"
        if not (stored.is_plain(name) and path.is_file()):
            if not self.finished:
                raise UsageError(f"{self.folder} is not finished; the command that began it goes on there")
            there = sorted(found.stem for found in self.folder.glob("*.parquet") if found.is_file())
            raise UsageError(f"{self.folder} has no table '{name}'; it has: {', '.join(there) or 'none'}")
        return stored_tables.checked(path, self.study["kind"], read_table(path), whole)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """Measured: a row per init, activation, seed, layer."""
        return self.table("layers")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predicted: a row per init, activation, law, layer."""
        return self.table("predictions")

    @cached_property
    def residuals(self) -> pd.DataFrame:
        """Deviations of measured from predicted: a row per init, activation, seed, layer."""
        return self.table("residuals")

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Judged: a row per init, activation, direction."""
        return self.table("verdicts")

    @cached_property
    def histograms(self) -> pd.DataFrame:
        """Densities of activations and gradients: a row per init, activation, layer, quantity, bin."""
        return self.table("histograms")

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Trained: a row per cell."""
        return self.table("runs")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Losses and accuracies on the way: a row per cell and recorded step."""
        return self.table("curves")

    @cached_property
    def layer_curves(self) -> pd.DataFrame:
        """What went on in the layers: a row per cell, recorded step and layer."""
        return self.table("layer_curves")

    @cached_property
    def study(self) -> dict[str, Any]:
        """The study as resolved."""
        return stored.read(self.folder / "study.toml", tomllib.loads, stored.Study)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, commit, device, times; raises `WorkError` where a newer version of initbench wrote it."""
        told = stored.read(self.folder / "manifest.json", json.loads, stored.Manifest)
        _require_known(self.folder, told)
        return told

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from initbench.analysis.page.card import card  # drawing is not needed to read

        return card(self)


def load(folder: str | Path) -> Results:
    """The results that `folder` holds; torch is not needed to read them."""
    return Results(folder)


def progress_of(folder: str | Path) -> dict[str, str]:
    """How far a study of training in `folder` is, as lines to print; also while it runs."""
    results = Results(folder)
    told = results.manifest
    if not {"key", "trainings", "cells", "engine", "device", "started"} <= set(told):
        return {"state": "finished" if results.finished else "unfinished"}
    for fault in changed(results.folder, read_manifest(results.folder)):
        raise WorkError(f"{fault.path}: {fault.why}; the command that wrote it makes it anew")
    trained = results.runs.drop_duplicates("training_id") if results.finished else _of_parts(results)
    trained = trained[trained["training_id"] != ""]
    statuses = ", ".join(f"{number:,} {status}" for status, number in trained["status"].value_counts().items())
    left = told["trainings"] - trained["training_id"].nunique()
    return {
        "state": "finished" if results.finished else "unfinished; the same command goes on",
        "cells": f"{told['cells']:,}",
        "trainings": f"{told['trainings']:,}: {statuses or 'none done'}" + (f", {left:,} to do" if left else ""),
        "engine": f"{told['engine']}, {told['device']}",
        "started": told["started"],
    }


def _require_known(folder: Path, manifest: dict[str, Any]) -> None:
    if manifest.get("layout", 0) > LAYOUT:
        raise WorkError(f"{folder} was made by a newer version of initbench; use that")


def _of_parts(results: Results) -> pd.DataFrame:
    """What is trained so far, by the parts that can be read."""
    frames = [pd.DataFrame({"status": [], "training_id": []})]
    for path in sorted(results.folder.glob(f"parts/*-{results.manifest['key']}.runs.parquet")):
        with contextlib.suppress(WorkError):  # a damaged part is trained again
            frames.append(read_sealed(path)[["status", "training_id"]])
    return pd.concat(frames, ignore_index=True)


def changes_of(folder: str | Path) -> list[Fault]:
    """The tables of a results folder, and of a study's parts in it, that are not as the manifest beside them says.

    Raises `WorkError` where a newer version of initbench wrote it.
    """
    root = Path(folder)
    told = {path: read_manifest(path) for path in (root, *sorted(root.glob("*/"))) if (path / MANIFEST).is_file()}
    for path, manifest in told.items():
        _require_known(path, manifest)
    return [fault for path, manifest in told.items() for fault in changed(path, manifest)]


def faults_of(folder: str | Path) -> list[Fault]:
    """The files of a results folder, and of the parts of a study file in it, that are not as they were written.

    Raises `UsageError` where `folder` holds no results.
    """
    root = Path(folder)
    within = sorted(path for path in root.iterdir() if not OLDER.fullmatch(path.name)) if root.is_dir() else []
    holding = [path for path in (root, *within) if any((path / name).exists() for name in (MANIFEST, STUDY, PARTS))]
    if not holding:
        raise UsageError(f"{root} holds no results: there is no {MANIFEST}")
    return [fault for path in holding for fault in faults(path)]
