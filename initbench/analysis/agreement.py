"""Do networks do what theory predicts? A word for each pairing and direction, with a known rate of false alarms.

Seeds are the replicates. The residual of a layer is standard normal where theory holds (`initbench show z_residual`),
so its mean over seeds has variance 1/seeds, and the theory's own error squared. Each layer is tested, and the sum over
all layers: a drift too small to see in any one. Of these p-values Simes's is that of the pairing and direction, and
those of the whole table are corrected together (Benjamini & Hochberg 1995): of tables in which all is as predicted 5 %
have a pairing that is called wrong, and of the pairings called wrong at most 5 % are not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, fisher_exact, norm, ttest_ind

from initbench.analysis.growth import DIRECTIONS, PAIRING
from initbench.core.catalogue import Catalogue
from initbench.core.errors import UsageError

Real = NDArray[np.float64]

LEVEL = 0.05
"""The rate of false alarms of a whole table."""
SHIFT = 0.05
"""A relative correction of the mean from which on finite width is told of."""

FAR = 1.0
"""Of the logarithm: beyond this, first order in 1/n does not tell how far."""

AGREEMENT = ("agreement", "p_value", "starts_at", "agreement_cause")
_OF = {"forward": "z", "backward": "grad"}


@dataclass(frozen=True)
class Agreement:
    """A word on theory and measurement."""

    spec: str = ""


AGREEMENTS: Catalogue[Agreement] = Catalogue("agreement")
SEVERITY: dict[str, int] = {}
"""Of two words for one pairing, the more severe stands in the table on the terminal."""


def _word(name: str, severity: int, summary: str) -> None:
    AGREEMENTS.register(name, summary=summary)(lambda: Agreement())
    SEVERITY[name] = severity


_word("consistent", 1, f"all layers and their drift are as predicted (false discovery rate of the table: {LEVEL:.0%})")
_word("finite-width bias", 2, "as predicted at this width, where the mean is off infinite width's by more than"
      f" {SHIFT:.0%} and by more than chance")  # fmt: skip
AS_PREDICTED = ("consistent", "finite-width bias")
_word("wrong", 3, "not as predicted, from the layer `starts_at` on")
_word("untested", 0, "no residuals: weights without randomness or of which a few large ones decide, no signal, or"
      " beyond float64")  # fmt: skip


def agreement(residuals: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """A row per init, activation and direction: the word, the corrected p-value, where it starts, why."""
    rows, group_p, bias_p = [], [], []
    for (init, activation), group in residuals.groupby(PAIRING, sort=False):
        for direction in DIRECTIONS:
            z = _deviations(group, direction)
            rows.append({"init": init, "activation": activation, "direction": direction, "deviations": z})
            group_p.append(_simes(2 * norm.sf(np.abs(z.tests))))
            bias_p.append(2 * norm.sf(abs(z.bias)))
    corrected, bias = _corrected(group_p), _corrected(bias_p)
    shifts = _shifts(predictions)
    told = [_judge(row, p, b, shifts) for row, p, b in zip(rows, corrected, bias, strict=True)]
    return pd.DataFrame(rows, columns=[*PAIRING, "direction"]).assign(
        **{name: [answer[place] for answer in told] for place, name in enumerate(AGREEMENT)}
    )


def against(layers: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """How measured layers compare with those of another result: the pairings and directions that both have.

    Columns `baseline_p` (Simes's over the layers of two tests, corrected over the table), `layer` where one of them is
    smallest, `ratio`, ours over theirs there, of the geometric means, and `lost`, how many networks are 0 or beyond
    float64 there, where it is their number that differs. The tests are Welch's of the logarithms, with seeds as
    replicates, and Fisher's exact one of the numbers of lost networks. Where all seeds of one side alone are lost, that
    is a difference beyond chance: p = 0.
    """
    rows, found = [], []
    for direction, column in DIRECTIONS.items():
        ours, theirs = _logs(layers, column), _logs(baseline, column)
        for pairing in [key for key in ours if key in theirs]:
            here, there = ours[pairing], theirs[pairing]
            p, ratio = _compared(here, there)
            of_lost = _lost_alike(here, there)
            found.append(_simes(np.append(p, of_lost)))
            both = np.nan_to_num([p, of_lost], nan=1.0)
            place = int(np.argmin(both.min(axis=0)))
            told = _lost_at(here, there, place) if both[1, place] < both[0, place] else ""
            rows.append({**dict(zip(PAIRING, pairing, strict=True)), "direction": direction, "layer": place + 1,
                         "ratio": float(ratio[place]), "lost": told})  # fmt: skip
    for row, p in zip(rows, _corrected(found), strict=True):
        row["baseline_p"] = float(p)
    return pd.DataFrame(rows, columns=[*PAIRING, "direction", "baseline_p", "layer", "ratio", "lost"])


def _compared(ours: Real, theirs: Real) -> tuple[Real, Real]:
    """Of logarithms, `seeds layers`: each layer's p-value that they are alike, and the ratio of the geometric means."""
    with warnings.catch_warnings(action="ignore"):  # of layers that no seed knows
        p = ttest_ind(ours, theirs, equal_var=False, nan_policy="omit").pvalue
        change = np.nanmean(ours, axis=0) - np.nanmean(theirs, axis=0)
    return np.where(change == 0, 1.0, p), np.exp(change)


def _lost_alike(ours: Real, theirs: Real) -> Real:
    """Each layer's p-value that networks of both are as likely to be lost; NaN where none is."""
    lost, kept = (np.array([test(side).sum(axis=0) for side in (ours, theirs)]) for test in (np.isnan, np.isfinite))
    p = np.array([fisher_exact(table).pvalue for table in np.stack([lost, kept]).transpose(2, 0, 1)])
    all_of_one = (kept == 0).any(axis=0) & (lost == 0).any(axis=0)
    return np.where(all_of_one, 0.0, np.where(lost.any(axis=0), p, np.nan))


def _lost_at(ours: Real, theirs: Real, place: int) -> str:
    here, there = (f"{np.isnan(side[:, place]).sum()} of {len(side)}" for side in (ours, theirs))
    return f"{here} networks are 0 or beyond float64 at layer {place + 1}, in the baseline {there}"


def differences(layers: pd.DataFrame, baseline: pd.DataFrame) -> list[str]:
    """A line for each pairing and direction that differs from the baseline by more than chance.

    Raises `UsageError` where there is nothing to compare. One seed on a side leaves chance, and differences, unknown.
    """
    same_depth = layers.layer.max() == baseline.layer.max()
    table = against(layers, baseline) if same_depth else pd.DataFrame()
    if table.empty:
        raise UsageError("the baseline has none of these pairings, or another depth: there is nothing to compare")
    found = table[table.baseline_p < LEVEL]
    told = found.lost.where(found.lost != "", [f"×{row.ratio:.3g} of the baseline at layer {row.layer}"
                                               for row in found.itertuples()])  # fmt: skip
    return [f"{row.init} with {row.activation}, {row.direction}: {what} (p = {row.baseline_p:.2g})"
            for row, what in zip(found.itertuples(), told, strict=True)]  # fmt: skip


@dataclass
class _Deviations:
    """Of one pairing and direction, in standard normal units."""

    layers: Real
    """In the direction of travel."""
    numbers: Real
    tests: Real
    """Of each layer, and of the drift."""
    bias: float


def _deviations(group: pd.DataFrame, direction: str) -> _Deviations:
    name = _OF[direction]
    table = {kind: group.pivot(index="seed", columns="layer", values=f"{name}_{kind}").sort_index(axis=1)
             for kind in ("residual", "residual_error", "bias")}  # fmt: skip
    step = 1 if direction == "forward" else -1
    found, error = (table[kind].to_numpy()[:, ::step] for kind in ("residual", "residual_error"))
    seeds = len(found)
    mean, doubt = found.mean(axis=0), error.mean(axis=0)
    layers = mean / np.sqrt(1 / seeds + doubt**2)
    known = np.isfinite(layers)
    drift = mean[known].sum() / np.sqrt(known.sum() / seeds + doubt[known].sum() ** 2) if known.any() else np.nan
    bias = float(table["bias"].to_numpy()[:, ::step][:, -1].mean() * seeds**0.5)
    return _Deviations(layers, table["bias"].columns.to_numpy()[::step], np.append(layers, drift), bias)


def _simes(p: Real) -> float:
    """The p-value of the hypothesis that all of these hold (Simes 1986); NaN where none is known."""
    known = p[np.isfinite(p)]
    return float(false_discovery_control(known).min()) if len(known) else float("nan")


def _corrected(p: list[float]) -> Real:
    """The p-values of a table, corrected together; NaN stays."""
    found = np.array(p, float)
    known = np.isfinite(found)
    if known.any():
        found[known] = false_discovery_control(found[known])
    return found


def _judge(row: dict, p: float, bias: float, shifts: pd.DataFrame) -> tuple[str, float, float, str]:
    z: _Deviations = row["deviations"]
    if not np.isfinite(p):
        return "untested", np.nan, np.nan, ""
    if p < LEVEL:
        start = _start(z.layers)
        drift = z.tests[-1]
        told = f"deviates from layer {z.numbers[start]} on; over the depth by {drift:+.1f} standard errors"
        return "wrong", p, float(z.numbers[start]), told
    shift = shifts.loc[(row["init"], row["activation"]), row["direction"]]
    if abs(shift) > np.log1p(SHIFT) and bias < LEVEL:
        told = (
            f"the mean is ×{np.exp(shift):.3g} of infinite width's" if abs(shift) < FAR else "far from infinite width"
        )
        return "finite-width bias", p, np.nan, told
    return "consistent", p, np.nan, ""


def _start(layers: Real) -> int:
    """From where on deviations of one sign stand out most: the likeliest place of a lasting change of the mean."""
    known = np.nan_to_num(layers)
    sums, counts = known[::-1].cumsum()[::-1], np.arange(len(known), 0, -1)
    return int(np.argmax(sums**2 / counts))


def _shifts(predictions: pd.DataFrame) -> pd.DataFrame:
    """log of finite over infinite width's mean, where the signal ends: `forward` and `backward` of each pairing."""
    ends = {}
    for direction, column in DIRECTIONS.items():
        table = predictions.pivot(index=[*PAIRING, "law"], columns="layer", values=column).sort_index(axis=1)
        last = table.iloc[:, -1 if direction == "forward" else 0]
        ends[direction] = np.log(last.where(last > 0))
    both = pd.DataFrame(ends).unstack("law")
    shifts = {name: both[name]["finite_width"] - both[name]["mean_field"] for name in DIRECTIONS}
    return pd.DataFrame(shifts)


def _logs(layers: pd.DataFrame, column: str) -> dict:
    table = layers.pivot(index=[*PAIRING, "seed"], columns="layer", values=column).sort_index(axis=1)
    groups = table.where(table > 0).groupby(PAIRING, sort=False)
    return {key: np.log(group.to_numpy()) for key, group in groups}
