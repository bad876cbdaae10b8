"""One word for each pairing and direction, and its cause: the health of a network at initialization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from initbench.analysis.agreement import AGREEMENT, AS_PREDICTED, SEVERITY, agreement
from initbench.analysis.growth import DIRECTIONS, PAIRING, measured, predicted
from initbench.core.catalogue import Catalogue

DECADES = 2.0
"""A second moment that changes by more than this many decades over the depth is vanishing or exploding."""
DEAD, SATURATED, EQUAL = 0.75, 0.75, 1e-9
"""Shares of units, of (input, unit) pairs, and of z's second moment, beyond which a layer is called so."""
CHANCE = 1e-4
"""Where inputs are alike, as one is and all of a deep rectifier become, half of its units are off, give or take chance:
a share that this half reaches more often than so is not held against the network."""
BY_WIDTH = "; by its width: infinitely wide it would stay"
"""The rest of a cause: of log-normal moments, as those of deep narrow networks, few draws lie near the mean."""

VERDICTS = ("init", "activation", "direction", "seeds", "measured_growth", "measured_growth_se", "predicted_growth",
            "word", "cause")  # fmt: skip


@dataclass(frozen=True)
class Word:
    """A word of the verdicts."""

    severity: int
    """Of two words for one pairing, the more severe stands in the table on the terminal."""
    spec: str = ""


WORDS: Catalogue[Word] = Catalogue("word")


def _word(name: str, severity: int, summary: str) -> None:
    WORDS.register(name, summary=summary)(lambda: Word(severity))


_word("impossible", 7, "the initializer refuses this activation; the cause says why")
_word("dead", 6, "no signal: the last layer (backward: the first) is all 0, or, where the second moment stays, more"
      f" than {DEAD:.0%} of the last layer's units are dead, not by chance (see `initbench show"
      " dead_fraction`)")  # fmt: skip
_word("symmetric", 5, "all units of a layer are equal, forward and backward: they can never learn to differ")
_word("exploding", 4, f"the second moment grows by more than {DECADES:g} decades over the depth")
_word("vanishing", 3, f"the second moment shrinks by more than {DECADES:g} decades over the depth")
_word("lost", 2, "the signal leaves float64's range on its way, and neither theory nor the layers before say which way")
_word("saturated", 1, f"more than {SATURATED:.0%} of a layer's (input, unit) pairs are on a flat part, not by chance"
      " (see `initbench show saturated_fraction`)")  # fmt: skip
_word("stable", 0, "none of the others")


