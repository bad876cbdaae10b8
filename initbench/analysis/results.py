"""Read a results folder."""

from __future__ import annotations

import json
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.core.errors import UsageError, WorkError


class Results:
    """The tables of one finished study, each read when it is first asked for."""

    def __init__(self, folder: str | Path) -> None:
        """Raises `UsageError` where `folder` holds no finished results."""
        self.folder = Path(folder)
        if not (self.folder / "manifest.json").is_file():
            raise UsageError(f"{self.folder} holds no results: there is no manifest.json")

    def table(self, name: str) -> pd.DataFrame:
        """The table `name`; raises `UsageError` with the tables that are there."""
        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            there = ", ".join(sorted(found.stem for found in self.folder.glob("*.parquet"))) or "none"
            raise UsageError(f"{self.folder} has no table '{name}'; it has: {there}")
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's own errors are among these
            raise WorkError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None

    @cached_property
    def layers(self) -> pd.DataFrame:
        """Measured: a row per init, activation, seed, layer."""
        return self.table("layers")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predicted: a row per init, activation, law, layer."""
        return self.table("predictions")

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Judged: a row per init, activation, direction."""
        return self.table("verdicts")

    @cached_property
    def histograms(self) -> pd.DataFrame:
        """Densities of activations and gradients: a row per init, activation, layer, quantity, bin."""
        return self.table("histograms")

    @cached_property
    def study(self) -> dict[str, Any]:
        """The study as resolved."""
        return tomllib.loads((self.folder / "study.toml").read_text(encoding="utf-8"))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, commit, device, times."""
        return json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r})"


def load(folder: str | Path) -> Results:
    """The results that `folder` holds; torch is not needed to read them."""
    return Results(folder)
