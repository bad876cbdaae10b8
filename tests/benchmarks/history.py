"""How the ratios went from comparison to comparison: a panel per workload."""

from pathlib import Path

import numpy as np
import pandas as pd
from benchmarks.measure import BadInput
from benchmarks.rule import Baseline
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from initbench.analysis.figures import style
from initbench.core.files import write_whole

COLUMNS = ("date", "commit", "cpu", "cores", "workload", "ratio", "baseline", "allowance", "measured", "verdict")
ACROSS = 4
MARKS = {"ok": ("o", "0.2"), "better": ("^", style.hue(2)), "worse": ("X", style.hue(3)), "new": ("o", "0.6"),
         "unjudged": ("o", "0.6"), "open": ("o", "0.6")}  # fmt: skip


def remember(path: Path, comparison: pd.DataFrame, **when: object) -> pd.DataFrame:
    """Add a comparison's rows to the history in `path`, and return all of it."""
    kept = [read(path)] if path.exists() else []
    whole = pd.concat([*kept, comparison.assign(**when)[list(COLUMNS)]], ignore_index=True)
    write_whole(path, lambda temporary: whole.to_csv(temporary, index=False, float_format="%.6g"))
    return whole


def read(path: Path) -> pd.DataFrame:
    """The history in a CSV file; raises `BadInput` where it is none."""
    try:
        return pd.read_csv(path, dtype={"commit": str})[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path} is no history of the benchmarks: {str(error).partition(chr(10))[0]}") from None


def summary(history: pd.DataFrame, baseline: Baseline) -> pd.DataFrame:
    """What is drawn: a row per workload and comparison, its ratio and allowance in units of today's baseline."""
    order = {date: place for place, date in enumerate(history["date"].unique(), 1)}
    shown = history[history["workload"].isin(list(baseline.workloads))].dropna(subset=["ratio"])
    todays = shown["workload"].map({name: known.ratio for name, known in baseline.workloads.items()})
    allowed = shown["workload"].map({name: known.allowance for name, known in baseline.workloads.items()})
    machine = shown["cpu"] + ", " + shown["cores"].astype(str) + " cores"
    return pd.DataFrame({"workload": shown["workload"], "comparison": shown["date"].map(order),
                         "commit": shown["commit"], "relative": shown["ratio"] / todays, "allowance": allowed,
                         "verdict": shown["verdict"], "machine": machine})  # fmt: skip


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """A panel per workload: its ratio relative to the baseline, comparison after comparison, over its allowance."""
    names = list(summary["workload"].unique())
    rows = max(1, -(-len(names) // ACROSS))
    title = "Speed beside the yardsticks, relative to the baseline"
    caption = (
        f"{summary['comparison'].nunique()} comparisons, oldest first; a thin line where the commit changed. Above 1 is"
        " faster than the committed baseline; the band is what noise is allowed. Cross: worse; triangle: better."
        f" Measured on {'; '.join(summary['machine'].unique())}."
    )
    figure = style.page(3.0 * ACROSS, 2.3 * rows + 1.0, title, caption)
    grid = figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _panel(axes, summary[summary["workload"] == name], name)
    for axes in grid.flat[len(names) :]:
        axes.remove()
    figure.supylabel("ratio / baseline", size=10)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    allowed = rows["allowance"].iloc[-1]
    axes.axhspan(1 - allowed, 1 / (1 - allowed), color="0.92", zorder=0)
    axes.plot(rows["comparison"], rows["relative"], color=style.hue(0), zorder=2)
    for verdict, group in rows.groupby("verdict"):
        marker, color = MARKS[verdict]
        axes.scatter(group["comparison"], group["relative"], marker=marker, color=color, s=24, zorder=3)
    commits = rows["commit"].to_numpy()
    for place in np.flatnonzero(commits[1:] != commits[:-1]) + 1:
        axes.axvline(rows["comparison"].iloc[place] - 0.5, color="0.7", linewidth=0.8)
    axes.set_title(name, loc="left", size=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
