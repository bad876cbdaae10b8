"""A stack of MLPs as one set of tensors: parameters `models ...`, one input for all of them.

Signals are `models units batch`, units first: then both products of a layer, W h and grad h', read and write memory in
order, which makes them a quarter faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.records import Network, shape_of
from initbench.engine.products import Routine, routine
from initbench.engine.training.noise import Noise
from initbench.engine.tuning import UNTUNED, Tuning
from initbench.initializers import INITIALIZERS, Basis
from initbench.initializers.adaptation import of_training
from initbench.initializers.bases import UnitDraw, parameters
from initbench.recipe import LOSSES

Observer = Callable[[Tensor], None]
"""Called with what each hidden layer's activation is given, `models units batch`."""


@dataclass
class Normalization:
    """Batch normalization of one hidden layer, as torch.nn.BatchNorm1d has it: defaults, running moments."""

    scale: Tensor
    """`models units`, as all here."""
    shift: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def fresh(cls, models: int, units: int, like: Tensor) -> Normalization:
        """Before training, with the dtype and on the device of `like`."""
        ones, zeros = like.new_ones(models, units), like.new_zeros(models, units)
        return cls(ones.clone().requires_grad_(), zeros.clone().requires_grad_(), zeros, ones)

    def __call__(self, z: Tensor, training: bool) -> Tensor:
        """`models units batch` normalized over the batch, or in evaluation by the running moments."""
        moments = (self.mean.flatten(), self.variance.flatten())
        channels = z.flatten(0, 1)[None]
        normal = F.batch_norm(channels, *moments, self.scale.flatten(), self.shift.flatten(), training=training)
        return normal.view_as(z)


class StackedMLP:
    """`models` networks that differ in their parameters alone: activation, shape, residual and batch_norm are shared.

    Hidden layer l: z = W h + b, normalized if batch_norm; h = phi(z). Output: W h + b.

    Residual branches of one layer: h + s·phi(z) where widths are equal. Branches of two layers: phi(h + s·z), z the
    second layer's and h what the first was given (He et al. 2016, fig. 2; Zhang et al. 2019, fig. 1). s is 1, or a
    trained scalar of each branch, which multiplies the second bias, too. Dropout is on the first layer's units there.
    """

    def __init__(self, cells: Sequence[Cell], features: int, classes: int, device: torch.device, dtype: torch.dtype,
                 tuning: Tuning = UNTUNED, images: Tensor | None = None, labels: Tensor | None = None):  # fmt: skip
        """`images` are those of the training split, `images features`: what weights may adapt to, with `labels`."""
        first = cells[0]
        shape = shape_of(first, features, classes)
        self.residual = shape.residual
        self._places = shape.places
        self.activation = ACTIVATIONS.make(first.activation)
        self.weights: list[Tensor] = []
        """Of each layer, `models fan_out fan_in`."""
        self.biases: list[Tensor] = []
        """Of each layer, `models fan_out`."""
        self.normalizations: list[Normalization] = []
        remembered = cache(Basis.weights)  # networks that differ by scale or learning rate share a draw
        drawn = [_drawn(cell, shape_of(cell, features, classes), remembered, images, labels) for cell in cells]
        for layer in zip(*drawn, strict=True):
            weight, bias = (torch.stack(parts).to(device, dtype) for parts in zip(*layer, strict=True))
            self.weights.append(weight.requires_grad_())
            self.biases.append(bias.requires_grad_())
        self.branch_scales = _branch_scales(cells, shape.branches, self.weights[0])
        """Of each residual branch, `models 1`; none where they are not scaled."""
        self._memory = torch.empty_like(self.weights[0])
        self._training = routine(tuning.forward, tuning.gradient, self._memory)
        self._evaluation = routine(tuning.evaluation, tuning.gradient, self._memory)
        if first.batch_norm:
            self.normalizations = [
                Normalization.fresh(len(cells), first.width, self.weights[0]) for _ in range(first.depth)
            ]

    def _linear(self, h: Tensor, weight: Tensor, bias: Tensor, training: bool) -> Tensor:
        """W h + b, `models fan_out batch`, of each model's own `h` or of one that they share."""
        if h.dim() == 3:
            return torch.baddbmm(bias[:, :, None], weight, h)
        return _SharedInput.apply(weight, bias, h, self._memory, self._training if training else self._evaluation)

    @property
    def parameters(self) -> list[Tensor]:
        """What is trained, `models ...` each."""
        scales = [tensor for norm in self.normalizations for tensor in (norm.scale, norm.shift)]
        return [*self.weights, *self.biases, *scales, *self.branch_scales]

    @property
    def state(self) -> list[Tensor]:
        """What a trained network consists of: parameters and running moments."""
        return [*self.parameters, *(tensor for norm in self.normalizations for tensor in (norm.mean, norm.variance))]

    def __call__(self, images: Tensor, noise: Noise | None = None, observe: Observer | None = None) -> Tensor:
        """Outputs `models classes batch` for `batch features`; `noise` is None in evaluation."""
        h, trunk = images, images.mT  # images are the other way round
        scales = iter(self.branch_scales)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = self._linear(h, weight, bias, training=noise is not None)
            if number == len(self.weights) - 1:
                return z
            if self.normalizations:
                z = self.normalizations[number](z, training=noise is not None)
            place = self._places[number]
            if place == 2:
                z = trunk + self._branch(number, z, noise, scales)
            if observe:
                observe(z)
            h = self.activation.function(z)
            if noise and place < 2:
                h = noise.on_units(number, h)
            if place == self.residual == 1:
                h = trunk + self._branch(number, h, noise, scales)
            if place != 1 or self.residual == 1:
                trunk = h
        raise AssertionError("a network has an output layer")

    def _branch(self, number: int, branch: Tensor, noise: Noise | None, scales: Iterator[Tensor]) -> Tensor:
        """A residual branch `models units batch` as it is added, at hidden layer `number`."""
        if self.branch_scales:
            branch = next(scales)[:, :, None] * branch
        return noise.on_branch(number, branch) if noise else branch


