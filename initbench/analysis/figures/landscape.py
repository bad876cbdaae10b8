"""The training loss in the plane that the paths of training lie in most nearly, with the paths over it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from initbench.analysis.figures import style
from initbench.analysis.statistics import LOG, interval

LOSS, PATH = "loss", "path"
"""Sources of a row of the summary."""
PLACE = ["component_1", "component_2", "train_loss"]
MEASURED = {*PLACE, "step", "detour", "explained", "status", "seed"}
"""Columns of the tables ``landscapes`` and ``curves`` that are no factors."""
MOST_PLANES = 4
CONTOURS = 14
AXES = ("first direction of the paths", "second direction")


def ends(curves: pd.DataFrame) -> pd.DataFrame:
    """A row per training, its seeds together: where its path starts and ends, and how straight it goes.

    ``loss_at_start``, ``loss_at_end`` with ``low`` and ``high``: geometric means over the ``seeds``, the latter with
    its 95 % interval; ``detour``: the mean of the way, update by update, over the straight distance; ``diverged``
    counts the seeds whose path ends before its last update.
    """
    rows = []
    for path, of_path in curves.assign(path=labels(curves)).groupby("path", sort=False):
        by_seed = of_path.sort_values("step").groupby("seed", sort=False)
        first, last = by_seed.first(), by_seed.last()
        end = interval(last["train_loss"].to_numpy(float), LOG)
        rows.append({
            "path": path, "updates": int(last["step"].max()),
            "loss_at_start": interval(first["train_loss"].to_numpy(float), LOG).estimate,
            "loss_at_end": end.estimate, "low": end.low, "high": end.high, "detour": last["detour"].mean(),
            "seeds": len(last), "diverged": int((last["status"] == "diverged").sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def labels(frame: pd.DataFrame) -> pd.Series:
    """Of each row the levels of the factors that vary: ``batch_size 1, lr 0.01``."""
    varied = _varied(frame)
    parts = [frame[name].map(lambda level, name=name: f"{name} {_level(level)}") for name in varied]
    return pd.concat(parts, axis=1).agg(", ".join, axis=1) if parts else pd.Series("training", index=frame.index)


def summary(landscapes: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row per point of a plane's grid (``source`` loss) and per recorded step of a path (path), of the first seed.

    ``plane`` says which surface, where the loss is of several; ``path`` which training; ``explained`` how much of the
    paths' variance the plane holds; ``seeds`` how many the study has.
    """
    shared = _varied(landscapes)
    seeds, first = landscapes["seed"].nunique(), landscapes["seed"].iloc[0]
    grid, paths = (frame[frame["seed"] == first] for frame in (landscapes, curves))
    grid = grid.assign(source=LOSS, plane=labels(grid[shared]) if shared else "", path="")
    paths = paths.assign(source=PATH, plane=labels(paths[shared]) if shared else "", path=labels(
        paths.drop(columns=shared)))  # fmt: skip
    told = pd.concat([grid, paths], ignore_index=True)
    return told[["plane", "source", "path", *PLACE, "step", "explained"]].assign(seed=first, seeds=seeds)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A panel a plane, `MOST_PLANES` at most: contours of the loss, and a line for each training from its dot on."""
    planes = list(summary["plane"].unique())[:MOST_PLANES]
    columns = min(2, len(planes))
    rows = -(-len(planes) // columns)
    figure = style.page(4.4 * columns + 4.4, 4.0 * rows + 1.2, "Training seen in the plane of its paths",
                        _caption(summary, len(planes)))  # fmt: skip
    grid = figure.subplots(rows, columns, squeeze=False)
    looks = style.looks(summary.loc[summary["source"] == PATH, "path"])
    for axes, plane in zip(grid.flat, planes, strict=False):
        _panel(axes, summary[summary["plane"] == plane], looks)
        axes.set_title(plane, loc="left")
    for axes in grid.flat[len(planes) :]:
        axes.remove()
    for axes in grid[-1]:
        axes.set_xlabel(AXES[0])
    for axes in grid[:, 0]:
        axes.set_ylabel(AXES[1])
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend([*handles.values()], [*handles], loc="outside right upper", frameon=False)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    cells, paths = rows[rows["source"] == LOSS], rows[rows["source"] == PATH]
    table = cells.pivot(index="component_2", columns="component_1", values="train_loss")
    positive = bool((table > 0).all(axis=None))
    mesh = axes.pcolormesh(table.columns, table.index, table, shading="gouraud", cmap="viridis", rasterized=True,
                           norm="log" if positive else None)  # fmt: skip
    heights = np.log(table) if positive else table
    axes.contour(table.columns, table.index, heights, CONTOURS, colors="white", linewidths=0.5, linestyles="solid")
    axes.figure.colorbar(mesh, ax=axes, label="training loss")
    edge = [withStroke(linewidth=3.2, foreground="white")]
    for path, points in paths.groupby("path", sort=False):
        look = looks[str(path)]
        axes.plot(points["component_1"], points["component_2"], label=style.label(str(path)), markevery=[-1],
                  path_effects=edge, **{**look.line, "markersize": 8})  # fmt: skip
    starts = paths.groupby("path", sort=False).first()
    axes.plot(starts["component_1"], starts["component_2"], "o", color="black", mec="white", ms=8)
    axes.grid(visible=False)
    axes.margins(0)


def _caption(summary: pd.DataFrame, shown: int) -> str:
    paths, every = summary[summary["source"] == PATH], summary["plane"].nunique()
    held = paths.groupby("plane", sort=False)["explained"].first()
    share = f"{held.min():.0%}" if held.min() == held.max() else f"{held.min():.0%} to {held.max():.0%}"
    told = (
        "Colour and contours: the training loss in the plane of the first two principal components of all paths, which"
        f" holds {share} of their variance; the paths run near to it. Dot: start; mark: end."
        f" Seed {summary['seed'].iloc[0]}, of {style.span(summary['seeds'])}."
    )
    return told + (f" The first {shown} of {every} planes." if every > shown else "")


def _varied(frame: pd.DataFrame) -> list[str]:
    """The factors that have more than one level."""
    return [str(name) for name in frame if name not in MEASURED and len(frame[name].unique()) > 1]


def _level(level: object) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)
