"""How the weights of a drawn layer hang together, seen on the draws alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy  # and not scipy.stats: few need it, and it takes half as long to load as torch
import torch
from torch import Tensor

SURE = 1e-6
"""How improbable a deviation must be, if weights were independent, to be one."""
APART = 0.1
"""And how large, relative: what is smaller changes no layer's signal by more than its own fluctuation."""
SPREAD = 4.0
"""Of a variance over draws, relative: of 64 draws' of a chi-square number of 64 degrees this has probability 1e-20."""
SHOWN = 256
"""Rows, and columns, that are looked at."""
EXACT = 1e-4
"""Of orthogonal or equal weights in float32, relative."""


def coupling_of(draws: Sequence[Tensor]) -> tuple[str, str]:
    """The coupling of `Promise` that fits draws of one layer, `fan_out fan_in` each; else empty, and why none does.

    Fans of some tens, and some tens of draws, are enough.

    Independent weights have mean 0; rows (and columns) whose products have the mean square 1/n, and whose mean squares
    differ by (kurtosis - 1)/n: each is tested by Student's t over the draws, a draw a number.
    """
    first = draws[0].double()
    scale = float(first.abs().max())
    if scale == 0:
        return "independent", ""
    if float(first.max() - first.min()) <= EXACT * scale:
        return "shared", ""
    if _is_diagonal(first, scale):
        return "diagonal", ""
    if all(_is_orthogonal(draw.double()) for draw in draws):
        return "orthogonal", ""
    if all(torch.equal(draw, draws[0]) for draw in draws[1:]):
        return "", "they are not drawn: every seed has the same"
    return next((("", why) for why in _dependence([draw.double() for draw in draws])), ("independent", ""))


def _is_diagonal(weight: Tensor, scale: float) -> bool:
    diagonal = weight.diagonal()
    beside = float(weight.abs().sum() - diagonal.abs().sum())
    return beside == 0 and float(diagonal.max() - diagonal.min()) <= EXACT * scale


def _is_orthogonal(weight: Tensor) -> bool:
    short = (weight if weight.shape[0] <= weight.shape[1] else weight.t())[:SHOWN]
    gram = short @ short.t()
    gram /= gram.diagonal().mean()
    return len(gram) > 1 and float((gram - torch.eye(len(gram), dtype=gram.dtype)).abs().max()) <= EXACT


def _dependence(draws: Sequence[Tensor]) -> Iterable[str]:
    """What the draws have that independent weights of mean 0 lack."""
    if error := _deviation([float(draw.mean() / draw.square().mean().sqrt()) for draw in draws], 0.0, 0.0):
        yield f"their mean is not 0 but {error:.3g} of their root mean square"
    kurtosis = float(np.mean([float(draw.pow(4).mean() / draw.square().mean() ** 2) for draw in draws]))
    for name, sides in (("units", draws), ("inputs", [draw.t() for draw in draws])):
        products, squares = zip(*(_products_and_squares(side, kurtosis) for side in sides), strict=True)
        if ratio := _deviation(products, 1.0, APART):
            yield f"products between {name} have {ratio:.3g} times the mean square of independent weights'"
        if (ratio := _deviation(squares, 1.0, APART)) and ratio > 1:
            yield f"the sizes of {name} differ {ratio:.3g} times as much as independent weights'"
        if (ratio := _spread_of_sums(sides, kurtosis)) > SPREAD:
            yield f"the sums of {name} spread {ratio:.3g} times as much as independent weights'"


def _products_and_squares(side: Tensor, kurtosis: float) -> tuple[float, float]:
    """Both relative to what rows of independent weights have: 1 and 1."""
    rows, length = side[:SHOWN] / side.square().mean().sqrt(), side.shape[1]
    gram = rows @ rows.t() / length
    count = len(gram)
    products = (gram.square().sum() - gram.diagonal().square().sum()) / (count * (count - 1)) * length
    squares = side.square().mean(dim=1) / side.square().mean()
    return float(products), float(squares.var() * length / max(kurtosis - 1, 1 / length))


def _spread_of_sums(draws: Sequence[Tensor], kurtosis: float) -> float:
    """The variance over draws of a layer's response to equal inputs, sum_i (sum_j w_ij)², relative to independence."""
    sums = np.array([float(draw.sum(dim=1).square().mean() / draw.square().mean()) for draw in draws])
    units, inputs = draws[0].shape
    return float(sums.var() / sums.mean() ** 2 * units / (2 + (kurtosis - 3) / inputs)) if sums.any() else 0.0


def _deviation(found: Sequence[float], expected: float, apart: float) -> float:
    """The mean of `found` if it is surely, and by more than `apart`, not the expected; else 0."""
    mean = float(np.mean(found))
    if len(found) < 2 or abs(mean - expected) <= apart:
        return 0.0
    if np.std(found) <= 1e-9 * abs(mean):
        return mean
    return mean if scipy.stats.ttest_1samp(found, expected).pvalue < SURE else 0.0
