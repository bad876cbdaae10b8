"""The levels of one factor of a study of training against its first: what a page, and its answer, tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from initbench.analysis import training
from initbench.analysis.comparison import METRICS, differences, ranks
from initbench.analysis.comparison.paired import pairs_of
from initbench.analysis.comparison.scores import Scores, scores
from initbench.analysis.figures import forest, rank_diagram
from initbench.analysis.page import words
from initbench.analysis.page.drawings import Made
from initbench.analysis.results import Results
from initbench.analysis.statistics import Interval

METRIC = METRICS["train"]
FIRST = "init"
"""The factor that is compared, where it varies; else the first that the study compares."""
LEAST_BLOCKS = 10
"""Settings or seeds, from which on ranks are told: below, Friedman's chi-squared is rough (Demšar 2006)."""
LEAST_LEVELS = 3
MOST_NAMED = 6
"""Levels that an answer names one by one."""
TONES = {"higher": "good", "lower": "bad", "undecided": "mild"}


@dataclass(frozen=True)
class Level:
    """A row of the table."""

    level: str
    mean: str
    difference: str = ""
    interval: str = ""
    p: str = ""
    word: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Comparison:
    """Of the factor `by`: the differences from the baseline and, where there are blocks enough, the ranks."""

    by: str
    tune: tuple[str, ...]
    averaged: tuple[str, ...]
    """The other factors."""
    apart: tuple[str, ...]
    """Levels that share no setting of the others with the baseline: there is nothing to pair."""
    differences: pd.DataFrame
    ranks: pd.DataFrame

    @property
    def baseline(self) -> str:
        return words.level(self.differences["baseline"].iloc[0])

    @property
    def sentence(self) -> str:
        """Which level is ahead of the baseline or, if none is, behind it the furthest, with the interval."""
        table = self.differences
        ahead, behind = (table[table["word"] == word] for word in ("higher", "lower"))
        if len(ahead):
            best = ahead.sort_values("difference").iloc[-1]
            told = f"{words.level(best['level'])} is ahead of {self.baseline} by {_amount(best)}"
        elif len(behind):
            worst = behind.sort_values("difference").iloc[0]
            told = f"No {self.by} is shown to be ahead of {self.baseline}; {words.level(worst['level'])} is furthest"
            told += f" behind, by {_amount(worst)}"
        else:
            return f"No {self.by} is told apart from {self.baseline} by test accuracy{self._widest()}."
        if len(table) == 1:
            return f"{told}."
        return f"{told}. Of {len(table)} levels compared with {self.baseline}, {self._others()}."

    def _others(self) -> str:
        """How many levels each word has, and which, where they are few."""
        named, told = len(self.differences) <= MOST_NAMED, []
        for word, rows in self.differences.groupby("word", sort=False):
            names = f" ({', '.join(map(words.level, rows['level']))})" if named else ""
            told.append(f"{len(rows)} {'is' if len(rows) == 1 else 'are'} {word}{names}")
        return ", ".join(told)

    def _widest(self) -> str:
        known = self.differences.dropna(subset=["difference"])
        if known.empty:
            return ": none has a number for every seed"
        row = known.sort_values("difference", key=abs).iloc[-1]
        far = f"{words.level(row['level'])}, the furthest from it, differs by {_signed(row['difference'])}"
        return f": {far} ({words.between(_interval(row), _signed)})"

    @property
    def decided(self) -> tuple[str, str]:
        """How many levels are told apart, and what that rests on."""
        table = self.differences
        apart = int(table["word"].isin(["higher", "lower"]).sum())
        of = f"levels of {self.by} from {self.baseline}: paired by seed, n = {table['n'].max()}, 5 % after Holm"
        return f"{apart} of {len(table)}", of

    @property
    def rows(self) -> list[Level]:
        """The baseline, and each other level."""
        first = self.differences.iloc[0]
        rows = [Level(f"{self.baseline} (baseline)", words.number(first["mean_baseline"]))]
        return rows + [_row(row) for row in self.differences.to_dict("records")]

    @property
    def note(self) -> str:
        """What the numbers are, how they were made, and what they assume."""
        first = self.differences.iloc[0]
        told = [f"Test accuracy (0 for a run that diverged) less that of {self.baseline}, the study's first level"]
        if self.averaged:
            told.append(f"averaged over {words.counted(int(self.differences['settings'].max()), 'setting')} of"
                        f" {', '.join(self.averaged)}")  # fmt: skip
        if self.tune:
            told.append(f"{', '.join(self.tune)} chosen on validation for each level by itself")
        how = f"95\N{NO-BREAK SPACE}% intervals and p of each row: {first['method']}; p and the word corrected"
        return (
            f"{', '.join(told)}. {how} after Holm for {words.counted(len(self.differences), 'comparison')}; n ="
            f" {words.counted(int(self.differences['n'].max()), 'seed')}. Assumes {first['assumes']}."
            + (f" Left out, as they share no setting with it: {', '.join(self.apart)}." if self.apart else "")
        )

    def figures(self, part: str = "") -> Iterator[Made]:
        """The forest plot and, where there are ranks, their diagram."""
        shown = forest.summary(self.differences, self.by)
        yield Made(f"{part}_differences_by_{self.by}".lstrip("_"), shown, forest.draw(shown))
        if len(self.ranks):
            placed = rank_diagram.summary(self.ranks, self.by)
            yield Made(f"{part}_ranks_by_{self.by}".lstrip("_"), placed, rank_diagram.draw(placed))


