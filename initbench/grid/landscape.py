"""The training loss in a plane of parameters: the one that the paths of training lie in most nearly.

Its directions are the first two principal components of all paths together (Li et al. 2018, section 7.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch.nn.functional import one_hot
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from initbench import reference
from initbench.core.cell import Cell
from initbench.core.errors import UsageError, WorkError, complaint, require
from initbench.datasets import DATASETS, Data
from initbench.engine import device as devices
from initbench.grid.at_once import computed
from initbench.grid.factors import in_one_type, level_of, specs_of
from initbench.grid.study import Study
from initbench.grid.training_plan import plan_training, split_of
from initbench.initializers import INITIALIZERS
from initbench.recipe import LOSSES
from initbench.recipe.samples import Split, split, steps_of

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

Progress = Callable[[int, int], None]
Real = NDArray[np.float64]
SURFACE = ("activation", "depth", "width", "residual", "dataset", "normalization", "validation", "loss", "data_seed")
"""Factors that the loss of given weights depends on: trainings that agree in them and in the seed share a plane."""
COMPONENTS = ["component_1", "component_2"]


class View(BaseModel):
    """How much of the paths and of their plane is looked at."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    points: Annotated[int, Ge(2), Le(10_000)] = 50
    """Of a path, spread evenly over its updates, beside its start."""
    resolution: Annotated[int, Ge(2), Le(1_000)] = 41
    """Points of the grid, a side."""
    margin: Annotated[float, Ge(0), Le(100)] = 0.2
    """How far the grid goes beyond the paths on each side, of their extent."""


def landscape_work(options: dict[str, Any], where: dict[str, Any]) -> Callable[[Path, Progress], None]:
    """What writes the tables ``landscapes`` (the loss on a grid) and ``curves`` (the paths).

    Options are those of a study of training, and those of `View`. Raises `UsageError` for what cannot be.
    """
    study, view = _asked(options)
    cells = study.cells()
    data = {name: DATASETS.make(name).load(where["data_root"], where["download"]) for name in cells.levels("dataset")}
    if refused := plan_training(cells, data).impossible:
        raise UsageError(next(iter(refused.values())))
    moving = any(cell.batch_norm for cell in cells)
    require(not moving, "a landscape is of weights and biases alone: batch normalization has running moments besides")
    scaled = {INITIALIZERS.make(cell.init).branch is not None for cell in cells}
    require(len(scaled) == 1, "a landscape is of one set of parameters: initializers that scale residual branches have"
            " one of their own")  # fmt: skip
    told = {name: value for name, value in study.as_toml().items() if name != "kind"} | view.model_dump()
    compute = partial(landscapes, study, view, data, devices.resolve(where["device"]))
    read = {name: d.fingerprint for name, d in data.items()}
    return computed("landscape", told, where["device"], compute, specs_of(cells), read)


def _asked(options: dict[str, Any]) -> tuple[Study, View]:
    try:
        view = View(**{name: value for name, value in options.items() if name in View.model_fields})
    except ValidationError as error:
        raise UsageError(complaint(error)) from None
    study = Study(**{name: value for name, value in options.items() if name not in View.model_fields})
    require(not study.tune, "a landscape has nothing to choose by: compare or fix what is tuned")
    return study, view


def landscapes(
    study: Study, view: View, data: Mapping[str, Data], device: torch.device, progress: Progress
) -> dict[str, pd.DataFrame]:
    """``landscapes``: a row per plane and point of its grid; ``curves``: one per cell and step that is kept.

    Both have the factors that `study` names, the seed, `component_1`, `component_2` and `train_loss` (of the paths
    themselves, which are near to the plane and not in it). All in float64.
    """
    planes: dict[Cell, list[Cell]] = {}
    for cell in study.cells():
        surface = Cell(**{name: getattr(cell, name) for name in SURFACE}, seed=cell.seed)
        planes.setdefault(surface, []).append(cell)
    shared = [name for name in study.factors if name in SURFACE]
    grids, curves = [], []
    for done, (surface, cells) in enumerate(planes.items(), 1):
        dataset, normalization, validation, seed = split_of(surface)
        prepared = split(data[dataset], normalization, validation, seed).to(device, torch.float64)
        grid, paths = landscape(cells, prepared, view)
        grids.append(_told_of(surface, shared, grid))
        curves += [_told_of(cell, study.factors, path) for cell, path in zip(cells, paths, strict=True)]
        progress(done, len(planes))
    tables = {"landscapes": pd.concat(grids, ignore_index=True), "curves": pd.concat(curves, ignore_index=True)}
    return {name: in_one_type(table, study.cells().levels("residual")) for name, table in tables.items()}


