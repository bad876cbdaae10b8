"""What tests of plug-ins share: catalogues that are as before when a test ends, and the program called on them."""

from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from initbench.activations import ACTIVATIONS
from initbench.cli import main
from initbench.datasets import DATASETS
from initbench.initializers import INITIALIZERS
from initbench.recipe import OPTIMIZERS

CATALOGUES = (INITIALIZERS, ACTIVATIONS, DATASETS, OPTIMIZERS)


@contextmanager
def lent_catalogues():
    """Entries that are registered in the block are gone after it."""
    with pytest.MonkeyPatch.context() as patch:
        for catalogue in CATALOGUES:
            for table in ("_entries", "_names", "_made"):
                patch.setattr(catalogue, table, dict(getattr(catalogue, table)))
            patch.setattr(catalogue, "_group", catalogue._group)
        yield


def program(*arguments):
    """`initbench` with these arguments."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])
