"""Initializers that ask the theory for the activation's own variance."""

from __future__ import annotations

from initbench.core.errors import require
from initbench.initializers.bases import NORMAL
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer, Setting
from initbench.theory.critical import critical as critical_point
from initbench.theory.critical import moment_gain_square
from initbench.theory.moments import linearized


@register("kumar", formula="Var(w) = 1 / (fan_in phi'(0)² (1 + phi(0)²)); with a kink at 0, as for ReLU in the paper,"
          " phi'(0)² is the mean of both sides' squares: 2/fan_in",
          source="Kumar 2017 (arXiv:1704.08863): for activations differentiable at 0, and for ReLU", default=True,
          summary="Any activation, to first order around 0.")  # fmt: skip
def kumar() -> Initializer:
    def variance(setting: Setting) -> float:
        expansion = linearized(setting.activation)
        slope_square = (expansion.left**2 + expansion.right**2) / 2
        spec = setting.activation.spec
        require(slope_square > 0, f"kumar: {spec} has slope 0 at 0, so no weight variance keeps its variance there")
        return 1 / (setting.fan_in * slope_square * (1 + expansion.offset**2))

    return Initializer(NORMAL, variance)


@register("critical", formula="Var(w) = sigma_w²/fan_in with chi_1 = 1 at the fixed point of E[z²], for the network's"
          " bias variance", source="Poole et al. 2016, eq. 6; Schoenholz et al. 2017, eq. 5", default=True,
          summary="The depth that trains is longest there; refuses where no critical point exists.")  # fmt: skip
def critical() -> Initializer:
    return Initializer(NORMAL, lambda s: critical_point(s.activation, s.bias_variance).weight_variance / s.fan_in)


@register("moment", formula="Var(w) = 1 / (fan_in E[phi(z)²]), z ~ N(0, 1): the moment gain squared over fan_in, so"
          " that E[(gain a)²] = 1 and E[z²] stays 1", source="Klambauer et al. 2017, sec. 2, for any activation",
          default=True, summary="Any activation whose E[z²] should stay at 1.")  # fmt: skip
def moment() -> Initializer:
    return Initializer(NORMAL, lambda s: moment_gain_square(s.activation) / s.fan_in)
