"""The phase diagram of an activation as tables: fixed points over a grid of variances, and the critical line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from initbench.activations import ACTIVATIONS
from initbench.theory.phase import critical_line, phase

ACROSS, UP = 40, 26
"""Weight variances and bias variances of the grid."""
HIGHEST_BIAS_VARIANCE = 1.0
BENT = (0.001, 0.005, 0.01, 0.02)
"""Bias variances that the critical line has beside the grid's: near 0 it bends most."""
LEAST_SPAN = 4.0
"""The weight variances reach from above 0 to this, or to the next multiple beyond an attracting critical line."""
SHOWN_ACROSS, SHOWN_UP = 8, 5
"""In a table for reading: one weight variance, and one bias variance, in so many."""


@dataclass(frozen=True)
class PhaseDiagram:
    """Of one activation."""

    activation: str
    points: pd.DataFrame
    """The rows of `initbench.theory.phase.phase`."""
    line: pd.DataFrame
    """The rows of `initbench.theory.phase.critical_line`, at every bias variance of `points` and some near 0."""

    @property
    def few_of_line(self) -> pd.DataFrame:
        """The critical line at a few bias variances."""
        return self.line[self.line["bias_variance"].isin(self._biases[::SHOWN_UP])]

    @property
    def few_points(self) -> pd.DataFrame:
        """The fixed points at a few bias variances and weight variances."""
        weights = self.points["weight_variance"].unique()[SHOWN_ACROSS - 1 :: SHOWN_ACROSS]
        at = self.points["bias_variance"].isin(self._biases[:: 2 * SHOWN_UP])
        return self.points[at & self.points["weight_variance"].isin(weights)]

    @property
    def _biases(self) -> np.ndarray:
        return self.points["bias_variance"].unique()


def phase_diagram(spec: str) -> PhaseDiagram:
    """The phase diagram of the activation `spec`, over a grid that shows its critical line.

    Raises `UsageError` for an activation that is not known.
    """
    activation = ACTIVATIONS.make(spec)
    biases = np.linspace(0, HIGHEST_BIAS_VARIANCE, UP).round(10)  # so that 0.2 is 0.2
    line = pd.DataFrame(critical_line(activation, sorted({*biases.tolist(), *BENT})))
    reached = line.loc[line["stability"].isin(["attracting", "neutral"]), "weight_variance"].max()
    span = LEAST_SPAN * max(1.0, np.ceil(1.05 * reached / LEAST_SPAN)) if reached > 0 else LEAST_SPAN
    weights = np.linspace(0, span, ACROSS + 1)[1:].round(10)
    return PhaseDiagram(activation.spec, pd.DataFrame(phase(activation, weights, biases)), line)
