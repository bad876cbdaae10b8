"""The catalogue of regularizers: each has a strength (a factor of the grid, 0 is off) and acts in one place.

Functions take a strength that is a number or, for a stack, a tensor `models 1 1`: they work element by element. Noise
is drawn outside, from generators that know the seed, the step and the layer and never the strength: two strengths see
the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from initbench.core.catalogue import Catalogue
from initbench.core.randomness import generator, key_to_seed

Strength = float | Tensor
Batch = tuple[Tensor, Tensor]
"""Images `batch features` and targets `batch classes`."""


@dataclass(frozen=True)
class Occasion:
    """When a batch is changed: what its noise may depend on."""

    seed: int
    step: int
    shape: tuple[int, ...]
    """Of one image: `channels height width`."""


@dataclass(frozen=True)
class Regularizer:
    """A function in one of five places; the others are None."""

    limit: float = math.inf
    """Strengths are below this."""
    penalty: Callable[[Tensor], Tensor] | None = None
    """Of each weight (not of biases): the loss grows by strength times the sum."""
    units: Callable[[Tensor, Strength], Tensor] | None = None
    """Uniform noise `batch units` and strength -> what hidden activations are multiplied by in training."""
    branches: Callable[[Tensor, Strength], Tensor] | None = None
    """Uniform noise `batch 1` and strength -> what a residual branch is multiplied by in training; the strength grows
    linearly with the layer's number, to its full value at the last."""
    batches: Callable[[Batch, float, Occasion], Batch] | None = None
    """Changes a minibatch; all networks of a stack share it, and so its strength."""
    targets: Callable[[Tensor, Strength], Tensor] | None = None
    """Changes the targets, `... batch classes`."""
    idle: Callable[[float, int, tuple[int, ...]], str] = lambda strength, images, shape: ""
    """Why this strength leaves minibatches of so many images, of the shape `channels height width`, as they are; empty
    where it changes them."""
    spec: str = ""


REGULARIZERS: Catalogue[Regularizer] = Catalogue("regularizer")
_register = REGULARIZERS.register


@_register("l1", formula="loss + l1·sum |w|", summary="Lasso; weights, not biases.", source="Tibshirani 1996")
def l1() -> Regularizer:
    return Regularizer(penalty=torch.abs)


@_register("l2", formula="loss + l2·sum w²", source="Hoerl & Kennard 1970",
           summary="A loss term on weights, not biases; with sgd what weight_decay = 2·l2 does to them.")  # fmt: skip
def l2() -> Regularizer:
    return Regularizer(penalty=torch.square)


@_register("dropout", formula="a·[u >= dropout]/(1 - dropout)", summary="Hidden units are 0 at random in training.",
           source="Srivastava et al. 2014, sec. 10 (inverted)")  # fmt: skip
def dropout() -> Regularizer:
    return Regularizer(limit=1.0, units=_survival)


@_register("stochastic_depth", formula="h + branch·[u >= p]/(1 - p), p = stochastic_depth·layer/depth",
           summary="Residual branches are skipped at random, sample by sample; needs residual.",
           source="Huang et al. 2016, eq. 4; torchvision.ops.stochastic_depth, mode row")  # fmt: skip
def stochastic_depth() -> Regularizer:
    return Regularizer(limit=1.0, branches=_survival)


@_register("label_smoothing", formula="t·(1 - label_smoothing) + label_smoothing/classes",
           summary="Targets are never quite sure.", source="Szegedy et al. 2016, sec. 7")  # fmt: skip
def label_smoothing() -> Regularizer:
    return Regularizer(limit=1.0, targets=lambda t, strength: t * (1 - strength) + strength / t.shape[-1])


@_register("mixup", formula="l·x + (1 - l)·x', same for t; l ~ Beta(mixup, mixup)",
           summary="Trains between pairs of images.", source="Zhang et al. 2018, sec. 2")  # fmt: skip
def mixup() -> Regularizer:
    alone = "mixup mixes images of a minibatch, which has 1"
    return Regularizer(batches=_mixed, idle=lambda _strength, images, _shape: alone if images == 1 else "")


@_register("cutout", formula="x = 0 in a square of round(cutout·height) pixels a side, around a random pixel",
           summary="Hides a patch of each prepared image.", source="DeVries & Taylor 2017")  # fmt: skip
def cutout() -> Regularizer:
    return Regularizer(limit=1.0, batches=_cut, idle=_cuts_nothing)


def _survival(noise: Tensor, strength: Strength) -> Tensor:
    return (noise >= strength).to(noise.dtype) / (1 - strength)


def _mixed(batch: Batch, strength: float, occasion: Occasion) -> Batch:
    images, targets = batch
    # torch's Beta takes no generator
    share = np.random.default_rng(key_to_seed(occasion.seed, "mixup", occasion.step)).beta(strength, strength)
    drawn = generator(occasion.seed, "mixup", occasion.step)
    partner = torch.randperm(len(images), generator=drawn, device="cpu").to(images.device)
    return torch.lerp(images[partner], images, share), torch.lerp(targets[partner], targets, share)


def _cut(batch: Batch, strength: float, occasion: Occasion) -> Batch:
    images, targets = batch
    _, height, width = occasion.shape
    drawn = generator(occasion.seed, "cutout", occasion.step)
    noise = torch.rand(len(images), 2, generator=drawn, dtype=torch.float32, device="cpu")
    centres = (noise * torch.tensor([height, width], device="cpu")).floor().to(images.device)
    side = _side(strength, height)
    first = centres - side // 2
    places = [
        torch.arange(size, device=images.device) - first[:, axis, None] for axis, size in enumerate((height, width))
    ]
    hidden = [(place >= 0) & (place < side) for place in places]
    patch = hidden[0][:, None, :, None] & hidden[1][:, None, None, :]
    return images.view(-1, *occasion.shape).masked_fill(patch, 0.0).view_as(images), targets


def _side(strength: float, height: int) -> int:
    return round(strength * height)


def _cuts_nothing(strength: float, _images: int, shape: tuple[int, ...]) -> str:
    height = shape[1]
    told = f"cutout {strength:g} of {height} pixels hides none; give more than {0.5 / height:g}"
    return "" if _side(strength, height) else told
