"""Maximal update parametrization: variances and learning rates together, so that what is tuned narrow holds wide."""

from __future__ import annotations

from initbench.core.errors import require
from initbench.initializers.bases import NORMAL
from initbench.initializers.catalogue import register
from initbench.initializers.rates import Rates
from initbench.initializers.record import Initializer, Setting


@register("mup", formula="Var(w) = scale/fan_in, of the output layer scale/(n fan_in), n = width/base_width; lr/n of"
          " hidden and output weights by Adam and its like; by SGD n·lr of first weights and hidden biases, lr/n of"
          " output weights; lr·weight_decay as it is",
          source="Yang et al. 2021 (Tensor Programs V, arXiv:2203.03466), table 3: without multipliers",
          summary="The best learning rate stays as the network gets wider, so that it is tuned narrow. scale=2 for"
          " rectifiers, 1 for tanh; hidden layers are those of he_normal(2), lecun_normal(1).")  # fmt: skip
def mup(base_width: int = 64, scale: float = 2.0) -> Initializer:
    require(base_width >= 1, f"mup: base_width must be 1 or more, not {base_width}")
    require(scale >= 0, f"mup: scale must be 0 or more, not {scale:g}")

    def inputs(s: Setting) -> float:
        """How many times as many inputs as at base_width: those of the first layer are the data's."""
        return 1.0 if s.first else s.fan_in / base_width

    def units(s: Setting) -> float:
        """How many times as many units: those of the output are the data's classes."""
        return 1.0 if s.output else s.fan_out / base_width

    def mean_square(s: Setting) -> float:
        return scale / (s.fan_in * (inputs(s) if s.output else 1))

    def rates(s: Setting, normalizes: bool) -> Rates:
        grows = 1.0 if normalizes else units(s)
        return Rates(weight=grows / inputs(s), bias=grows)

    return Initializer(NORMAL, mean_square, rates=rates)
