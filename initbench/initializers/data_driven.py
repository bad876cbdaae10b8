"""Initializers that look at data: weights are drawn, then scaled by what a batch does in the network.

Their promise is what theory says that comes to: for inputs of one length, as Gaussian ones are at infinite width.
"""

from __future__ import annotations

from torch import Tensor

from initbench.initializers.adaptation import Drawn
from initbench.initializers.bases import ORTHOGONAL
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer, Setting
from initbench.theory.critical import moment_gain_square


@register("lsuv", formula="Q, Q'Q = I, then layer by layer w <- w / std(w h), over units and batch, and b = 0: Var(w) ="
          " 1/(fan_in E[phi(z)²]), z ~ N(0, 1); of the first layer 1/(fan_in E[x²])",
          source="Mishkin & Matas 2016, algorithm 1, to the end: without biases one division is exact",
          summary="Looks at data: any network whose pre-activations should have variance 1 on it.")  # fmt: skip
def lsuv() -> Initializer:
    return Initializer(ORTHOGONAL, _unit_variance, bias_mean_square=lambda _: 0.0, adapt=to_unit_variance)


def _unit_variance(setting: Setting) -> float:
    # a blank input has no scale: its weights stay as drawn
    square = (setting.input_square or 1.0) if setting.first else 1 / moment_gain_square(setting.activation)
    return 1 / (setting.fan_in * square)


def to_unit_variance(drawn: Drawn, batch: Tensor) -> list[float]:
    """Layer by layer, what makes the variance of w h over units and batch 1; 1 of a layer in which nothing varies."""
    found, h = [], batch
    for weight, bias in zip(drawn.weights, drawn.biases, strict=True):
        products = h @ weight.t()
        found.append(1 / (float(products.std(correction=0)) or 1.0))
        h = drawn.onward(products * found[-1] + bias, h)
    return found
