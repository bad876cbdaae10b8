"""The audit's rows of Keras and JAX, held against weights that Keras and JAX draw themselves."""

import os
from importlib import import_module

import numpy as np
import pytest
from scipy import stats

from initbench.activations import ACTIVATIONS
from initbench.core.records import Layer
from initbench.grid.audit import audit
from initbench.grid.conventions import CONVENTIONS
from initbench.initializers import INITIALIZERS, Setting
from initbench.initializers.bases import parameters

os.environ.setdefault("KERAS_BACKEND", "jax")
for package in ("jax", "keras"):
    pytest.importorskip(package)

DRAWS = import_module("assets.make_framework_draws").DRAWS
"""The same as of the kept table."""
FAN_IN, FAN_OUT, SEEDS = 512, 256, range(4)
SHAPE, LAYER = (FAN_IN, FAN_OUT), Layer(1, FAN_IN, FAN_OUT)


def entry(spec):
    """Weights of the catalogue's entry beside a convention."""
    initializer = INITIALIZERS.make(spec)
    return parameters(initializer, initializer.promise(Setting(LAYER, ACTIVATIONS.make("relu"))), seed=0)


@pytest.fixture(scope="module")
def table():
    return audit(fan_in=FAN_IN, fan_out=FAN_OUT).set_index("convention")


def test_all_of_their_conventions_are_held_against_them():
    theirs = {
        c.name for c in CONVENTIONS if c.name.split()[0] in ("keras", "jax", "flax") and "taken for" not in c.name
    }
    assert theirs == set(DRAWS)


@pytest.mark.parametrize("name", DRAWS)
def test_the_variance_that_they_draw(table, name):
    drawn = [np.asarray(DRAWS[name](seed, SHAPE), np.float64).ravel() for seed in SEEDS]
    ours = table.loc[name]
    theirs = np.mean([values.var(ddof=1) for values in drawn])
    # both are estimates: of ten seeds and of four
    error = np.log(ours.variance_high / ours.variance_low) / 2 * np.sqrt(1 + 10 / len(SEEDS))
    assert abs(np.log(theirs / ours.variance)) < error


@pytest.mark.parametrize("name", DRAWS)
def test_the_distribution_that_they_draw(name):
    """Kolmogorov and Smirnov's distance between a draw of theirs and one of the convention's."""
    convention = next(c for c in CONVENTIONS if c.name == name)
    weight, _ = convention.draw(LAYER, 0) if convention.draw else entry(convention.spec(LAYER))
    found = stats.ks_2samp(np.asarray(DRAWS[name](0, SHAPE), np.float64).ravel(), weight.double().numpy().ravel())
    assert found.pvalue > 1e-3
