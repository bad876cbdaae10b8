"""What a study expects, stated before it runs, and whether that held.

An expectation bounds a measure: of some networks (`where`), or of their difference from others (`versus`, in pairs of
one seed), or of its change with a factor (`against`). It held where the whole interval lies within the bound, not where
the whole lies outside; else it is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from initbench.analysis.measures import MEASURES, Measure
from initbench.analysis.observations import chosen, factors_of, paired, per_seed
from initbench.analysis.statistics import LOG, SHARE, SPREAD, Interval, interval, no_estimate
from initbench.core.errors import UsageError

HELD, NOT_HELD, UNDECIDED = "held", "not held", "undecided"
Levels = dict[str, Any]
Observe = Callable[[str, Measure, str], pd.DataFrame]
Real = NDArray[np.float64]


class Expectation(BaseModel):
    """One ``[[expect]]`` of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str
    measure: str
    part: str = ""
    """The part of the study whose networks are looked at; empty where it has one alone."""
    table: str = ""
    where: Levels = {}
    versus: Levels | None = None
    """What differs in the networks that they are compared with; its `part` may be another."""
    against: str = ""
    """A factor that is a number: the measure's change per unit of it is bounded."""
    above: float = -math.inf
    below: float = math.inf
    between: tuple[float, float] | None = None
    published: str | float = ""
    """What the source says."""
    explained: str = ""
    """Why it did not hold, where it did not."""
    differs: str = ""
    """Why the number found is not the published one."""
    answers: bool = False
    """Whether it is the study's answer: what is told first."""
    bounds: tuple[float, float] = Field(default=(-math.inf, math.inf), exclude=True)

    def model_post_init(self, _: Any) -> None:
        bounds = self.between or (self.above, self.below)
        if not -math.inf <= bounds[0] < bounds[1] or bounds == (-math.inf, math.inf):
            raise ValueError("give above, below, or between = [low, high] with low < high")
        object.__setattr__(self, "bounds", bounds)
        scale = MEASURES.make(self.measure).scale  # unknown ones are told now
        if scale in (SHARE, SPREAD) and (self.versus or self.against):
            raise ValueError(f"'{self.measure}' is of all seeds together: neither versus nor against is for it")

    @property
    def bound(self) -> str:
        """In words: ``above 0.2``."""
        low, high = self.bounds
        if math.isinf(high):
            return f"above {low:g}"
        return f"below {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"


COLUMNS = ("claim", "outcome", "estimate", "low", "high", "bound", "least", "most", "published", "n", "measure",
           "method", "explained", "differs", "answers")  # fmt: skip


def outcomes(expected: Sequence[Expectation], observe: Observe) -> pd.DataFrame:
    """A row per expectation: estimate, interval and outcome.

    `observe(part, measure, table)` gives the observations of a part of the study.
    """
    rows = []
    for expectation in expected:
        measure = MEASURES.make(expectation.measure)
        numbers = _numbers(expectation, measure, observe)
        found, missing = interval(numbers, measure.scale), no_estimate(numbers, measure.scale)
        rows.append({"claim": expectation.claim, "outcome": outcome(found, expectation.bounds), **vars(found),
                     "bound": expectation.bound, "least": expectation.bounds[0], "most": expectation.bounds[1],
                     "published": str(expectation.published),
                     "measure": _told(expectation), "method": measure.scale.method,
                     "explained": "; ".join(filter(None, [missing, expectation.explained])),
                     "differs": expectation.differs,
                     "answers": expectation.answers})  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def outcome(found: Interval, bounds: tuple[float, float]) -> str:
    """Whether the interval lies within the bounds."""
    if bounds[0] < found.low and found.high < bounds[1]:
        return HELD
    return NOT_HELD if found.high < bounds[0] or found.low > bounds[1] else UNDECIDED


def verdict(table: pd.DataFrame) -> str:
    """One line: ``4 of 5 expectations held; not held: ...``, with the reason where there is no estimate."""
    told = f"{(table['outcome'] == HELD).sum()} of {len(table)} expectations held"
    for word in (NOT_HELD, UNDECIDED):
        claims = [f"{row['claim']} ({row['explained']})" if pd.isna(row["estimate"]) else row["claim"]
                  for row in table[table["outcome"] == word].to_dict("records")]  # fmt: skip
        told += f"; {word}: {'; '.join(claims)}" if len(claims) else ""
    return told


def _numbers(expectation: Expectation, measure: Measure, observe: Observe) -> Real:
    """One number a seed."""

    def of(part: str, where: Levels) -> pd.DataFrame:
        return chosen(observe(part, measure, expectation.table), where)

    found = of(expectation.part, expectation.where)
    if expectation.versus is not None:
        versus = dict(expectation.versus)
        other = of(versus.pop("part", expectation.part), {**expectation.where, **versus})
        found = paired(found, other, measure.scale == LOG, [*expectation.versus])
    if expectation.against:
        return _slopes(found, expectation.against, measure.scale == LOG)
    if measure.scale in (SHARE, SPREAD):
        if (found.groupby("seed").size() > 1).any():
            raise UsageError(f"'{expectation.claim}': {measure.spec} needs one network a seed; say which in where")
        return found["value"].to_numpy(float)
    return per_seed(found, measure.scale == LOG).to_numpy(float)


def _slopes(found: pd.DataFrame, against: str, log: bool) -> Real:
    """The slope of each seed's least-squares line; of logarithms, the factor per unit."""
    if against not in found:
        raise UsageError(f"no factor '{against}' varies here; accepted: {', '.join(factors_of(found)) or 'none'}")
    slopes = []
    for _, group in found.groupby("seed"):
        means = per_seed(group.assign(seed=group[against]), log)
        values = np.log(means) if log else means
        known = np.isfinite(values).all() and len(values) > 1
        slopes.append(np.polyfit(means.index.to_numpy(float), values, 1)[0] if known else np.nan)
    return np.exp(slopes) if log else np.array(slopes)


def _told(expectation: Expectation) -> str:
    """Measure, networks and comparison, as the study file has them."""

    def levels(given: Levels) -> str:
        return ", ".join(f"{name} = {level}" for name, level in given.items())

    told = expectation.measure + (f" per {expectation.against}" if expectation.against else "")
    told += f"; {levels(expectation.where)}" if expectation.where else ""
    return told + (f"; versus {levels(expectation.versus)}" if expectation.versus else "")


def markdown(table: pd.DataFrame) -> str:
    """The same as a table in Markdown; below it why what did not hold did not, and what differs from its source."""
    columns = list(shown(table).columns)
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    for row in shown(table).to_dict("records"):
        cells = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values())
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = []
    for row in table.to_dict("records"):
        if row["explained"] and row["outcome"] != HELD:
            notes.append(f"- *{row['claim']}*: {row['outcome']}. {row['explained']}")
        if row["differs"]:
            notes.append(f"- *{row['claim']}*: published is {row['published']}. {row['differs']}")
    return "\n".join([*lines, *([""] if notes else []), *notes])


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The columns to read: claim, outcome, and the estimate with its interval."""
    between = [f"{low:.4g} to {high:.4g}" for low, high in zip(table["low"], table["high"], strict=True)]
    few = table.assign(interval=between)[["claim", "outcome", "estimate", "interval", "bound", "published", "n"]]
    return few if (few["published"] != "").any() else few.drop(columns="published")