def of_training(results: Results) -> Comparison | None:
    """The comparison that a study of training asks for; none with one seed, one level, or no accuracy at all."""
    runs = results.runs
    by = _factor(results)
    if not by or runs["seed"].nunique() < 2 or not runs[METRIC].notna().any():
        return None
    found, apart = _comparable(scores(results, by, METRIC))
    if len(found.levels) < 2:
        return None
    enough = len(found.levels) >= LEAST_LEVELS and _blocks(found) >= LEAST_BLOCKS
    placed = ranks(found) if enough else pd.DataFrame()
    return Comparison(by, found.tune, tuple(found.settings), apart, differences(found, found.levels[0]), placed)


def _comparable(found: Scores) -> tuple[Scores, tuple[str, ...]]:
    """The scores of the levels that share a setting with the first, and the names of those that do not."""
    judged, (baseline, *others) = found.tuned, found.levels
    apart = [level for level in others if pairs_of(judged, level, baseline).empty]
    kept = found.frame[~found.frame[found.by].isin(apart)]
    same = [name for name in found.settings if len(kept[name].unique()) == 1]
    return replace(found, frame=kept.drop(columns=same)), tuple(map(words.level, apart))


def _factor(results: Results) -> str:
    compared = [name for name in results.study.get("compare", {}) if name in training.varied(results.runs)]
    return FIRST if FIRST in compared else next(iter(compared), "")


def _blocks(found: Scores) -> int:
    """Settings, or seeds where there is none, that all levels have: those that ranks are over."""
    judged = found.tuned
    levels = judged.frame.groupby(judged.settings or ["seed"], dropna=False)[judged.by].nunique()
    return int((levels == len(judged.levels)).sum())


def _row(row: dict) -> Level:
    word = str(row["word"])
    if pd.isna(row["difference"]):
        lost = f"{words.counted(int(row['lost']), 'seed')} without a number"
        return Level(words.level(row["level"]), words.number(row["mean"]), interval=lost, word=word, tone=TONES[word])
    return Level(words.level(row["level"]), words.number(row["mean"]), _signed(row["difference"]),
                 f"{_signed(row['low'])} to {_signed(row['high'])}", _p(row["p_holm"]), word, TONES[word])  # fmt: skip


def _amount(row: pd.Series) -> str:
    """``0.05 of test accuracy (95 % interval 0.02 to 0.08, n = 5 seeds)``, whichever is ahead."""
    found = _interval(row)
    low, high = sorted((abs(found.low), abs(found.high)))
    ends = words.between(Interval(found.estimate, low, high, found.n), lambda end: words.number(end, 3))
    return f"{words.number(abs(found.estimate), 3)} of test accuracy ({ends})"


def _interval(row: pd.Series) -> Interval:
    return Interval(row["difference"], row["low"], row["high"], int(row["n"]))


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else words.number(value, 3)
