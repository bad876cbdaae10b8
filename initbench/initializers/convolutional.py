"""Kernels that are 0 but at their centre: a convolution then does to channels what a layer without places would."""

from __future__ import annotations

from initbench.core.errors import require
from initbench.initializers.bases import EYE, ORTHOGONAL
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer


@register("delta_orthogonal", formula="gain·Q, Q'Q = I (semi-orthogonal if not square), Var(w) = gain²/max(fan_in,"
          " fan_out); of a convolution at the kernel's centre, between the channels of each group, and 0 elsewhere",
          source="Xiao et al. 2018 (arXiv:1806.05393), algorithm 1, which needs fan_out >= fan_in; where channels"
          " become fewer, as torch.nn.init.orthogonal_: Q Q' = I",
          summary="Very deep convolutional networks; layers without a kernel are `orthogonal`.")  # fmt: skip
def delta_orthogonal(gain: float = 1.0) -> Initializer:
    require(gain >= 0, f"delta_orthogonal: gain must be 0 or more, not {gain:g}")
    return Initializer(ORTHOGONAL, lambda s: gain**2 / max(s.fan_in, s.fan_out), central=True)


@register("dirac", formula="w_ij = 1 if i = j else 0; of a convolution at the kernel's centre, between the channels of"
          " each group, and 0 elsewhere", source="torch.nn.init.dirac_; Zagoruyko & Komodakis 2017 (DiracNets), eq. 1",
          summary="Convolutions that pass their input on; layers without a kernel are the `identity`.")  # fmt: skip
def dirac() -> Initializer:
    return Initializer(EYE, lambda s: 1 / max(s.fan_in, s.fan_out), central=True)
