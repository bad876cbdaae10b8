"""Weights that keep lengths: same mean-field map as Gaussian ones, another Jacobian spectrum."""

from __future__ import annotations

from initbench.core.errors import require
from initbench.initializers.bases import EYE, ORTHOGONAL
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer


@register("orthogonal", formula="gain·Q, Q'Q = I (semi-orthogonal if not square), Var(w) = gain²/max(fan_in, fan_out)",
          source="Saxe et al. 2014, sec. 3", default=True,
          summary="Very deep linear and tanh networks: dynamical isometry.")  # fmt: skip
def orthogonal(gain: float = 1.0) -> Initializer:
    require(gain >= 0, f"orthogonal: gain must be 0 or more, not {gain:g}")
    return Initializer(ORTHOGONAL, lambda s: gain**2 / max(s.fan_in, s.fan_out))


@register("identity", formula="w_ij = gain if i = j else 0", source="Le et al. 2015, sec. 3",
          summary="To see the activation alone, iterated; recurrent networks.")  # fmt: skip
def identity(gain: float = 1.0) -> Initializer:
    require(gain >= 0, f"identity: gain must be 0 or more, not {gain:g}")
    return Initializer(EYE, lambda s: gain**2 / max(s.fan_in, s.fan_out))
