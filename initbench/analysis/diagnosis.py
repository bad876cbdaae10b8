"""From a probe's table to words: where the signal leaves its band, which way, why, and what would keep it.

A network's levels are compared as medians of the first and last quarter of its layers (three at least), in the
direction of travel, so that one odd layer (an embedding, a head, a side branch) is not taken for the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from initbench.analysis.growth import DIRECTIONS
from initbench.analysis.verdicts import DEAD, DECADES, EQUAL, SATURATED

Real = NDArray[np.float64]

ALIKE = 0.9
"""The cosine between two inputs above which they differ less than the biases shift them."""
DIAGNOSIS = ("direction", "word", "starts_at", "decades", "growth", "cause")
FLAT = (
    ("dead", "dead_fraction", DEAD, "units are, for all inputs, on a flat part"),
    ("saturated", "saturated_fraction", SATURATED, "values are on a flat part"),
)
"""Word, the column that it rests on, the share beyond which it is said, and how."""
NORMALIZED = "most layers are normalized: no weight variance changes it (Yang et al. 2019, arXiv:1902.08129)"
STAYS = 0.75
"""From where the signal leaves its band on, this share of layers is outside."""
MOST = 0.5
"""The share of layers that go to a normalization, from which on weights' scales do not matter."""
FEWEST = 3
"""Layers whose median one odd one does not move; of fewer than twice as many the first and the last are compared."""
MATTERS = 1 / 3
"""The share of a growth that residual sums, or layers of weights, have to explain to be its cause."""


def diagnose(layers: pd.DataFrame) -> pd.DataFrame:
    """A row per direction: the word, the layer at which it starts, decades from end to end and a layer, and the cause.

    `layers` is a probe's table; seeds are averaged, as the mean over seeds is what theory predicts. Forward E[z²] is
    followed; backward the squared gradient, summed over all values of z, over the places of an average behind.
    """
    mean = over_seeds(layers)
    return pd.DataFrame([_judge(mean, direction) for direction in DIRECTIONS], columns=list(DIAGNOSIS))


def over_seeds(layers: pd.DataFrame) -> pd.DataFrame:
    """A row per layer: the mean over seeds of each number."""
    rows = layers.groupby("layer", sort=True)
    means = rows[layers.select_dtypes("float").columns.tolist()].mean()
    return rows.first().assign(**{str(name): means[name] for name in means}).reset_index()


def sentences(diagnosis: pd.DataFrame) -> list[str]:
    """The diagnosis to read, a sentence per direction."""
    told = []
    for row in diagnosis.to_dict("records"):
        where = f" from '{row['starts_at']}' on" if row["starts_at"] else ""
        told.append(f"{row['direction'].capitalize()}: {row['word']}{where}{'; ' * bool(row['cause'])}{row['cause']}.")
    return told


def is_stable(diagnosis: pd.DataFrame) -> bool:
    """Whether both directions are."""
    return bool((diagnosis.word == "stable").all())


def _judge(mean: pd.DataFrame, direction: str) -> dict[str, object]:
    forward = direction == "forward"
    path = mean if forward else mean[::-1]
    followed = path[DIRECTIONS[direction]] * (1 if forward else path.elements * path.averaged)
    change = _change(followed.to_numpy(float))
    row = {"direction": direction, "word": "stable", "starts_at": "", "cause": "", "decades": change.decades,
           "growth": change.growth}  # fmt: skip
    word = _nothing(path, followed, forward) or _moving(path, change, forward) or _lost(path, followed)
    return row | (word or _flat(mean, forward))


def _nothing(path: pd.DataFrame, followed: pd.Series, forward: bool) -> dict[str, object]:
    """Whether there is no signal, or but one for all units, or no number of it."""
    known = followed.dropna()
    if known.empty:
        return {"word": "lost", "cause": "no number of it is known"}
    if known.iloc[-1] == 0:
        start = known[known[::-1].cumsum()[::-1] == 0].index[0]
        upto = path.loc[:start]
        what = "E[z²] is 0" if forward else "the gradient is 0"
        before = "" if forward else _empty(upto[:-1])  # a gradient arrives at z before it meets that layer's weights
        why = before or _empty(upto) or "nothing passes"
        return {"word": "dead", "starts_at": _called(path.loc[start]), "cause": f"{what}: {why}"}
    drawn = path[(path.role == "weights") & (path.fan_out > 1)]
    if len(drawn) and (drawn.z_variance_units < EQUAL * drawn.z_second_moment).mean() > STAYS:
        return {"word": "symmetric", "starts_at": _called(drawn.iloc[0]), "cause": "all units of a layer are equal"}
    return {}