class _SharedInput(torch.autograd.Function):
    """W x + b of all models for one `x`, `batch features` -> `models fan_out batch`.

    The gradient of W, by far the largest tensor of a step, is written into `memory` each time: to allocate it anew
    costs as much as to compute it.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, x: Tensor, memory: Tensor, routine: Routine) -> Tensor:
        ctx.save_for_backward(x)
        ctx.memory, ctx.gradient = memory, routine.gradient
        return routine.forward(weight, bias, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        ctx.gradient(gradient, x, ctx.memory)
        return ctx.memory, gradient.sum(dim=2), None, None, None


def _branch_scales(cells: Sequence[Cell], branches: int, like: Tensor) -> list[Tensor]:
    """Trained scalars at their start, a branch a tensor `models 1`. Raises `ValueError` where only some have them."""
    found = [branch.scale for cell in cells if (branch := INITIALIZERS.make(cell.init).branch)]
    if found and len(found) < len(cells):
        raise ValueError("a stack's cells must all have trained scalars on residual branches, or none")
    starts = like.new_tensor(found)[:, None]
    return [starts.clone().requires_grad_() for _ in range(branches if found else 0)]


def _drawn(
    cell: Cell, network: Network, unit_draw: UnitDraw, images: Tensor | None, labels: Tensor | None
) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of all layers. The output layer is initialized as if the activation followed it, too."""
    initializer = INITIALIZERS.make(cell.init)
    promises = initializer.promises(ACTIVATIONS.make(cell.activation), network)
    drawn = [parameters(initializer, promise, cell.seed, unit_draw) for promise in promises]
    if initializer.adapt:
        factors = of_training(initializer.adapt, cell, drawn, images, labels, LOSSES.make(cell.loss).of)
        return [(weight * factor, bias) for (weight, bias), factor in zip(drawn, factors, strict=True)]
    return drawn
