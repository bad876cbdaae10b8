"""Initializers that look at data: weights are drawn, then scaled by what a batch does in the network.

Where theory says what that comes to, it is the promise: for inputs of one length, as Gaussian ones are at infinite
width. No law says what learned scales come to: their promise is of the weights as drawn.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from initbench.core.errors import require
from initbench.initializers.adaptation import Adapt, Drawn
from initbench.initializers.bases import NORMAL, ORTHOGONAL
from initbench.initializers.catalogue import register
from initbench.initializers.learned import by_first_update, by_gradient_quotient
from initbench.initializers.record import Initializer, Setting
from initbench.theory.critical import moment_gain_square


@register("lsuv", formula="Q, Q'Q = I, then layer by layer w <- w / std(w h), over units and batch, and b = 0: Var(w) ="
          " 1/(fan_in E[phi(z)²]), z ~ N(0, 1); of the first layer 1/(fan_in E[x²])",
          source="Mishkin & Matas 2016, algorithm 1, to the end: without biases one division is exact",
          summary="Looks at data: any network whose pre-activations should have variance 1 on it.")  # fmt: skip
def lsuv() -> Initializer:
    return Initializer(ORTHOGONAL, _unit_variance, bias_mean_square=lambda _: 0.0, adapt=to_unit_variance)


@register("metainit", formula="Var(w) = 1/fan_in as drawn; then the norm of each layer's weights by signed momentum"
          " descent on GQ = mean |H g / g|, the share by which a step of gradient descent changes g; b = 0",
          source="Dauphin & Schoenholz 2019 (NeurIPS), eq. 1, algorithm 1 and its code in the appendix (steps = 500)",
          summary="Deep networks, by no data: minibatches of N(0, 1) inputs and random labels, the last layer as"
          " output.")  # fmt: skip
def metainit(steps: int = 60, lr: float = 0.1, momentum: float = 0.9) -> Initializer:
    _require_learning("metainit", steps, lr)
    require(0 <= momentum < 1, f"metainit: momentum must be at least 0 and below 1, not {momentum:g}")
    return _learned(1.0, partial(by_gradient_quotient, steps, lr, momentum), looks=False)


@register("gradinit", formula="Var(w) = 2/fan_in as drawn; then a scale a layer by Adam on the loss after a first step"
          " of SGD, W - eta g/|g|, where |g| <= gamma, and on |g| elsewhere; scales from `smallest` up; b = 0",
          source="Zhu et al. 2021 (arXiv:2102.08098), algorithm 1, for SGD; github.com/zhuchen03/gradinit (steps = 390,"
          " lr from 0.001 to 0.1 by architecture)",
          summary="Any network on its data and labels (random ones in `variance`, which has none), the last layer as"
          " output.")  # fmt: skip
def gradinit(
    steps: int = 100, lr: float = 0.03, eta: float = 0.1, gamma: float = 1.0, smallest: float = 0.01
) -> Initializer:
    _require_learning("gradinit", steps, lr)
    require(min(eta, gamma, smallest) > 0, "gradinit: eta, gamma and smallest must be above 0")
    return _learned(2.0, partial(by_first_update, steps, lr, eta, gamma, smallest))


def _learned(gain: float, adapt: Adapt, looks: bool = True) -> Initializer:
    return Initializer(NORMAL, lambda s: gain / s.fan_in, bias_mean_square=lambda _: 0.0, adapt=adapt, looks=looks)


def _require_learning(entry: str, steps: int, lr: float) -> None:
    require(steps >= 1, f"{entry}: steps must be at least 1, not {steps}")
    require(lr > 0, f"{entry}: lr must be above 0, not {lr:g}")


def _unit_variance(setting: Setting) -> float:
    # a blank input has no scale: its weights stay as drawn
    square = (setting.input_square or 1.0) if setting.first else 1 / moment_gain_square(setting.activation)
    return 1 / (setting.fan_in * square)


def to_unit_variance(drawn: Drawn, batch: Tensor) -> list[float]:
    """Layer by layer, what makes the variance of w h over units and batch 1; 1 of a layer in which nothing varies."""
    found, given = [], [batch]
    for number, (weight, bias) in enumerate(zip(drawn.weights, drawn.biases, strict=True), start=1):
        products = given[-1] @ weight.t()
        found.append(1 / (float(products.std(correction=0)) or 1.0))
        if number < len(drawn.weights):
            given.append(drawn.onward(products * found[-1] + bias, given))
    return found