def _empty(upto: pd.DataFrame) -> str:
    """Which layer's weights of 0 end a signal, if any, and whether that is so before the first update alone."""
    empty = upto[upto.weight_second_moment == 0]
    if empty.empty:
        return ""
    last = empty.iloc[-1]
    moved = "; their own gradient is not, so the first update ends that" if last.grad_w_second_moment > 0 else ""
    return f"all weights of {last.module} are 0{moved}"


def _moving(path: pd.DataFrame, change: _Change, forward: bool) -> dict[str, object]:
    if abs(change.decades) <= DECADES:
        return {}
    word = "exploding" if change.decades > 0 else "vanishing"
    return {"word": word, "starts_at": _called(path.iloc[change.start]), "cause": _why(path, change, forward)}


def _lost(path: pd.DataFrame, followed: pd.Series) -> dict[str, object]:
    """Whether the way ends in what is no number; where no gradient arrives there is none to lose."""
    ends = (followed.isna() & ~path["note"].str.contains("no gradient", na=False))[::-1].cummin()[::-1]
    if not ends.any():
        return {}
    return {"word": "lost", "starts_at": _called(path[ends].iloc[0]), "cause": "from there on it is no number"}


def _flat(mean: pd.DataFrame, forward: bool) -> dict[str, object]:
    """Whether the last quarter of the layers, but for a side branch, is on flat parts of its activations."""
    for word, column, limit, what in FLAT:
        known = mean[mean[column].notna()]
        if forward and known[column].iloc[-max(len(known) // 4, 1) :].median() > limit:
            first = known[known[column] > limit].iloc[0]
            cause = f"{first[column]:.0%} of its {what} of {first.activation}{_alike(first)}"
            return {"word": word, "starts_at": _called(first), "cause": cause}
    return {}


def _alike(row: pd.Series) -> str:
    return f"; inputs are alike there (cosine {row.cosine:.3g})" if row.cosine > ALIKE else ""


def _called(row: pd.Series) -> str:
    return f"{row.module} (call {row.call:g})" if row.call > 1 else str(row.module)


@dataclass(frozen=True)
class _Change:
    """What becomes of a signal from end to end."""

    decades: float = 0.0
    growth: float = 0.0
    """Decades a layer."""
    start: int = 0
    """Where it leaves its band for good, as a place on the way."""


def _change(followed: Real) -> _Change:
    known = np.flatnonzero((followed > 0) & np.isfinite(followed))
    if len(known) < 2:
        return _Change()
    log, quarter = np.log10(followed[known]), max(len(known) // 4, FEWEST if len(known) >= 2 * FEWEST else 1)
    level = float(np.median(log[:quarter]))
    decades = float(np.median(log[-quarter:])) - level
    steps = len(known) - quarter
    if abs(decades) <= DECADES:
        return _Change(decades, decades / steps)
    outside = (log - level) * np.sign(decades) > DECADES
    stays = outside[::-1].cumsum()[::-1] / np.arange(len(outside), 0, -1)
    enough = min(STAYS, float(stays[outside].max()))
    return _Change(decades, decades / steps, int(known[np.flatnonzero(outside & (stays >= enough))[0]]))


def _why(path: pd.DataFrame, change: _Change, forward: bool) -> str:
    """The cause with its numbers."""
    if _recurs(path):
        calls = path.call.max()
        again = path[path.role.isin(["weights", "other"]) & (path.call == calls)]  # the state's come last
        often = again.sort_values("layer").module.iloc[-1] if len(again) else _called(path.iloc[0])
        factor = 10 ** (change.growth * len(path) / calls)
        return (f"{_signal(forward)} ×{factor:.3g} at each of {calls:g} calls of '{often}': one weight acts again and"
                " again, and theory knows no variance that would keep it")  # fmt: skip
    sums = path[path.role == "sum"]
    if change.decades > 0 and (number := sums_explode(path)):
        factor = _middle(sums.z_second_moment / sums.x_second_moment)
        return (f"{number} residual branches multiply E[z²] by {factor:.3g} each, and nothing scales them down;"
                f" Var(w)/{number} in the last layer of each would keep it")  # fmt: skip
    alike = _alike(path.iloc[-1]).replace("there", "in the end") if forward and change.decades < 0 else ""
    return _of_layers(path, change, forward) + alike


def sums_explode(layers: pd.DataFrame) -> int:
    """How many residual sums there are, if they make the signal explode; else 0."""
    mean = over_seeds(layers)
    if _recurs(mean):  # what enters at each step is no trunk
        return 0
    change = _change(mean.z_second_moment.to_numpy(float))
    sums = mean[mean.role == "sum"]
    return len(sums) if change.decades > DECADES and _explained(sums, change) > MATTERS else 0


def _recurs(layers: pd.DataFrame) -> bool:
    """Whether most rows are further calls of what ran before, and nothing normalizes in between."""
    return bool((layers.call > 1).mean() > MOST) and not (layers.role == "normalization").any()


def _signal(forward: bool) -> str:
    return "E[z²]" if forward else "gradient²"


def _explained(sums: pd.DataFrame, change: _Change) -> float:
    """The share of a growth that the sums' own factors make up."""
    factors = np.log10(sums.z_second_moment / sums.x_second_moment)
    return float(factors[np.isfinite(factors)].sum()) / change.decades if len(sums) and change.decades else 0.0


def _of_layers(path: pd.DataFrame, change: _Change, forward: bool) -> str:
    layers = path[(path.role == "weights") & path.fan_in.notna()]
    others = path[(path.role == "other") & path.fan_in.notna()]
    told = [f"{_signal(forward)} ×{10**change.growth:.3g} a layer"]
    if len(others) > len(layers):
        told.append(f"most layers are {_commonest(others.kind)}, which theory does not reach")
    elif len(layers) and (layers.normalized_by != "").mean() > MOST:
        told.append(NORMALIZED)
    elif len(layers):
        factors, factor = _factors(layers, forward)
        told.append(factors)
        if np.log10(factor) / change.growth < MATTERS:  # a factor that is not known is no evidence
            return "; ".join([*told, "that is not it: what stands between these layers is"])
        told += _of_normalization(path)
        told += _wanted(layers)
    return "; ".join(told)


def _of_normalization(path: pd.DataFrame) -> list[str]:
    """That nothing normalizes, and whether that is the mode's doing."""
    if ((path.role == "normalization") | path.normalized_by.ne("")).any():
        return []
    if path["note"].str.contains("running statistics", na=False).any():
        return ["nothing normalizes in this mode: running statistics, not the batch's, are taken out"]
    return ["nothing normalizes"]


def _factors(layers: pd.DataFrame, forward: bool) -> tuple[str, float]:
    """What weights, and the commonest activation, make of a signal, in words and, if both are known, as a number."""
    fan, power = (layers.terms, "fan_in·Var(w)") if forward else (layers.fan_out, "fan_out·Var(w)")
    gain = _middle(fan * layers.weight_second_moment)
    if forward:
        passed = layers.a_second_moment / layers.z_second_moment
    else:
        passed = layers.grad_z_second_moment / layers.grad_a_second_moment
    known = passed.notna() & layers.kept_variance.notna()  # a gate's own activation is not what its layer passes on
    if not known.any():
        return f"{power} = {gain:.3g}", math.nan
    name = _commonest(layers.activation[known])
    keeps = _middle(passed[known & (layers.activation == name)])
    return f"{power} = {gain:.3g}, of which {name} passes on {keeps:.3g}: {gain * keeps:.3g}", gain * keeps


def _wanted(layers: pd.DataFrame) -> list[str]:
    """The variance that would keep the signal, where it is known."""
    known = layers[layers.kept_variance.notna()]
    if known.empty:
        return ["no variance is known to keep it"]
    before = known[known.activation != ""] if (known.activation != "").any() else known
    name = _commonest(before.activation)
    gain = _middle((before.kept_variance * before.terms)[before.activation == name])
    but = before.kept_but[before.activation == name].iloc[0]
    told = f"Var(w) = {gain:.3g}/fan_in{f' before {name}' if name else ''} would keep it"
    return [f"{told}, but {but}" if but else told]


def _commonest(texts: pd.Series) -> str:
    return str(texts.value_counts().index[0])


def _middle(values: pd.Series) -> float:
    """The geometric mean of those that are above 0."""
    known = values[(values > 0) & np.isfinite(values)]
    return float(np.exp(np.log(known).mean())) if len(known) else float("nan")