def _told_of(cell: Cell, factors: Iterable[str], rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**{name: level_of(cell, name) for name in factors}, seed=cell.seed)


def landscape(cells: Sequence[Cell], data: Split, view: View) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """The loss on a grid over the plane that the paths of all `cells` lie in most nearly, and each path."""
    loss = Surface(cells[0], data)
    paths = [PathOfTraining(cell, data, view.points) for cell in cells]
    plane = plane_of(np.concatenate([path.parameters for path in paths]))
    explained = float(plane.explained_variance_ratio_.sum())
    places = [plane.transform(path.parameters) for path in paths]
    grid = grid_over(np.concatenate(places), view)
    tables = [
        _table(place, map(loss, path.parameters)).assign(
            step=path.steps, detour=path.detours, explained=explained, status=path.status
        )
        for path, place in zip(paths, places, strict=True)
    ]
    return _table(grid, map(loss, plane.inverse_transform(grid))), tables


def plane_of(points: Real) -> PCA:
    """Through the mean of `points` (`points parameters`), along their first two principal components."""
    from sklearn.decomposition import PCA  # here: it takes a second that other commands need not pay

    if len(points) < 3 or (points == points[0]).all():
        raise WorkError("the paths have fewer than three points, or never leave their start: there is no plane")
    return PCA(2, svd_solver="full").fit(points)


def grid_over(places: Real, view: View) -> Real:
    """Points of a grid over `places` and beyond, `resolution² 2`; the first component changes fastest."""
    low, high = places.min(axis=0), places.max(axis=0)
    beyond = view.margin * (high - low)
    first, second = np.linspace(low - beyond, high + beyond, view.resolution).T
    return np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)


class Surface:
    """The mean loss of the training images, penalties apart, at any parameters."""

    def __init__(self, cell: Cell, data: Split) -> None:
        self._images, labels = data.train_sample.images, data.train_sample.labels
        model = reference.MLP(cell, self._images.shape[1], data.classes, self._images)
        self._model = model.to(self._images).eval()
        self._targets = one_hot(labels, data.classes).to(self._images)
        self._loss = LOSSES.make(cell.loss)

    @torch.no_grad()
    def __call__(self, parameters: Real) -> float:
        """At parameters in the order of the network's own."""
        vector_to_parameters(torch.from_numpy(parameters).to(self._images), self._model.parameters())
        return float(self._loss.of(self._model(self._images), self._targets).mean())


class PathOfTraining:
    """The parameters of a network at some of its steps, until they are beyond float64's squares."""

    def __init__(self, cell: Cell, data: Split, points: int) -> None:
        last = steps_of(cell, len(data.train))
        self._keep = set(np.linspace(0, last, points + 1).round().astype(int).tolist())
        self._here = np.empty(0)
        self._travelled = 0.0
        self._kept: list[tuple[int, Real, float]] = []
        self.status = reference.train(cell, data, self._watch)["status"]

    def _watch(self, step: int, model: reference.MLP) -> None:
        before, self._here = self._here, parameters_to_vector(model.parameters()).detach().cpu().numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            self._travelled += float(np.linalg.norm(self._here - before)) if step else 0.0
        if step in self._keep and np.isfinite(self._travelled):
            self._kept.append((step, self._here, self._travelled))

    @property
    def steps(self) -> list[int]:
        """Updates made."""
        return [step for step, *_ in self._kept]

    @property
    def parameters(self) -> Real:
        """At each of them, `steps parameters`."""
        return np.stack([parameters for _, parameters, _ in self._kept])

    @property
    def detours(self) -> Real:
        """The length of the way to each, update by update, over the straight distance from the start; there NaN."""
        travelled = np.array([travelled for *_, travelled in self._kept])
        distances = np.linalg.norm(self.parameters - self.parameters[0], axis=1)
        return np.divide(travelled, distances, out=np.full(len(travelled), np.nan), where=distances > 0)


def _table(places: Real, losses: Iterable[float]) -> pd.DataFrame:
    return pd.DataFrame(places, columns=COMPONENTS).assign(train_loss=list(losses))
