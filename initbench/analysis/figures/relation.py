"""How a measure depends on factors: lines with the seeds' interval, theory dotted beside; or a map of two factors."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from pydantic import BaseModel, ConfigDict

from initbench.analysis.figures import relation_axes, style
from initbench.analysis.measures import Measure
from initbench.analysis.observations import PLACES, are_numbers, chosen, paired, per_seed
from initbench.analysis.statistics import LOG, SHARE, SPREAD, Scale, interval
from initbench.core.catalogue import require_known
from initbench.core.errors import UsageError

MEASURED, FORMULA = "measured", "the source's formula"
MOST_COLUMNS = 3
LONGEST_LABEL = 32
"""In letters, of a line of an axis's label."""
MOST_MARKS = 30
"""On one line."""


class Line(BaseModel):
    """Two columns of a table of a part, in the order of its rows; `y` times a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str
    table: str
    x: str
    y: str
    times: float = 1.0
    where: dict[str, Any] = {}
    hue: str = ""
    """A factor, each of whose levels is a path of its own; its start is marked."""


class Drawing(BaseModel):
    """One ``[[figure]]`` of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: str | list[str]
    """Of several, each has a panel."""
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
    predicted: str = ""
    """One of several parts: what the others are predicted to be, drawn beside like a law."""
    expected: dict[str, float] = {}
    """A number for each level of x, by the source's formula: drawn beside like a law, where there is no hue."""
    over: Line | None = None
    """Drawn over the map."""
    words: dict[str, str] = {}
    """What a factor is called on its axis, or a level: ``{ "init.scale" = "σ_w²", relu_20 = "20 ReLU layers" }``."""
    versus: dict[str, Any] = {}
    """Levels, as tables have them: what is drawn is the difference from these, or the ratio, in pairs of one seed."""
    alike: tuple[float, float] | None = None
    """Differences that make none in practice: a grey band."""


