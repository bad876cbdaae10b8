"""A cell: one training of one network, by name alone; everything that decides its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

Count = Annotated[int, Ge(0), Le(10**9)]
Strength = Annotated[float, Ge(0)]

Strengths = tuple[tuple[str, float], ...]
"""Name and strength of each regularizer that is at work, in the order of their catalogue."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid. Specs name entries of the catalogues; the bounds are what a study may give."""

    init: str = "he_normal"
    activation: str = "relu"
    depth: Annotated[int, Ge(0), Le(10_000)] = 2
    """Hidden layers; 0 is a linear classifier."""
    width: Annotated[int, Ge(1), Le(10**6)] = 100
    residual: Literal[False, True, 2] = False
    """Layers of a residual branch: none; one (each layer from `width` to `width` adds to its input, h + phi(W h + b));
    or two, as blocks of ResNet and Fixup have it, after a first layer: phi(h + W' phi(W h + b) + b')."""
    batch_norm: bool = False
    """Whether pre-activations are normalized over the minibatch."""
    bias_variance: Strength = 0.0
    dataset: str = "digits"
    normalization: str = "standardize"
    validation: Annotated[float, Gt(0), Le(10**9)] = 0.2
    """Training images held out: their share if below 1, else their number."""
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    lr: Annotated[float, Gt(0)] = 0.01
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    nesterov: bool = False
    weight_decay: Strength = 0.0
    """The optimizer's own; decoupled in adamw."""
    clip_norm: Strength = 0.0
    """The largest norm of the gradient of all parameters together; 0 does not clip."""
    schedule: str = "constant"
    batch_size: Count = 64
    """0 takes the whole training set."""
    steps: Annotated[int, Ge(1), Le(10**9)] = 200
    epochs: Count = 0
    """If not 0, takes the place of `steps`."""
    record_every: Count = 0
    """Steps between two records of the curves; 0 keeps none."""
    early_stopping: Count = 0
    """Records without a better validation loss after which training stops, at the best weights; 0 never does."""
    seed: Annotated[int, Ge(0), Le(2**31)] = 0
    """Of the weights, and of the noise of dropout and stochastic depth."""
    data_seed: Annotated[int | None, Ge(0), Le(2**31)] = None
    """Of the split, the order of the images and their augmentation; None: `seed`."""
    regularizers: Strengths = ()

    @property
    def order_seed(self) -> int:
        """The seed of split, order and augmentation."""
        return self.seed if self.data_seed is None else self.data_seed

    def strength(self, regularizer: str) -> float:
        """Of this regularizer; 0 where it is not at work."""
        return dict(self.regularizers).get(regularizer, 0.0)
