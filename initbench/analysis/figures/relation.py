"""How a measure depends on factors: lines with the seeds' interval, theory dashed beside; or a map of two factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from pydantic import BaseModel, ConfigDict

from initbench.analysis.figures import style
from initbench.analysis.measures import Measure
from initbench.analysis.observations import per_seed
from initbench.analysis.statistics import LOG, SHARE, interval

MEASURED = "measured"
DECADES = 1.5
"""Of a positive factor, from which on its axis is logarithmic."""
MOST_COLUMNS = 3


class Line(BaseModel):
    """Two columns of a table of a part; `y` times a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str
    table: str
    x: str
    y: str
    times: float = 1.0


class Drawing(BaseModel):
    """One ``[[figure]]`` of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: str
    x: str
    """A factor, or a parameter of one: ``init.std``."""
    name: str = "relation"
    title: str = ""
    part: str | list[str] = ""
    table: str = ""
    where: dict[str, Any] = {}
    hue: str = ""
    panel: str = ""
    y: str = ""
    """A second factor: the measure is drawn as a map of both."""
    law: str = ""
    """Of a study of propagation, the law whose prediction is drawn beside."""
    over: Line | None = None
    """Drawn over the map."""


def summary(found: pd.DataFrame, drawing: Drawing, measure: Measure, line: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row per panel, hue, x (and y) and source: the estimate over seeds with its interval.

    `found` are observations with a column `source` (measured, or a law); `line` has the columns ``x y``.
    """
    named = {"panel": drawing.panel, "hue": drawing.hue, "x": drawing.x, "y": drawing.y}
    keys = found.assign(**{key: found[name] if name else "" for key, name in named.items()})
    rows = []
    for key, group in keys.groupby([*named, "source"], sort=False, dropna=False):
        values = group[["seed", "value"]] if measure.scale == SHARE else per_seed(group, measure.scale == LOG)
        numbers = values["value"] if isinstance(values, pd.DataFrame) else values
        around = interval(numbers.to_numpy(float), measure.scale)
        rows.append({**dict(zip([*named, "source"], key, strict=True)), "estimate": around.estimate,
                     "low": around.low, "high": around.high, "n": group["seed"].nunique()})  # fmt: skip
    table = pd.DataFrame(rows)
    if line is not None:
        table = pd.concat([table, line.assign(source="line", panel="", hue="")], ignore_index=True)
    names = {f"{key}_name": name for key, name in named.items()}
    return table.assign(
        **names, measure=measure.label or drawing.measure, scale=measure.scale.name, title=drawing.title
    )


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A panel for each level of the panel's factor; lines, or a map where there is a second factor."""
    first, panels = summary.iloc[0], [p for p in summary["panel"].unique() if p != "" or summary["panel"].eq("").all()]
    columns = 2 if len(panels) == 4 else min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.page(max(4.2 * columns + 2.2, 7), 3.4 * rows + 1.4, first["title"], _caption(summary))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    paint = _map if first["y_name"] else _lines
    for axes, panel in zip(grid.flat, panels, strict=False):
        paint(axes, summary[summary["panel"].isin([panel]) | (summary["source"] == "line")])
        axes.set_title(f"{first['panel_name']} = {panel}" if panel != "" else "", loc="left")
        axes.set_xlabel(first["x_name"])
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(first["y_name"] or first["measure"])
    if not first["y_name"] and first["hue_name"]:
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", title=first["hue_name"], frameon=False)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame) -> None:
    looks = style.looks(map(str, rows["hue"]))
    words = not _are_numbers(rows["x"])
    places = iter(np.linspace(-0.25, 0.25, len(looks)) if len(looks) > 1 else [0.0])  # beside each other
    rows = rows.assign(x=_placed(axes, rows["x"]))
    for hue, of_hue in rows.groupby("hue", sort=False):
        look = looks[str(hue)]
        for source, points in of_hue.sort_values("x").groupby("source", sort=False):
            if source == MEASURED and words:
                off = np.abs(points[["low", "high"]].to_numpy().T - points["estimate"].to_numpy())
                shown = np.where(np.isfinite(off), off, 0.0)
                bars: Any = {**look.line, "linestyle": "none", "capsize": 4, "label": style.label(str(hue))}
                axes.errorbar(points["x"] + next(places), points["estimate"], shown, **bars)
            elif source == MEASURED:
                axes.plot(points["x"], points["estimate"], label=style.label(str(hue)), **look.line)
                if np.isfinite(points[["low", "high"]]).all(axis=None):
                    axes.fill_between(points["x"], points["low"], points["high"], color=look.color, alpha=0.18, lw=0)
            else:
                axes.plot(points["x"], points["estimate"], color=look.color, lw=1.2, ls=(0, (1.5, 1.5)))
    positive = rows["estimate"].dropna()
    if rows["scale"].iloc[0] == LOG.name and (positive > 0).all() and len(positive):
        axes.set_yscale("log")
        if positive.max() < 20 * positive.min():  # less than a decade or so: plain numbers, no powers of ten
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        else:
            axes.yaxis.set_minor_formatter(NullFormatter())


def _placed(axes: Axes, levels: pd.Series) -> pd.Series:
    """Places on the axis: a number itself, logarithmic if over decades; a word by its order."""
    if _are_numbers(levels):
        if levels.min() > 0 and np.log10(levels.max() / levels.min()) > DECADES:
            axes.set_xscale("log")
        elif pd.api.types.is_integer_dtype(levels):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return levels
    names = list(dict.fromkeys(levels))
    upright = sum(len(str(name)) for name in names) > 40
    axes.set_xticks(range(len(names)), [style.label(str(name)) for name in names], rotation=90 if upright else 0)
    axes.set_xlim(-0.6, len(names) - 0.4)
    return levels.map(names.index)


def _are_numbers(levels: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(levels) and not pd.api.types.is_bool_dtype(levels)


def _map(axes: Axes, rows: pd.DataFrame) -> None:
    cells, line = rows[rows["source"] == MEASURED], rows[rows["source"] == "line"]
    table = cells.pivot(index="y", columns="x", values="estimate").sort_index().sort_index(axis=1)
    log: dict[str, Any] = {"norm": "log"} if cells["scale"].iloc[0] == LOG.name else {}
    mesh = axes.pcolormesh(table.columns, table.index, table, shading="nearest", cmap="viridis", rasterized=True, **log)
    axes.grid(visible=False)
    axes.figure.colorbar(mesh, ax=axes, label=cells["measure"].iloc[0])
    if len(line):
        ends = axes.get_xlim(), axes.get_ylim()
        sns.lineplot(line, x="x", y="y", ax=axes, color="white", lw=2.5, legend=False)
        axes.set(xlim=ends[0], ylim=ends[1])


def _caption(summary: pd.DataFrame) -> str:
    measured = summary[summary["source"] == MEASURED]
    told = f"{measured['measure'].iloc[0]}; {style.seeds(measured['n'])}."
    if not summary["y_name"].iloc[0]:
        told += " Band or bar: 95 % interval over seeds, where there are two or more."
    laws = [source for source in summary["source"].unique() if source not in (MEASURED, "line")]
    return told + (f" Dotted: predicted by {', '.join(laws)}." if laws else "")
