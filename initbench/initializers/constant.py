"""Weights that are all equal: every unit of a layer stays the same, and so do their gradients (symmetry)."""

from __future__ import annotations

from initbench.initializers.bases import MINUS_ONES, ONES
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer


@register("zeros", formula="w = 0", source="Rumelhart et al. 1986, p. 535 (why it fails: symmetry)", default=True,
          summary="To show symmetry and the zero gradient. Never to train with.")  # fmt: skip
def zeros() -> Initializer:
    return constant(0.0)


@register("ones", formula="w = 1", source="Rumelhart et al. 1986, p. 535 (why it fails: symmetry)", default=True,
          summary="To show symmetry with an exploding signal. Never to train with.")  # fmt: skip
def ones() -> Initializer:
    return constant(1.0)


@register("constant", formula="w = value", source="Rumelhart et al. 1986, p. 535 (why it fails: symmetry)",
          summary="To show symmetry at any scale.")  # fmt: skip
def constant(value: float) -> Initializer:
    return Initializer(ONES if value >= 0 else MINUS_ONES, lambda _: value**2)
