"""The table that each family's file fills."""

from __future__ import annotations

from initbench.core.catalogue import Catalogue
from initbench.core.errors import UsageError
from initbench.initializers.record import Initializer

INITIALIZERS: Catalogue[Initializer] = Catalogue("initializer")
register = INITIALIZERS.register


def require(condition: bool, message: str) -> None:
    """A parameter's range, told in one line."""
    if not condition:
        raise UsageError(message)
