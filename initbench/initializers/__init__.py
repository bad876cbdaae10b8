"""The catalogue of initializers: one family a file, one entry a scheme.

A new one is one registered function that returns an `Initializer`; commands, tables and tests take it from there.
"""

# importing a family's file fills the catalogue
from initbench.initializers import (
    activation_aware,
    constant,
    frameworks,
    independent,
    orthogonal,
    variance_scaling,
)
from initbench.initializers.catalogue import INITIALIZERS
from initbench.initializers.record import Basis, Initializer, Setting

__all__ = ["INITIALIZERS", "Basis", "Initializer", "Setting", "activation_aware", "constant", "frameworks",
           "independent", "orthogonal", "variance_scaling"]  # fmt: skip
