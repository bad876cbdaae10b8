"""How nearly a column of a table is the same elsewhere: on another machine, with other threads or stacks.

Float32 adds up in another order there. The bounds are ten times what was measured, or more (docs/reproducibility.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Real = NDArray[np.float64]
Scale = Callable[[pd.DataFrame], Real]


@dataclass(frozen=True)
class Tolerance:
    """The largest difference of two numbers, as a share of the larger one, or of `least` where both are smaller."""

    share: float
    least: Scale


def _nothing(table: pd.DataFrame) -> Real:
    return np.zeros(len(table))


def _one(table: pd.DataFrame) -> Real:
    return np.ones(len(table))


def _root_of(column: str) -> Scale:
    return lambda table: np.sqrt(table[column].to_numpy(float))


def _spread_about_a_mean(quantity: str) -> Scale:
    """Of a variance over the batch: each number is rounded as a share of itself, and not of how far it is from others.

    That moves the variance by twice such a share of the geometric mean of variance and second moment.
    """

    def least(table: pd.DataFrame) -> Real:
        both = table[f"{quantity}_variance_batch"] * table[f"{quantity}_second_moment"]
        return 1e-3 * np.sqrt(both.to_numpy(float))

    return least


def _of_a_full_bin(table: pd.DataFrame) -> Real:
    return 1 / (table["high"] - table["low"]).to_numpy(float)


RELATIVE = Tolerance(1e-4, _nothing)
RULES = {
    "z_mean": Tolerance(1e-4, _root_of("z_second_moment")),  # sums that cancel: a share of what is summed
    "a_mean": Tolerance(1e-4, _root_of("a_second_moment")),
    "z_variance_batch": Tolerance(1e-4, _spread_about_a_mean("z")),
    "a_variance_batch": Tolerance(1e-4, _spread_about_a_mean("a")),
    ".*cosine|.*_growth(_se)?": Tolerance(1e-4, _one),
    ".*accuracy|.*_fraction": Tolerance(1e-2, _one),  # an image, or a unit, at the border falls on either side
    "density": Tolerance(1e-2, _of_a_full_bin),
    ".*_residual(_error)?|.*_bias|p_value": Tolerance(1e-2, _one),  # in standard deviations of one network
    "(ntk_)?condition|singular_min": Tolerance(1e-2, _nothing),  # of a nearly singular matrix
}
"""Columns, as an expression for their whole name -> how nearly they are the same; all others are `RELATIVE`."""


def tolerance(column: str) -> Tolerance:
    """That of a column of numbers."""
    return next((rule for names, rule in RULES.items() if re.fullmatch(names, column)), RELATIVE)