def summary(found: pd.DataFrame, drawing: Drawing, measure: Measure, line: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row per panel, hue, x (and y) and source: the estimate over seeds with its interval.

    `found` are observations with a column `source` (measured, or a law); `line` has the columns ``x y hue``.
    """
    named = {"panel": drawing.panel, "hue": drawing.hue, "x": drawing.x, "y": drawing.y}
    if drawing.versus:
        found = _less(found, drawing.versus, measure.scale)
    if drawing.predicted:
        found = found.assign(source=found["source"].mask(found["part"] == drawing.predicted, drawing.predicted))
    keys = found.assign(**{key: found[name] if name else "" for key, name in named.items()})
    rows = []
    for key, group in keys.groupby([*named, "source"], sort=False, dropna=False):
        values = group[["seed", "value"]] if measure.scale == SHARE else per_seed(group, measure.scale == LOG)
        numbers = values["value"] if isinstance(values, pd.DataFrame) else values
        around = interval(numbers.to_numpy(float), measure.scale)
        rows.append({**dict(zip([*named, "source"], key, strict=True)), "estimate": around.estimate,
                     "low": around.low, "high": around.high, "n": group["seed"].nunique()})  # fmt: skip
    require_known(drawing.expected, keys["x"].unique(), f"level of {drawing.x} expected in figure {drawing.name}:")
    rows += [{"panel": "", "hue": "", "x": level, "source": FORMULA, "estimate": number}
             for level, number in drawing.expected.items()]  # fmt: skip
    table = pd.DataFrame(rows)
    if line is not None:
        table = pd.concat([table, line.assign(source="line", panel="")], ignore_index=True)
    if drawing.over:
        named["hue"] = drawing.over.hue
    names: dict[str, Any] = {f"{key}_name": drawing.words.get(name, style.word(name)) for key, name in named.items()}
    worded = ["panel", "hue"] if are_numbers(table["x"]) else ["panel", "hue", "x"]
    levels = {key: _worded(table[key], drawing.words) for key in worded}
    if drawing.alike:
        names["alike_low"], names["alike_high"] = drawing.alike
    label = measure.label or measure.spec
    if drawing.versus:
        names["versus"] = ", ".join(map(str, drawing.versus.values()))
        label += f", {'ratio to' if measure.scale == LOG else 'less that of'} {names['versus']}"
    return table.assign(
        **levels, **names, counted=drawing.x in PLACES, measure=label, scale=measure.scale.name, title=drawing.title
    )


def _worded(levels: pd.Series, words: dict[str, str]) -> pd.Series:
    return levels.map(lambda level: words.get(str(level), level)) if words.keys() & set(map(str, levels)) else levels


def _less(found: pd.DataFrame, versus: dict[str, Any], scale: Scale) -> pd.DataFrame:
    """Each network's difference from the one at `versus`, or ratio, that is like it in all else and the seed."""
    if scale in (SHARE, SPREAD):
        raise UsageError("a share, or a spread, is of all seeds together: versus is not for it")
    others = chosen(found, versus)
    return paired(found.drop(others.index), others, scale == LOG, [*versus])


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A panel for each level of the panel's factor, or each measure; lines, or a map where there is a second factor."""
    several = len(summary["measure"].unique()) > 1
    if several:
        summary = summary.assign(panel=summary["measure"])
    first, panels = summary.iloc[0], [p for p in summary["panel"].unique() if p != "" or summary["panel"].eq("").all()]
    columns = 2 if len(panels) == 4 else min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.page(_width(summary, columns), 3.4 * rows + 1.4, first["title"], _caption(summary))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=not several)
    looks = style.looks(map(str, summary["hue"]), first["hue_name"])
    for axes, panel in zip(grid.flat, panels, strict=False):
        shown = summary[summary["panel"].isin([panel]) | (summary["source"] == "line")]
        if first["y_name"]:
            _map(axes, shown)
        else:
            _lines(axes, shown, looks)
        axes.set_title(f"{first['panel_name']} = {panel}" if first["panel_name"] else "", loc="left")
        axes.set_xlabel(first["x_name"])
        if "alike_low" in summary:
            axes.axhspan(first["alike_low"], first["alike_high"], color="0.8", zorder=0)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    labelled = zip(grid.flat, panels, strict=False) if several else ((axes, first["measure"]) for axes in grid[:, 0])
    for axes, measure in labelled:
        axes.set_ylabel(textwrap.fill(first["y_name"] or measure, LONGEST_LABEL))
        if not first["y_name"]:
            relation_axes.scale(axes, summary[summary["measure"] == measure])
    if first["hue_name"]:
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", title=first["hue_name"], frameon=False)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    numbers, counted = are_numbers(rows["x"]), rows["counted"].iloc[0]
    beside = dict(zip(looks, np.linspace(-0.25, 0.25, len(looks)) if len(looks) > 1 else [0.0], strict=True))
    rows = rows.assign(x=relation_axes.place(axes, rows["x"], counted))
    for place, (name, look) in enumerate(looks.items()):
        for source, points in rows[rows["hue"].map(str) == name].sort_values("x").groupby("source", sort=False):
            if source != MEASURED:
                _predicted(axes, points if numbers else points.assign(x=points["x"] + beside[name]), numbers, look)
            elif numbers:
                count = len(points)
                # what is counted, so often, needs no mark a point: curves that coincide show theirs in turn
                every = max(-(-count // MOST_MARKS), min(len(looks), count // 3) if counted else 1)
                marks = {**look.line, "markevery": (place % every, every), "label": style.label(name)}
                axes.plot(points["x"], points["estimate"], **marks)
                if np.isfinite(points.loc[points["estimate"].notna(), ["low", "high"]]).all(axis=None):
                    axes.fill_between(points["x"], points["low"], points["high"], color=look.color, alpha=0.18, lw=0)
            else:
                off = np.abs(points[["low", "high"]].to_numpy().T - points["estimate"].to_numpy())
                shown = np.where(np.isfinite(off), off, 0.0)
                bars: Any = {**look.line, "linestyle": "none", "capsize": 4, "label": style.label(name)}
                axes.errorbar(points["x"] + beside[name], points["estimate"], shown, **bars)


def _predicted(axes: Axes, points: pd.DataFrame, numbers: bool, look: style.Look) -> None:
    """Darker than the measured, to be seen on it; between words nothing lies, so there each has a dash of its own."""
    dotted: dict[str, Any] = {"lw": 1.3, "ls": (0, (1, 2))}
    dash: dict[str, Any] = {"ls": "none", "marker": "_", "ms": 22, "mew": 2}
    axes.plot(points["x"], points["estimate"], color=look.darker, zorder=3, **(dotted if numbers else dash))


def _width(summary: pd.DataFrame, columns: int) -> float:
    """Of the page, in inches: one panel gets what its words need to stand beside each other, as far as a page goes."""
    levels = summary.loc[summary["source"] == MEASURED, "x"]
    words = columns == 1 and not are_numbers(levels)
    least = max(4.2 * columns + relation_axes.BESIDE, 7.0)
    if not words:
        return least
    needed = relation_axes.breadth([str(level) for level in levels.unique()]) + relation_axes.BESIDE + 0.1
    return max(least, min(needed, relation_axes.WIDEST))


def _map(axes: Axes, rows: pd.DataFrame) -> None:
    cells, line = rows[rows["source"] == MEASURED], rows[rows["source"] == "line"]
    table = cells.pivot(index="y", columns="x", values="estimate").sort_index().sort_index(axis=1)
    log: dict[str, Any] = {"norm": "log"} if cells["scale"].iloc[0] == LOG.name else {}
    mesh = axes.pcolormesh(table.columns, table.index, table, shading="nearest", cmap="viridis", rasterized=True, **log)
    axes.grid(visible=False)
    if len(table) <= relation_axes.MOST_LABELS:
        axes.set_yticks(table.index)
    axes.figure.colorbar(mesh, ax=axes, label=cells["measure"].iloc[0])
    if len(line):
        ends = axes.get_xlim(), axes.get_ylim()
        if line["hue_name"].iloc[0]:
            heights = np.log(table) if log else table
            axes.contour(table.columns, table.index, heights, 15, colors="white", linewidths=0.5, linestyles="solid")
            _paths(axes, line)
        else:
            sns.lineplot(line, x="x", y="y", ax=axes, color="white", lw=2.5, legend=False)
        axes.set(xlim=ends[0], ylim=ends[1])


def _paths(axes: Axes, line: pd.DataFrame) -> None:
    """A line for each level, edged in white, with a dot at its start."""
    edge = [withStroke(linewidth=3.2, foreground="white")]
    for hue, look in style.looks(map(str, line["hue"]), line["hue_name"].iloc[0]).items():
        path = line[line["hue"].map(str) == hue]
        axes.plot(path["x"], path["y"], color=look.color, lw=1.7, label=style.label(hue), path_effects=edge)
        axes.plot(path["x"].iloc[0], path["y"].iloc[0], "o", color="black", mec="white", ms=8)


def _caption(summary: pd.DataFrame) -> str:
    measured = summary[summary["source"] == MEASURED]
    first, numbers = summary.iloc[0], are_numbers(measured["x"])
    told = f"{'; '.join(measured['measure'].unique())}; {style.seeds(measured['n'])}."
    if not first["y_name"] and measured["n"].max() > 1:
        told += f" {'Band' if numbers else 'Bar'}: 95 % interval over seeds"
        told += "." if measured["n"].min() > 1 else ", where there are two or more."
    told += " In pairs of one seed." if "versus" in summary else ""
    told += " Grey: practically alike." if "alike_low" in summary else ""
    laws = [source.replace("_", " ") for source in summary["source"].unique() if source not in (MEASURED, "line")]
    told += " Lines: training, from the dot on." if first["y_name"] and first["hue_name"] else ""
    return told + (f" {'Dotted' if numbers else 'Dash'}: predicted by {', '.join(laws)}." if laws else "")
