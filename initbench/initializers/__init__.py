"""The catalogue of initializers: one family a file, one entry a scheme.

A new one is one registered function that returns an `Initializer`; commands, tables and tests take it from there.
"""

from importlib import import_module

from initbench.initializers.catalogue import INITIALIZERS
from initbench.initializers.record import Basis, Initializer, Setting

__all__ = ["INITIALIZERS", "Basis", "Initializer", "Setting"]

# importing a family's file fills the catalogue, in the order of the tables
for _family in ("constant", "independent", "variance_scaling", "orthogonal", "convolutional", "activation_aware",
                "modern", "residual", "parametrization", "data_driven", "external", "frameworks"):  # fmt: skip
    import_module(f"initbench.initializers.{_family}")
