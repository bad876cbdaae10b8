"""Schemes of the years after He: for one activation, for residual networks, and without randomness."""

from __future__ import annotations

from initbench.core.errors import require
from initbench.initializers.bases import NORMAL, ORTHOGONAL, SINUSOIDAL, UNIFORM, ZERO, noisy_identity_square
from initbench.initializers.bases import noisy_identity as noisy_identity_basis
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer, Setting
from initbench.theory.critical import moment_gain_square


@register("he_prelu", formula="Var(w) = 2 / ((1 + slope²) fan_in)", source="He et al. 2015, eq. 15",
          summary="Rectifiers that leak with this slope, as PReLU does from 0.25 on: keeps E[z²] forward.")  # fmt: skip
def he_prelu(slope: float = 0.25) -> Initializer:
    return Initializer(NORMAL, lambda s: 2 / ((1 + slope**2) * s.fan_in))


@register("depth_scaled", formula="Var(w) = scale/(fan_in L) in the L layers that are as wide as their input, but"
          " for the output, and scale/fan_in in the others",
          source="Hayou et al. 2021 (Stable ResNet), Marion et al. 2022 (arXiv:2206.06929): branches times 1/sqrt(L)",
          summary="Residual networks, whose branches add up to the same at any depth; without the sums a plain one"
          " vanishes.")  # fmt: skip
def depth_scaled(scale: float = 2.0) -> Initializer:
    require(scale >= 0, f"depth_scaled: scale must be 0 or more, not {scale:g}")
    return Initializer(NORMAL, lambda s: scale / (s.fan_in * (s.square_layers if s.square else 1)))


@register("siren", formula="first layer w ~ U(±omega/fan_in), Var(w) = omega²/(3 fan_in²); others w ~"
          " U(±sqrt(6/fan_in)), Var(w) = 2/fan_in. The paper's sin(omega z) is sin(z) here: omega is in the weights",
          source="Sitzmann et al. 2020, sec. 3.2; the first layer as in the authors' code",
          summary="Networks of sines that represent images and other signals.")  # fmt: skip
def siren(omega: float = 30.0) -> Initializer:
    require(omega >= 0, f"siren: omega must be 0 or more, not {omega:g}")
    return Initializer(UNIFORM, lambda s: omega**2 / (3 * s.fan_in**2) if s.first else 2 / s.fan_in)


@register("scaled_orthogonal", formula="gain·max(sqrt(fan_out/fan_in), 1) Q, Q'Q = I (semi-orthogonal if not square),"
          " gain² = 1/E[phi(z)²], z ~ N(0, 1): Var(w) = gain²/fan_in",
          source="Martens et al. 2021 (arXiv:2110.01765), scale-corrected uniform orthogonal; the gain is that of"
          " `moment`, in place of a reshaped activation",
          summary="As `moment`, with less spread between networks.")  # fmt: skip
def scaled_orthogonal() -> Initializer:
    return Initializer(ORTHOGONAL, lambda s: moment_gain_square(s.activation) / s.fan_in)


@register("zero_init", formula="w_ij = 1 if i = j else 0; where fan_out > fan_in: w_ij = 2^(-(m-1)/2) H_ij, H"
          " Sylvester's Hadamard matrix of 2^m rows, 2^m the first power of 2 that is fan_out or more",
          source="Zhao et al. 2022 (ZerO), algorithm 1",
          summary="To train without randomness; theory follows square layers alone.")  # fmt: skip
def zero_init() -> Initializer:
    def mean_square(setting: Setting) -> float:
        if setting.fan_out > setting.fan_in:
            return 2.0 / 2 ** (setting.fan_out - 1).bit_length()
        return 1 / setting.fan_in

    return Initializer(ZERO, mean_square)


@register("sinusoidal", formula="w_ij = a sin(2π i j/fan_in + 2π i/fan_out), units i from 1 and inputs j from 0, a so"
          " that Var(w) = 2/(fan_in + fan_out)",
          source="Fernández-Hernández et al. 2025 (arXiv:2505.12909); inputs counted as in the authors' code",
          summary="To train without randomness, and without a law. On square layers half of the units are the others'"
          " negatives, and one or two are 0.")  # fmt: skip
def sinusoidal() -> Initializer:
    def mean_square(setting: Setting) -> float:
        fans = setting.fan_in, setting.fan_out
        require(max(fans) > 2, f"sinusoidal: all waves of a layer of {fans[0]} inputs and {fans[1]} units are 0")
        return 2 / sum(fans) / (1 - SINUSOIDAL.mean(setting.layer) ** 2)

    return Initializer(SINUSOIDAL, mean_square)


@register("noisy_identity", formula="w = identity·I + noise·N(0, 1/fan_in): E[w²] = identity²/max(fan_in, fan_out) +"
          " noise²/fan_in", source="Trockman & Kolter 2023 (arXiv:2305.09828): mimetic weights αZ + βI, here an MLP's",
          summary="Between the identity and noise: measured and trained, without a law of both.")  # fmt: skip
def noisy_identity(identity: float = 0.7, noise: float = 0.7) -> Initializer:
    require(noise >= 0, f"noisy_identity: noise must be 0 or more, not {noise:g}")
    basis = noisy_identity_basis(identity, noise)
    return Initializer(basis, lambda s: noisy_identity_square(identity, noise, s.layer))
