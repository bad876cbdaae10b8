"""Scales that are learned: a factor a layer, by gradient descent on what a loss does in the network as drawn.

The last layer is the output, and no activation follows it. The gradient of a layer's weights, delta' h, is of the rank
of the batch: norms, updates and products with the Hessian follow from delta and h, and no such matrix is formed whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import grad
from torch.nn import functional as F

from initbench.core.randomness import generator
from initbench.initializers.adaptation import Drawn

INPUTS = 32
"""Of a minibatch of metainit; of one of gradinit twice as many, half of which the next has, too."""
ENTRIES = 192
"""Of a layer, the units and inputs at most whose weights the mean of the gradient quotient is taken over."""
EPSILON = 1e-5
"""What keeps a quotient by a small gradient small."""
DECAY = 0.9, 0.999
"""Of Adam's two averages."""
STEEPEST = 1.0
"""What gradinit cuts the derivative by a scale off at."""

Gradient = Sequence[tuple[Tensor, Tensor]]
"""Of each layer the two halves of its weights' gradient: delta, `batch units`, and what it is given, `batch inputs`.
That of its biases is the sum of delta over the batch."""


@dataclass(frozen=True)
class Passage:
    """One minibatch on its way through the network, each layer's `batch units`."""

    given: Sequence[Tensor]
    """To the layer's weights alone: a residual trunk is another tensor."""
    z: Sequence[Tensor]


def through(drawn: Drawn, scales: Tensor, inputs: Tensor, update: Gradient = ()) -> Passage:
    """`inputs` through the weights, times a scale a layer, and less `update`."""
    arrived, given, z = [inputs], [], []
    for number, (weight, bias) in enumerate(zip(drawn.weights, drawn.biases, strict=True)):
        given.append(arrived[-1].view_as(arrived[-1]))
        z.append(scales[number] * (given[-1] @ weight.t()) + bias)
        if update:
            delta, before = update[number]
            z[-1] = z[-1] - (given[-1] @ before.t() + 1) @ delta
        if number + 1 < len(drawn.weights):
            arrived.append(drawn.onward(z[-1], arrived))
    return Passage(given, z)


def norm_square(gradient: Gradient) -> Tensor:
    """|delta' h|² summed over the layers, of weights and biases: the sum of the product of two Gram matrices."""
    return torch.stack([((delta @ delta.t()) * (given @ given.t() + 1)).sum() for delta, given in gradient]).sum()


