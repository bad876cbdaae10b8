"""The table that each family's file fills."""

from __future__ import annotations

from initbench.core.catalogue import Catalogue
from initbench.initializers.record import Initializer

INITIALIZERS: Catalogue[Initializer] = Catalogue("initializer", "initbench.initializers")
register = INITIALIZERS.register