def verdicts(layers: pd.DataFrame, predictions: pd.DataFrame, residuals: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row per init, activation and direction; pairings that have predictions and no layers are impossible.

    With `residuals`, also whether the networks do what theory predicts (`agreement`).
    """
    facts = _facts(layers, predictions)
    tables = []
    for direction in DIRECTIONS:
        table = predicted(predictions, direction, layers=layers)
        table = table.merge(measured(layers, direction), on=PAIRING, how="left").merge(facts, on=PAIRING, how="left")
        judged = [_judge(row, direction) for row in table.to_dict("records")]
        tables.append(table.assign(direction=direction, word=[w for w, _ in judged], cause=[c for _, c in judged]))
    together = pd.concat(tables, ignore_index=True)
    together["seeds"] = together["seeds"].fillna(0).astype(int)
    found = None if residuals is None else agreement(residuals, predictions)
    if found is not None:
        together = together.merge(found, on=[*PAIRING, "direction"], how="left")
        together["agreement"] = together["agreement"].fillna("untested")
        together["cause"] += np.where(_by_width(together), BY_WIDTH, "")
    return together[[*VERDICTS, *(AGREEMENT if found is not None else ())]]


def _by_width(table: pd.DataFrame) -> pd.Series:
    """Whether a signal grows or shrinks as theory lets few networks of this width, and no infinitely wide one."""
    decades = table.predicted_growth.abs() * (table.depth - 1)
    moves, as_predicted = table.word.isin(["exploding", "vanishing"]), table.agreement.isin(AS_PREDICTED)
    return moves & as_predicted & (decades <= DECADES)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per pairing: both directions' growths, and the more severe word with its cause."""
    forward, backward = (table[table.direction == direction].set_index(PAIRING) for direction in DIRECTIONS)
    severity = {entry.name: WORDS.make(entry.name).severity for entry in WORDS}
    worse = backward.word.map(severity).gt(forward.word.map(severity))
    return pd.DataFrame(
        {
            "forward_growth": forward.measured_growth,
            "forward_predicted": forward.predicted_growth,
            "backward_growth": backward.measured_growth,
            "backward_predicted": backward.predicted_growth,
            "word": forward.word.where(~worse, backward.word),
            "cause": forward.cause.where(~worse, backward.cause),
            **_agreements(forward, backward),
        }
    ).reset_index()


def _agreements(forward: pd.DataFrame, backward: pd.DataFrame) -> dict[str, pd.Series]:
    """Of both directions' words on theory, the worse."""
    if "agreement" not in forward:
        return {}
    worse = backward.agreement.map(SEVERITY).gt(forward.agreement.map(SEVERITY))
    return {"agreement": forward.agreement.where(~worse, backward.agreement)}


def failures(table: pd.DataFrame) -> list[str]:
    """A line for each pairing and direction that is not healthy, or not as predicted."""
    lines = []
    for row in table.to_dict("records"):
        who = f"{row['init']} with {row['activation']}, {row['direction']}"
        if row["word"] != "stable":
            lines.append(f"{who}: {row['word']}{': ' * bool(row['cause'])}{row['cause']}")
        if row.get("agreement") == "wrong":
            lines.append(f"{who}: not as predicted (p = {row['p_value']:.2g}): {row['agreement_cause']}")
    return lines


def _facts(layers: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """A row per pairing: what the words rest on, beside the growths."""
    chosen = predictions[predictions.law == "mean_field"]
    rows = []
    for key, group in chosen.groupby(PAIRING, sort=False):
        last = group.sort_values("layer").iloc[-1]
        rows.append({**dict(zip(PAIRING, key, strict=True)), "note": last.note, "depth": last.layer,
                     "gain": last.fan_in * last.weight_variance, "chi": _middle(group.chi)})  # fmt: skip
    facts = pd.DataFrame(rows)
    if layers.empty:
        return facts
    by_layer = layers.groupby([*PAIRING, "layer"], sort=False)
    means = by_layer.mean(numeric_only=True).assign(units=by_layer.fan_out.sum()).reset_index("layer")
    for share in ("dead_fraction", "saturated_fraction"):
        means[share] = means[share].where(_beyond_chance(means[share].to_numpy(), means.units.to_numpy()), 0.0)
    ends = means.groupby(PAIRING, sort=False)
    last, first = means[means.layer == means.layer.max()], means[means.layer == 1]
    several = means[means.layer == means.layer[means.fan_out > 1].max()]  # one unit is not equal to any other
    lost = layers.assign(z=layers.z_second_moment.isna(), grad=layers.grad_z_second_moment.isna())
    lost = lost.groupby([*PAIRING, "layer"], sort=False)[["z", "grad"]].sum().reset_index("layer")
    measured_facts = pd.DataFrame(
        {
            "last_z": last.z_second_moment,
            "first_grad": first.grad_z_second_moment,
            "lost_z": lost.z[lost.layer == lost.layer.max()],
            "lost_grad": lost.grad[lost.layer == 1],
            "dead": last.dead_fraction,
            "saturated": ends.saturated_fraction.max(),
            "units": several.z_variance_units / several.z_second_moment,
        }
    )
    return facts.merge(measured_facts.reset_index(), on=PAIRING, how="left")


def _beyond_chance(share: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a share of so many units, of all seeds, is more than half of them by more than chance."""
    return binom.sf(np.round(share * units) - 1, units, 0.5) < CHANCE


def _middle(chi: pd.Series) -> float:
    """The geometric mean of chi over the layers that have one."""
    known = chi[(chi > 0) & np.isfinite(chi)]
    return float(np.exp(np.log(known).mean())) if len(known) else float("nan")


def _judge(row: dict, direction: str) -> tuple[str, str]:
    """The word and its cause; the cause tells of seeds that the means are without."""
    if not row["seeds"] > 0:
        return "impossible", row["note"]
    forward = direction == "forward"
    lost, seeds = int(row["lost_z" if forward else "lost_grad"]), int(row["seeds"])
    word, cause = _judge_seeds(row, forward, lost > 0)
    told = f"{lost} of {seeds} seeds left float64's range" if 0 < lost < seeds else ""
    return word, "; ".join(filter(None, (cause, told)))


def _judge_seeds(row: dict, forward: bool, lost: bool) -> tuple[str, str]:
    """The most severe word first, but that units are off: a signal that grows or shrinks does so for other reasons."""
    if (row["last_z"] if forward else row["first_grad"]) == 0:
        what = "z is 0 at the last layer" if forward else "the gradient is 0 at the first layer"
        return "dead", f"{what}{': all weights are 0' if row['gain'] == 0 and row['last_z'] == 0 else ''}"
    if row["units"] < EQUAL:
        return "symmetric", "all units of a layer are equal"
    return _judge_growth(row, forward, lost)


def _judge_growth(row: dict, forward: bool, lost: bool) -> tuple[str, str]:
    growth = row["measured_growth"]
    if abs(growth) * (row["depth"] - 1) > DECADES:
        what = f"E[z²] ×{10**growth:.3g} a layer; n·Var(w) = {row['gain']:.3g}"
        if not forward:
            what = f"gradient² ×{10**growth:.3g} a layer"
            what += f"; chi = {row['chi']:.3g}" if np.isfinite(row["chi"]) else ""
        return ("exploding" if growth > 0 else "vanishing"), what
    if lost:
        # a number that is not known has no sign: theory's has, where it knows one
        ways = (row["predicted_growth"], np.log10(row["chi"]), growth)
        way = next((way for way in ways if np.isfinite(way) and way != 0), 0)
        word, where = {1: ("exploding", "above"), -1: ("vanishing", "below"), 0: ("lost", "outside")}[np.sign(way)]
        return word, f"{'E[z²]' if forward else 'the gradient'} is {where} what float64 holds"
    if forward and row["dead"] > DEAD:
        return "dead", f"{row['dead']:.0%} of the last layer's units are dead"
    if forward and row["saturated"] > SATURATED:
        return "saturated", f"{row['saturated']:.0%} of a layer is on a flat part"
    return "stable", ""
