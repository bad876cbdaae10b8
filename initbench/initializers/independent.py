"""Independent weights of a given spread, whatever the fans: what came before Xavier."""

from __future__ import annotations

from initbench.core.errors import require
from initbench.initializers import bases
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer


@register("normal", formula="w ~ N(0, std²)", source="Krizhevsky et al. 2012, sec. 5 (std = 0.01)", default=True,
          summary="To show what a scale that ignores the fans does; std = 1 is the lecture's.")  # fmt: skip
def normal(std: float = 1.0) -> Initializer:
    require(std >= 0, f"normal: std must be 0 or more, not {std:g}")
    return Initializer(bases.NORMAL, lambda _: std**2)


@register("uniform", formula="w ~ U(-bound, bound), Var(w) = bound²/3", source="LeCun et al. 1998, sec. 4.6",
          summary="As `normal`, with bounds; bound = 1 is the lecture's.", default=True)  # fmt: skip
def uniform(bound: float = 1.0) -> Initializer:
    require(bound >= 0, f"uniform: bound must be 0 or more, not {bound:g}")
    return Initializer(bases.UNIFORM, lambda _: bound**2 / 3)


@register("truncated_normal", formula="w ~ N(0, std²) cut at ±2 std, Var(w) = 0.7737 std²; corrected: std²",
          source="Abadi et al. 2016 (TensorFlow's truncated_normal); the correction: Keras VarianceScaling",
          summary="To see what truncation costs: 23 % of the variance, unless corrected.")  # fmt: skip
def truncated_normal(std: float = 1.0, corrected: bool = False) -> Initializer:
    require(std >= 0, f"truncated_normal: std must be 0 or more, not {std:g}")
    kept = 1.0 if corrected else bases.TRUNCATED_VARIANCE
    return Initializer(bases.TRUNCATED_NORMAL, lambda _: kept * std**2)


@register("sparse", formula="N(0, std²), a share of each column 0: Var(w) = std² (1 - ceil(sparsity fan_out)/fan_out)",
          source="Martens 2010, sec. 5; zeros by column as in torch.nn.init.sparse_",
          summary="Few strong weights in place of many weak ones.")  # fmt: skip
def sparse(sparsity: float, std: float = 0.01) -> Initializer:
    require(0 <= sparsity < 1, f"sparse: sparsity must be at least 0 and below 1, not {sparsity:g}")
    require(std >= 0, f"sparse: std must be 0 or more, not {std:g}")
    return Initializer(
        bases.sparse(sparsity),
        lambda s: std**2 * (1 - bases.zeros_a_column(sparsity, s.layer) / s.fan_out),
    )
