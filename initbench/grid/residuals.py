"""The table `residuals`: each measured network held against theory, a layer at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from initbench.activations import ACTIVATIONS
from initbench.core.records import InputMoments
from initbench.grid.variance_study import VarianceStudy
from initbench.initializers import INITIALIZERS
from initbench.theory.residuals import residuals as of_networks

RESIDUALS = {
    "z_residual": "forward",
    "z_residual_error": "forward_doubt",
    "z_bias": "forward_bias",
    "grad_residual": "backward",
    "grad_residual_error": "backward_doubt",
    "grad_bias": "backward_bias",
}
"""Columns, and the arrays that they hold."""


def residuals(study: VarianceStudy, moments: InputMoments, layers: pd.DataFrame) -> pd.DataFrame:
    """A row per init, activation, seed and layer of the table `layers`."""
    tables: list[pd.DataFrame] = []
    for (init, name), rows in layers.groupby(["init", "activation"], sort=False):
        activation = ACTIVATIONS.make(str(name))
        promises = INITIALIZERS.make(str(init)).promises(activation, study.network, moments.mean_square)
        # |w| is |grad_w| over their ratio: weight_variance is without the weights' own mean
        rows = rows.assign(weight_square=rows.grad_w_second_moment / rows.update_ratio**2)
        square = {column: rows.pivot(index="seed", columns="layer", values=column).sort_index(axis=1)
                  for column in ("z_second_moment", "grad_z_second_moment", "weight_square")}  # fmt: skip
        z, gradient, weight = (table.to_numpy() for table in square.values())
        scales = np.log(weight / [promise.variance for promise in promises]) if promises[0].adapted else 0.0
        found = of_networks(activation, promises, moments, z, gradient, scales)
        shape = square["z_second_moment"]
        place = pd.MultiIndex.from_product([shape.index, shape.columns])
        columns: dict[str, Any] = {column: getattr(found, source).ravel() for column, source in RESIDUALS.items()}
        tables.append(pd.DataFrame({"init": init, "activation": name, **columns}, index=place).reset_index())
    return pd.concat(tables, ignore_index=True)[["init", "activation", "seed", "layer", *RESIDUALS]]
