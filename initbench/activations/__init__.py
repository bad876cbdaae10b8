"""The catalogue of activations: one entry each.

Initializers and theory read an entry's fields and never its name. Every entry is also a plain function of torch, so
a user's own is the same thing: a function, its kinks, and nothing else.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from initbench.activations.closed_forms import Clipped, ErrorFunction, PiecewiseLinear, Sine
from initbench.activations.record import Activation
from initbench.core.catalogue import Catalogue
from initbench.core.errors import UsageError

__all__ = ["ACTIVATIONS", "Activation"]

ACTIVATIONS: Catalogue[Activation] = Catalogue("activation", "initbench.activations")
_register = ACTIVATIONS.register

STEEPEST_LEAK = 1e6
"""Its square still fits float32 many times over."""


@_register("identity", formula="z", summary="A linear network.", source="-", aliases=("linear",), default=True)
def identity() -> Activation:
    return Activation(lambda z: z, closed_form=PiecewiseLinear(1, 1), torch_gain=("linear", None))


@_register("sigmoid", formula="1 / (1 + exp(-z))", summary="Saturates at 0 and 1; its mean is 0.5, not 0.",
           source="Verhulst 1838", aliases=("logistic",), default=True)  # fmt: skip
def sigmoid() -> Activation:
    return Activation(torch.sigmoid, torch_gain=("sigmoid", None))


@_register("tanh", formula="tanh(z)", summary="Saturates at -1 and 1, odd.", source="LeCun et al. 1998", default=True)
def tanh() -> Activation:
    return Activation(torch.tanh, torch_gain=("tanh", None))


@_register("hardtanh", formula="max(-1, min(1, z))", summary="Piecewise linear tanh.", source="Collobert 2004")
def hardtanh() -> Activation:
    return Activation(F.hardtanh, kinks=(-1.0, 1.0), flat=True, closed_form=Clipped(-1, 1))


@_register("softsign", formula="z / (1 + |z|)", summary="Saturates like 1/|z|, more slowly than tanh.",
           source="Bergstra et al. 2009", default=True)  # fmt: skip
def softsign() -> Activation:
    return Activation(F.softsign, kinks=(0.0,))


@_register("relu", formula="max(0, z)", summary="The rectifier.", source="Nair & Hinton 2010", default=True)
def relu() -> Activation:
    return Activation(torch.relu, kinks=(0.0,), flat=True, closed_form=PiecewiseLinear(0, 1), torch_gain=("relu", None))


@_register("leaky_relu", formula="max(0, z) + slope·min(0, z)", summary="A rectifier that leaks below 0.",
           source="Maas et al. 2013", default=True)  # fmt: skip
def leaky_relu(slope: float = 0.01) -> Activation:
    if abs(slope) > STEEPEST_LEAK:
        raise UsageError(f"leaky_relu: slope must be at most {STEEPEST_LEAK:g}, not {slope:g}")
    return Activation(
        lambda z: F.leaky_relu(z, slope),
        kinks=(0.0,),
        closed_form=PiecewiseLinear(slope, 1),
        torch_gain=("leaky_relu", slope),
    )


@_register("elu", formula="z if z > 0 else exp(z) - 1", summary="Saturates at -1 below.",
           source="Clevert et al. 2016", default=True)  # fmt: skip
def elu() -> Activation:
    return Activation(F.elu, kinks=(0.0,))


@_register("selu", formula="1.0507 z if z > 0 else 1.7581 (exp(z) - 1)",
           summary="With Var(w) = 1/fan_in its mean 0 and variance 1 are an attracting fixed point.",
           source="Klambauer et al. 2017, eq. 2", default=True)  # fmt: skip
def selu() -> Activation:
    return Activation(F.selu, kinks=(0.0,), torch_gain=("selu", None))


@_register("celu", formula="max(0, z) + min(0, alpha (exp(z/alpha) - 1))", source="Barron 2017",
           summary="ELU, with a continuous derivative for every alpha.")  # fmt: skip
def celu(alpha: float = 1.0) -> Activation:
    if alpha <= 0:
        raise UsageError(f"celu: alpha must be above 0, not {alpha:g}")
    # not F.celu: its backward rounds 1/alpha to float32, whatever z is
    return Activation(lambda z: alpha * F.elu(z / alpha), kinks=(0.0,))


@_register("gelu", formula="z (1 + erf(z/sqrt 2)) / 2", summary="A smooth rectifier.",
           source="Hendrycks & Gimpel 2016", default=True)  # fmt: skip
def gelu() -> Activation:
    return Activation(F.gelu)


@_register("silu", formula="z / (1 + exp(-z))", summary="A smooth rectifier.", source="Elfwing et al. 2018",
           aliases=("swish",), default=True)  # fmt: skip
def silu() -> Activation:
    return Activation(F.silu)


@_register("mish", formula="z tanh(log(1 + exp(z)))", summary="A smooth rectifier.", source="Misra 2019")
def mish() -> Activation:
    return Activation(F.mish)


@_register("softplus", formula="log(1 + exp(z))", summary="A smooth rectifier that is never 0.",
           source="Dugas et al. 2001", default=True)  # fmt: skip
def softplus() -> Activation:
    # torch turns linear at 20 by default, which is wrong by exp(-20) there; at 40 it is exact in float64 as well
    return Activation(lambda z: F.softplus(z, threshold=40.0))


@_register("erf", formula="erf(z)", summary="A tanh whose integrals are known.", source="Williams 1998")
def erf() -> Activation:
    return Activation(torch.erf, closed_form=ErrorFunction())


@_register("sin", formula="sin(z)", summary="Periodic.", source="Sitzmann et al. 2020")
def sin() -> Activation:
    return Activation(torch.sin, closed_form=Sine())


@_register("relu6", formula="min(6, max(0, z))", summary="A rectifier clipped at 6.", source="Howard et al. 2017")
def relu6() -> Activation:
    return Activation(F.relu6, kinks=(0.0, 6.0), flat=True, closed_form=Clipped(0, 6))


@_register("hardswish", formula="z min(6, max(0, z + 3)) / 6", summary="SiLU from straight pieces.",
           source="Howard et al. 2019")  # fmt: skip
def hardswish() -> Activation:
    return Activation(F.hardswish, kinks=(-3.0, 3.0), flat=True)
