"""Var(w) = scale / fan: one family, of which each named scheme is a member."""

from __future__ import annotations

from collections.abc import Callable

from initbench.core.catalogue import did_you_mean
from initbench.core.errors import require
from initbench.initializers.bases import BY_DISTRIBUTION
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer, Setting

MODES: dict[str, Callable[[Setting], float]] = {
    "fan_in": lambda s: s.fan_in,
    "fan_out": lambda s: s.fan_out,
    "fan_avg": lambda s: (s.fan_in + s.fan_out) / 2,
}


@register("variance_scaling", formula="Var(w) = scale / fan",
          source="jax.nn.initializers.variance_scaling; truncation corrected",
          summary="The general form: any scale, fan and distribution.")  # fmt: skip
def variance_scaling(scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal") -> Initializer:
    require(scale >= 0, f"variance_scaling: scale must be 0 or more, not {scale:g}")
    require(mode in MODES, f"variance_scaling: unknown mode '{mode}'{did_you_mean(mode, MODES)}")
    require(
        distribution in BY_DISTRIBUTION,
        f"variance_scaling: unknown distribution '{distribution}'{did_you_mean(distribution, BY_DISTRIBUTION)}",
    )
    fan = MODES[mode]
    return Initializer(BY_DISTRIBUTION[distribution], lambda s: scale / fan(s))


_LECUN = "LeCun et al. 1998, eq. 16"
_XAVIER = "Glorot & Bengio 2010, eqs. 12 and 16"
_HE = "He et al. 2015, eq. 10"
_HE_OUT = "He et al. 2015, eq. 14"
_HE_AVG = (
    "lecture notes; not in He et al. 2015: it is 2·fan_in/(fan_in + fan_out) times He's own 2/fan_in (eq. 10), so the"
    " same on square layers alone"
)

# name, scale, fan, the variance, the uniform member's bound, source, when to use it
_MEMBERS = [
    ("lecun", 1, "fan_in", "1/fan_in", "sqrt(3/fan_in)", _LECUN, "Linear units and SELU: keeps E[z²] forward."),
    ("xavier", 1, "fan_avg", "2/(fan_in + fan_out)", "sqrt(6/(fan_in + fan_out))", _XAVIER,
     "tanh and its like: between keeping E[z²] forward and the gradient backward."),
    ("he", 2, "fan_in", "2/fan_in", "sqrt(6/fan_in)", _HE, "Rectifiers: keeps E[z²] forward."),
    ("he_fan_out", 2, "fan_out", "2/fan_out", "sqrt(6/fan_out)", _HE_OUT, "Rectifiers: keeps the gradient backward."),
    ("he_fan_avg", 2, "fan_avg", "4/(fan_in + fan_out)", "sqrt(12/(fan_in + fan_out))", _HE_AVG,
     "Rectifiers: between the two, as the lecture has it."),
]  # fmt: skip
_ALIASES = {"xavier_normal": ("xavier", "glorot_normal"), "xavier_uniform": ("glorot_uniform",), "he_normal": ("he",)}
_DEFAULT = {"lecun_normal", "lecun_uniform", "xavier_normal", "xavier_uniform", "he_normal", "he_uniform",
            "he_fan_avg_normal"}  # fmt: skip


def _member(scale: float, mode: str, distribution: str) -> Callable[[], Initializer]:
    return lambda: variance_scaling(scale, mode, distribution)


for _family, _scale, _mode, _variance, _bound, _source, _when in _MEMBERS:
    for _distribution, _drawn in (("normal", f"w ~ N(0, {_variance})"), ("uniform", f"w ~ U(±{_bound})")):
        _name = f"{_family}_{_distribution}"
        register(_name, formula=f"{_drawn}, Var(w) = {_variance}", source=_source, summary=_when,
                 aliases=_ALIASES.get(_name, ()), default=_name in _DEFAULT)(
            _member(_scale, _mode, _distribution))  # fmt: skip
