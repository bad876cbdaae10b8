"""Residual networks without normalization: branches that begin at 0, each times a trained scalar.

The scalar is a parameter of the trained network (`Branch`). In `variance` and `predict`, which have no branches, these
weights are He's, and are measured and predicted as such. Blocks whose branch is 0 are the identity; of those of two
layers, which end in an activation, this holds of rectifiers.
"""

from __future__ import annotations

from initbench.initializers.bases import NORMAL
from initbench.initializers.catalogue import register
from initbench.initializers.record import Branch, Initializer, Setting


def _he(setting: Setting) -> float:
    return 2 / setting.fan_in


@register("skipinit", formula="Var(w) = 2/fan_in; each residual branch times a trained scalar, `start` at first",
          source="De & Smith 2020 (arXiv:2002.10444), sec. 3: 0, or 1/sqrt(branches) at most",
          summary="Deep residual networks: blocks begin as the identity. Trained with residual branches alone; without"
          " them, in `variance` and `predict`, it is he_normal.")  # fmt: skip
def skipinit(start: float = 0.0) -> Initializer:
    return Initializer(NORMAL, _he, branch=Branch(start))


@register("rezero", formula="Var(w) = 2/fan_in; h + alpha F(h), alpha a trained scalar a branch F, 0 at first",
          source="Bachlechner et al. 2021 (arXiv:2003.04887), eq. 1; weights as of its fully connected networks",
          summary="Deep residual networks: in an MLP the same as skipinit. Trained with residual branches alone;"
          " without them, in `variance` and `predict`, it is he_normal.")  # fmt: skip
def rezero() -> Initializer:
    return skipinit()


@register("fixup", formula="Var(w) = 2/fan_in, times L^(-1/(m - 1)) in L branches of m layers; 0 in the last of each"
          " branch and in the output; b = 0; each branch times a trained scalar, 1 at first",
          source="Zhang, Dauphin & Ma 2019 (arXiv:1901.09321), sec. 3; its scalar biases are each unit's own here, and"
          " scalars and biases have the full learning rate, not a tenth",
          summary="Deep residual networks: an update changes the function as much at any depth. Trained with branches"
          " of two layers alone (residual = 2); without any, in `variance` and `predict`, he_normal.")  # fmt: skip
def fixup() -> Initializer:
    return Initializer(NORMAL, _fixed_update, bias_mean_square=lambda _: 0.0, branch=Branch(1.0, layers=2))


def _fixed_update(setting: Setting) -> float:
    place, length = setting.place_in_branch, setting.branch_layers
    if setting.output or place == length > 0:
        return 0.0
    # L^(-1/(2m - 2)) in the paper is of the weights
    return _he(setting) * (setting.branches ** (-1 / (length - 1)) if place else 1.0)
