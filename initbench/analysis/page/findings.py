"""The answer in a sentence, with its interval, and the few numbers that say how sure it is: for each kind of study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from initbench.analysis import verdicts
from initbench.analysis.agreement import LEVEL
from initbench.analysis.expectations import HELD, NOT_HELD, UNDECIDED
from initbench.analysis.figures import calibration
from initbench.analysis.page import paths, trained, words
from initbench.analysis.page.content import half_width
from initbench.analysis.page.finding import Fact, Finding
from initbench.analysis.results import Results
from initbench.analysis.statistics import CONFIDENCE, LOG, Interval, interval


def of_results(results: Results) -> Finding:
    """The finding of one results folder, by its kind."""
    found = KINDS.get(results.study["kind"], _any)(results)
    asked = str(results.study.get("question", ""))
    return replace(found, question=asked or found.question)


def of_outcomes(question: str, table: pd.DataFrame) -> Finding:
    """The finding of a study that says what it expects: its answers, or the first claim that held; how many did."""
    counts = {word: int((table["outcome"] == word).sum()) for word in (HELD, NOT_HELD, UNDECIDED)}
    told = [f"{counts[HELD]} of {len(table)} held"]
    told += [f"{counts[NOT_HELD]} did not"] if counts[NOT_HELD] else []
    told += [f"{counts[UNDECIDED]} undecided"] if counts[UNDECIDED] else []
    answers = table[table["answers"]] if "answers" in table else table[:0]  # kept by an older version: without
    first = [*table[table["outcome"] == HELD].to_dict("records"), *table.to_dict("records")][:1]
    lead = _sentences([_claim(row) for row in answers.to_dict("records") or first])
    seeds = sorted({int(n) for n in table["n"]})
    span = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    return Finding(question, lead, [
        Fact("Expectations", told[0], "; ".join([*told[1:], "bounds fixed before the run"])),
        Fact("How sure", f"n = {span} seeds",
             f"{words.share(CONFIDENCE)} intervals over seeds, not corrected for the number of expectations"),
    ])  # fmt: skip


def _claim(row: dict) -> str:
    found = Interval(row["estimate"], row["low"], row["high"], int(row["n"]))
    word = "" if row["outcome"] == HELD else f"{row['outcome']}, "
    return f"{row['claim']}: {word}{words.number(found.estimate)} ({words.between(found)})"


def _sentences(claims: list[str]) -> str:
    """A claim that begins small goes on with the sentence before it."""
    told = "".join(f"{'; ' if claim[:1].islower() else '. '}{claim}" for claim in claims)
    return f"{told[2:]}."


def _propagation(results: Results) -> Finding:
    table, depth = verdicts.summary(results.verdicts), len(results.study["widths"]) - 1
    healthy = table[table["word"] == "stable"]
    question = f"Which initializers keep signal and gradient alive over {depth} layers, and with which activation?"
    if len(table) == 1:
        lead = _pairing(table.iloc[0], results.verdicts)
    else:
        lead = (
            f"{len(healthy)} of {len(table)} pairings of initializer and activation keep signal and gradient within"
            f" {verdicts.DECADES:g} decades over {depth} layers"
        )
    facts = [Fact("Healthy", f"{len(healthy)} of {len(table)}", "stable forward and backward")]
    if "agreement" in table:
        tested = table[table["agreement"] != "untested"]
        right = int((tested["agreement"] != "wrong").sum())
        lead += f"; {right} of the {len(tested)} that can be tested are as theory predicts" if len(table) > 1 else ""
        told = f"of the pairings that can be tested; false discovery rate of the table {words.share(LEVEL)}"
        facts.append(Fact("As predicted", f"{right} of {len(tested)}", told))
    sure = _precision(results.verdicts)
    ends = sure.note if sure.value == words.MISSING else f"{sure.note}: {sure.value}"
    return Finding(question, f"{lead}; {ends}.", [*facts, sure], _failing(table))


def _pairing(row: pd.Series, table: pd.DataFrame) -> str:
    ends = [f"{way} ×{words.number(_factor(one.measured_growth))} a layer" for way, one in
            ((row["direction"], row) for _, row in table.iterrows()) if np.isfinite(one.measured_growth)]  # fmt: skip
    cause = f" ({row['cause']})" if row["cause"] else ""
    return f"{row['init']} with {row['activation']} is {row['word']}{cause}: {', '.join(ends) or 'no growth measured'}"


def _factor(decades: float) -> float:
    """So many powers of ten; infinite where that is beyond all numbers."""
    with np.errstate(over="ignore"):
        return float(np.power(10.0, decades))


def _precision(table: pd.DataFrame) -> Fact:
    """How well a growth is known: the median half-width of its interval."""
    known = table.dropna(subset=["measured_growth_se"])
    known = known[known["seeds"] > 1]
    seeds = f"n = {known['seeds'].max()} seeds" if len(known) else "one seed"
    if known.empty:
        return Fact("How sure", words.MISSING, f"{seeds}: no interval")
    told = f"{words.share(CONFIDENCE)} interval of a pairing's factor per layer, the median of all, {seeds}"
    return Fact("How sure", f"±{words.share(_factor(np.median(half_width(known))) - 1)}", told)


def _failing(table: pd.DataFrame) -> list[tuple[str, int, str]]:
    groups = []
    severity = {entry.name: verdicts.WORDS.make(entry.name).severity for entry in verdicts.WORDS}
    for word in sorted(set(table["word"]) - {"stable"}, key=lambda word: -severity[word]):
        groups.append((word, table[table["word"] == word]))
    if "agreement" in table and (table["agreement"] == "wrong").any():
        groups.append(("wrong", table[table["agreement"] == "wrong"]))
    every = table["activation"].nunique()
    return [(word, len(rows), _which(rows, every)) for word, rows in groups]


def _which(rows: pd.DataFrame, every: int) -> str:
    """``zeros with every activation; he_normal with tanh, sigmoid``."""
    told = []
    for init, group in rows.groupby("init", sort=False):
        names = list(group["activation"])
        told.append(f"{init} with {'every activation' if len(names) == every > 2 else ', '.join(names)}")
    return "; ".join(told)


def _calibration(results: Results) -> Finding:
    table = calibration.summary(results.table("alarms"))
    told, facts = [], []
    for honest, what in ((True, "honest networks are called wrong"), (False, "wrong networks are called so")):
        cases = table[table["honest"] == honest]
        if len(cases):
            found = stats.binomtest(int(cases["alarms"].sum()), int(cases["repetitions"].sum()))
            ends = found.proportion_ci(CONFIDENCE, method="exact")
            text = f"{words.share(found.statistic)}"
            told.append(
                f"{what} in {text} of studies (95 % interval {words.share(ends.low)} to {words.share(ends.high)})"
            )
            label = "False alarms" if honest else "Errors found"
            wanted = f"nominal {words.share(LEVEL)}" if honest else f"wanted {words.share(calibration.WANTED)}"
            facts.append(Fact(label, text, f"{wanted}; {words.counted(len(cases), 'case')}"))
    return Finding("Can the verdicts be trusted?", "; ".join(told).capitalize() + ".", facts)


def _jacobian(results: Results) -> Finding:
    table = results.table("jacobians")
    whole = table[table["scope"] == "network"]
    found = {key: interval(rows["squared_singular_value"].to_numpy(float), LOG)
             for key, rows in whole.groupby(["init", "activation"], sort=False)}  # fmt: skip
    known = {key: one for key, one in found.items() if np.isfinite(one.estimate) and one.estimate > 0}
    question = "What do deep networks do to small changes of their input?"
    if not known:
        return Finding(question, "The Jacobian of every network is 0, or beyond float64.")
    (init, activation), best = min(known.items(), key=lambda item: abs(np.log(item[1].estimate)))
    lead = (
        f"{init} with {activation} is the nearest of {words.counted(len(found), 'pairing')} to keeping their size: mean"
        f" squared singular value of the whole network {words.number(best.estimate)} ({words.between(best)})."
    )
    ends = sorted(one.estimate for one in known.values())
    span = f"{words.number(ends[0], 2)} to {words.number(ends[-1], 2)}"
    facts = [Fact("Nearest to 1", words.number(best.estimate), f"{init}, {activation}")]
    facts.append(Fact("Range", span, "over all pairings"))
    return Finding(question, lead, facts)


def _phase(results: Results) -> Finding:
    table = results.table("phases")
    counts = table["phase"].value_counts()
    told = ", ".join(f"{number:,} {word}" for word, number in counts.items())
    names = ", ".join(map(str, table["activation"].unique()))
    lead = f"Of {len(table):,} pairs of variances, {told}. This is theory of infinite width: no sampling, no interval."
    return Finding(f"Where is a deep network of {names} ordered, where chaotic?", lead)


def _any(results: Results) -> Finding:
    tables = ", ".join(results.manifest.get("tables", []))
    return Finding(f"Results in {results.folder.name}", f"The tables: {tables}.")


KINDS: dict[str, Callable[[Results], Finding]] = {
    "variance": _propagation,
    "train": trained.finding,
    "calibration": _calibration,
    "jacobian": _jacobian,
    "phase": _phase,
    "landscape": paths.landscapes,
    "curve": paths.curves,
}
"""Kind of study -> what it found."""