def _grads(of: Tensor, by: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Derivatives that can be derived again; 0 by what `of` does not depend on."""
    return grad(of, by, create_graph=True, allow_unused=True, materialize_grads=True)


def _loss(drawn: Drawn, seen: Passage, labels: Tensor) -> Tensor:
    outputs = seen.z[-1]
    return drawn.loss(outputs, F.one_hot(labels, outputs.shape[1]).to(outputs)).mean()


# --- metainit ------------------------------------------------------------------------------------------------------


def by_gradient_quotient(steps: int, lr: float, momentum: float, drawn: Drawn, batch: Tensor) -> list[float]:
    """Signed momentum descent on the gradient quotient, over the norms of the weights.

    Each step's inputs are N(0, 1) and its labels random: of `batch` the number of features is all that counts. A norm
    that would fall to 0 stays, and where float64 does not hold the derivative learning ends.
    """
    source = generator(drawn.seed, "metainit", batch.shape[1], len(drawn.weights[-1]))
    sizes = torch.stack([torch.linalg.vector_norm(weight) for weight in drawn.weights])
    norms, memory = sizes.clone(), torch.zeros_like(sizes)
    for _ in range(steps):
        inputs = torch.randn(INPUTS, batch.shape[1], generator=source, dtype=batch.dtype)
        labels = torch.randint(len(drawn.weights[-1]), (INPUTS,), generator=source)
        with torch.enable_grad():
            scales = (norms / sizes).requires_grad_()
            (slope,) = grad(gradient_quotient(drawn, scales, inputs, labels), scales)
        if not bool(slope.isfinite().all()):
            break
        memory = momentum * memory - lr * slope.sign()
        norms = torch.where(norms + memory > 0, norms + memory, norms)
    return (norms / sizes).tolist()


def gradient_quotient(drawn: Drawn, scales: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """GQ, the mean over weights and biases of |(g - H g)/(g ± 1e-5) - 1|, the sign being that of g.

    Dauphin & Schoenholz 2019, eq. 1. Of a layer's weights the mean is that of at most its first 192 units and inputs.
    """
    seen = through(drawn, scales, inputs)
    loss = _loss(drawn, seen, labels)
    slopes = _grads(loss, [*seen.z, *seen.given[1:]])
    deltas, backs = slopes[: len(seen.z)], slopes[len(seen.z) :]
    # H g is the derivative of |g|²/2; a layer's weights have one share in it by z and one by what goes back
    half = norm_square(list(zip(deltas, seen.given, strict=True))) / 2
    slopes = _grads(half, [*seen.z, *backs])
    forth, back = slopes[: len(seen.z)], [torch.zeros_like(inputs), *slopes[len(seen.z) :]]
    total, count = scales.new_zeros(()), 0
    for delta, given, own, other in zip(deltas, seen.given, forth, back, strict=True):
        units, features = (slice(min(ENTRIES, side.shape[1])) for side in (delta, given))
        g = delta[:, units].t() @ given[:, features]
        product = own[:, units].t() @ given[:, features] + delta[:, units].t() @ other[:, features]
        weights = delta.shape[1] * given.shape[1]
        total = total + weights * _quotients(g, product).mean() + _quotients(delta.sum(0), own.sum(0)).sum()
        count += weights + delta.shape[1]
    return total / count


def _quotients(g: Tensor, product: Tensor) -> Tensor:
    return ((g - product) / (g + EPSILON * (2 * (g >= 0).to(g) - 1)) - 1).abs()


# --- gradinit ------------------------------------------------------------------------------------------------------


@dataclass
class ScaleAdam:
    """Adam on scales, whose two objectives have a first average each and share the second."""

    scales: Tensor
    lr: float
    smallest: float

    def __post_init__(self) -> None:
        self._first = [torch.zeros_like(self.scales) for _ in range(2)]
        self._second = torch.zeros_like(self.scales)
        self._steps = [0, 0]

    def step(self, slope: Tensor, objective: int) -> None:
        """Follow the derivative by each scale of this objective, 0 or 1."""
        slope = slope.clamp(-STEEPEST, STEEPEST)
        self._steps[objective] += 1
        self._first[objective].lerp_(slope, 1 - DECAY[0])
        self._second.lerp_(slope.square(), 1 - DECAY[1])
        mean = self._first[objective] / (1 - DECAY[0] ** self._steps[objective])
        size = (self._second / (1 - DECAY[1] ** sum(self._steps))).sqrt()
        self.scales = (self.scales - self.lr * mean / (size + 1e-8)).clamp(min=self.smallest)


def by_first_update(
    steps: int, lr: float, eta: float, gamma: float, smallest: float, drawn: Drawn, batch: Tensor
) -> list[float]:
    """The loss after one update of SGD by `eta` g/|g|, minimized over the scales, where |g| <= `gamma`; |g|, elsewhere.

    The update is of one minibatch, the loss after it of another that shares half. Labels are random where there are
    none. Where float64 does not hold the derivative learning ends.
    """
    source = generator(drawn.seed, "gradinit", *batch.shape, len(drawn.weights[-1]))
    labels = drawn.labels
    if labels is None:
        labels = torch.randint(len(drawn.weights[-1]), (len(batch),), generator=source)
    adam = ScaleAdam(torch.ones(len(drawn.weights), dtype=batch.dtype), lr, smallest)
    for _ in range(steps):
        old, shared, new = torch.randperm(len(batch), generator=source)[: 3 * INPUTS].tensor_split(3)
        minibatches = [(batch[rows], labels[rows]) for rows in (torch.cat([old, shared]), torch.cat([shared, new]))]
        with torch.enable_grad():
            scales = adam.scales.requires_grad_()
            size, after = first_update(drawn, scales, minibatches, eta)
            steep = bool(size > gamma)
            (slope,) = grad(size if steep else after / eta, scales)
        if not bool(slope.isfinite().all()):
            break
        adam.step(slope, int(steep))
    return adam.scales.tolist()


def first_update(
    drawn: Drawn, scales: Tensor, minibatches: Sequence[tuple[Tensor, Tensor]], eta: float
) -> tuple[Tensor, Tensor]:
    """|g| at the first minibatch, and the loss of the second after W - `eta` g/|g|, inputs and labels each.

    As in the authors' code, the update itself is a constant: the derivative of the loss is by the weights that it is
    taken from.
    """
    (inputs, labels), (others, theirs) = minibatches
    seen = through(drawn, scales, inputs)
    gradient = list(zip(_grads(_loss(drawn, seen, labels), seen.z), seen.given, strict=True))
    size = norm_square(gradient).sqrt()
    update = [((eta / size * delta).detach(), given.detach()) for delta, given in gradient]
    return size, _loss(drawn, through(drawn, scales, others, update), theirs)
