"""The catalogue of preparations: what is done to images before a network sees them.

Each is fitted on the training images alone and then applied to any, so nothing of the test images leaks into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from initbench.core.catalogue import Catalogue, did_you_mean
from initbench.core.errors import UsageError


@dataclass(frozen=True)
class Preparation:
    """``fit(training images)`` is a function that prepares any images, all ``samples features``."""

    fit: Callable[[Tensor], Callable[[Tensor], Tensor]]
    fewest: int = 1
    """Training images that it takes to fit."""
    spec: str = ""


PREPARATIONS: Catalogue[Preparation] = Catalogue("preparation")

FEWEST = 2
"""Images that have a variance."""
AXES: dict[str, int | None] = {"dataset": None, "feature": 0}
"""What a statistic is taken `per` -> the axis of ``samples features`` that it is taken over (None: both).

Not "global": that is a keyword of Python, whose parser reads specs."""


@PREPARATIONS.register("none", formula="x", summary="Pixels as they are, in [0, 1].", source="-")
def none() -> Preparation:
    return Preparation(lambda _training: lambda images: images)


@PREPARATIONS.register(
    "min_max",
    formula="lower + (upper - lower) (x - min) / (max - min)",
    summary="All training pixels together span [lower, upper]; other images may go beyond.",
    source="-",
)
def min_max(lower: float = 0.0, upper: float = 1.0) -> Preparation:
    """Minimum and maximum are over all images and features, so the contrast between pixels stays.

    Images beyond the training range are not clipped; training images of one value all become `lower`. Raises
    `UsageError` unless lower < upper.
    """
    if lower >= upper:
        raise UsageError(f"preparation 'min_max': lower must be less than upper, not {lower:g} and {upper:g}")

    def fit(training: Tensor) -> Callable[[Tensor], Tensor]:
        least, most = training.aminmax()
        reach = torch.where(most > least, most - least, torch.inf)  # an infinite reach sends a constant to `lower`
        return lambda images: lower + (upper - lower) * ((images - least) / reach)

    return Preparation(fit)


@PREPARATIONS.register(
    "standardize",
    formula="(x - mean) / std, std with N - 1",
    summary="Training mean 0 and variance 1, per=dataset or per=feature; a constant feature becomes 0.",
    source="LeCun et al. 1998, section 4.3",
)
def standardize(per: str = "dataset") -> Preparation:
    """One mean and standard deviation over all pixels (per=dataset), or one for each feature (per=feature).

    A feature that is constant in training becomes 0 in every image: 0/0 has to be something, weights from it would
    never learn, and a test image that differs there would add nothing but their initial noise. Raises `UsageError`
    for another `per`, and on fitting fewer than two images, which have no N - 1.
    """
    if per not in AXES:
        raise UsageError(f"preparation 'standardize': unknown per '{per}'{did_you_mean(per, AXES)}")
    axis = AXES[per]

    def fit(training: Tensor) -> Callable[[Tensor], Tensor]:
        if len(training) < FEWEST:
            raise UsageError(f"preparation 'standardize' needs at least {FEWEST} training images, not {len(training)}")
        std, mean = torch.std_mean(training, dim=axis, correction=1)
        least, most = training.aminmax(dim=axis)
        # constancy is seen exactly here; a rounded mean leaves a tiny std, which would blow the rounding up to size 1
        scale = torch.where(most > least, std, torch.inf)
        return lambda images: (images - mean) / scale

    return Preparation(fit, FEWEST)
