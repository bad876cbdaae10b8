"""How a measure depends on factors: lines with the seeds' interval, theory dashed beside; or a map of two factors."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullFormatter
from pydantic import BaseModel, ConfigDict

from initbench.analysis.figures import style
from initbench.analysis.measures import Measure
from initbench.analysis.observations import PLACES, are_numbers, chosen, paired, per_seed
from initbench.analysis.statistics import LOG, SHARE, SPREAD, Scale, interval
from initbench.core.catalogue import require_known
from initbench.core.errors import UsageError

MEASURED, FORMULA = "measured", "the source's formula"
DECADES = 1.5
"""Of a positive factor, from which on its axis is logarithmic."""
MOST_COLUMNS = 3
LETTERS, BESIDE, WIDEST = 8.5, 2.2, 13.0
"""Letters of an axis's words that fit an inch; inches beside the panels, and of the widest page for one."""
LONGEST_LABEL = 32
"""In letters, of a line of an axis's label."""
MOST_MARKS = 30
"""On one line."""
MOST_LABELS = 8
"""Levels that are labelled each by itself on a logarithmic axis."""


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
    """What a factor is called on its axis: ``{ "init.scale" = "σ_w²" }``."""
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
    names: dict[str, Any] = {f"{key}_name": drawing.words.get(name, name) for key, name in named.items()}
    if drawing.over:
        names["hue_name"] = drawing.words.get(drawing.over.hue, drawing.over.hue)
    if drawing.alike:
        names["alike_low"], names["alike_high"] = drawing.alike
    label = measure.label or measure.spec
    if drawing.versus:
        names["versus"] = ", ".join(map(str, drawing.versus.values()))
        label += f", {'ratio to' if measure.scale == LOG else 'less that of'} {names['versus']}"
    return table.assign(
        **names, counted=drawing.x in PLACES, measure=label, scale=measure.scale.name, title=drawing.title
    )


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
            _scaled(axes, summary[summary["measure"] == measure])
    if first["hue_name"]:
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", title=first["hue_name"], frameon=False)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    words = not are_numbers(rows["x"])
    places = iter(np.linspace(-0.25, 0.25, len(looks)) if len(looks) > 1 else [0.0])  # beside each other
    rows = rows.assign(x=_placed(axes, rows["x"], counted=rows["counted"].iloc[0]))
    for hue, of_hue in rows.groupby("hue", sort=False):
        look = looks[str(hue)]
        for source, points in of_hue.sort_values("x").groupby("source", sort=False):
            if source == MEASURED and words:
                off = np.abs(points[["low", "high"]].to_numpy().T - points["estimate"].to_numpy())
                shown = np.where(np.isfinite(off), off, 0.0)
                bars: Any = {**look.line, "linestyle": "none", "capsize": 4, "label": style.label(str(hue))}
                axes.errorbar(points["x"] + next(places), points["estimate"], shown, **bars)
            elif source == MEASURED:
                every = -(-len(points) // MOST_MARKS)
                axes.plot(points["x"], points["estimate"], label=style.label(str(hue)), markevery=every, **look.line)
                if np.isfinite(points.loc[points["estimate"].notna(), ["low", "high"]]).all(axis=None):
                    axes.fill_between(points["x"], points["low"], points["high"], color=look.color, alpha=0.18, lw=0)
            else:
                color = look.color if len(looks) > 1 else "black"  # seen on the line that it predicts
                axes.plot(points["x"], points["estimate"], color=color, lw=1.2, ls=(0, (1.5, 1.5)))


def _scaled(axes: Axes, rows: pd.DataFrame) -> None:
    """The axis that all panels share: logarithmic for what is positive."""
    positive = rows["estimate"].dropna()
    if rows["scale"].iloc[0] == LOG.name and (positive > 0).all() and len(positive):
        axes.set_yscale("log")
        if positive.max() < 20 * positive.min():  # less than a decade or so: plain numbers, no powers of ten
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        else:
            axes.yaxis.set_minor_formatter(NullFormatter())


def _placed(axes: Axes, levels: pd.Series, counted: bool) -> pd.Series:
    """Places on the axis: a number itself, logarithmic if over decades; a word by its order.

    Layers and steps, which are `counted`, stand evenly: what grows by a factor in each is then straight.
    """
    if are_numbers(levels):
        if not counted and levels.min() > 0 and np.log10(levels.max() / levels.min()) > DECADES:
            axes.set_xscale("log")
            _labelled(axes, sorted(set(levels)))
        elif pd.api.types.is_integer_dtype(levels):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return levels
    names = list(dict.fromkeys(levels))
    figure: Any = axes.get_figure()
    panels: Any = axes.get_subplotspec()
    room = (figure.get_figwidth() - BESIDE) / panels.get_gridspec().ncols
    upright = _letters(names) > LETTERS * room
    axes.set_xticks(range(len(names)), [style.label(str(name)) for name in names], rotation=90 if upright else 0)
    axes.set_xlim(-0.6, len(names) - 0.4)
    return levels.map(names.index)


def _labelled(axes: Axes, levels: list[float]) -> None:
    """Labels of a logarithmic axis: the levels themselves where it has hardly two powers of ten to label."""
    axes.xaxis.set_minor_formatter(NullFormatter())
    if levels[-1] < 100 * levels[0] and len(levels) <= MOST_LABELS:
        axes.set_xticks(levels, [f"{level:g}" for level in levels])


def _width(summary: pd.DataFrame, columns: int) -> float:
    """Of the page, in inches: one panel gets what its words need to stand beside each other, as far as a page goes."""
    levels = summary.loc[summary["source"] == MEASURED, "x"]
    words = columns == 1 and not are_numbers(levels)
    needed = BESIDE + _letters(levels.unique()) / LETTERS + 0.1 if words else 0.0
    return max(4.2 * columns + BESIDE, 7.0, min(needed, WIDEST))


def _letters(names: Iterable[object]) -> int:
    """With one between two names."""
    return sum(len(str(name)) + 1 for name in names)


def _map(axes: Axes, rows: pd.DataFrame) -> None:
    cells, line = rows[rows["source"] == MEASURED], rows[rows["source"] == "line"]
    table = cells.pivot(index="y", columns="x", values="estimate").sort_index().sort_index(axis=1)
    log: dict[str, Any] = {"norm": "log"} if cells["scale"].iloc[0] == LOG.name else {}
    mesh = axes.pcolormesh(table.columns, table.index, table, shading="nearest", cmap="viridis", rasterized=True, **log)
    axes.grid(visible=False)
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
    told = f"{'; '.join(measured['measure'].unique())}; {style.seeds(measured['n'])}."
    if not summary["y_name"].iloc[0]:
        told += " Band or bar: 95 % interval over seeds, where there are two or more."
    told += " In pairs of one seed." if "versus" in summary else ""
    told += " Grey: practically alike." if "alike_low" in summary else ""
    laws = [source for source in summary["source"].unique() if source not in (MEASURED, "line")]
    told += " Lines: training, from the dot on." if summary["y_name"].iloc[0] and summary["hue_name"].iloc[0] else ""
    return told + (f" Dotted: predicted by {', '.join(laws)}." if laws else "")
