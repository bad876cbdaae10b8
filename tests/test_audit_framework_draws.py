"""The audit's rows of Keras and JAX, held against a kept table of what these packages drew."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, truncnorm

from initbench.core.records import Layer
from initbench.grid.audit import audit
from initbench.grid.conventions import CONVENTIONS

DRAWN = pd.read_csv(Path(__file__).parent / "assets" / "framework_draws.csv")
SHAPES = sorted({*zip(DRAWN.fan_in, DRAWN.fan_out, strict=True)})
FALSE_ALARM = 1e-3  # of all rows together

CUT = 2.0
LEFT = truncnorm.var(-CUT, CUT)
"""Of a standard normal's variance, cut at 2 standard deviations: 0.7737."""
BOUNDS = {
    "keras Dense": lambda i, o: (6 / (i + o)) ** 0.5,
    "keras VarianceScaling": lambda i, o: CUT * (1 / i / LEFT) ** 0.5,
    "keras VarianceScaling(mode=fan_out)": lambda i, o: CUT * (1 / o / LEFT) ** 0.5,
    "keras VarianceScaling(mode=fan_avg)": lambda i, o: CUT * (2 / (i + o) / LEFT) ** 0.5,
    "keras HeNormal": lambda i, o: CUT * (2 / i / LEFT) ** 0.5,
    "keras TruncatedNormal(stddev=0.05)": lambda i, o: CUT * 0.05,
    "flax Dense": lambda i, o: CUT * (1 / i / LEFT) ** 0.5,
    "jax he_normal": lambda i, o: CUT * (2 / i / LEFT) ** 0.5,
    "jax truncated_normal(stddev=0.01)": lambda i, o: CUT * 0.01,
    "jax uniform(scale=0.01)": lambda i, o: 0.01,
}


@pytest.fixture(scope="module")
def audited():
    tables = [audit(fan_in=fan_in, fan_out=fan_out) for fan_in, fan_out in SHAPES]
    return pd.concat(tables).set_index(["convention", "fan_in", "fan_out"])


@pytest.fixture(scope="module")
def both(audited):
    return DRAWN.merge(audited, on=["convention", "fan_in", "fan_out"], suffixes=("", "_audit"), validate="one_to_one")


def deviations():
    """Standard errors that one row in `FALSE_ALARM` tables passes by chance."""
    return norm.isf(FALSE_ALARM / 2 / len(DRAWN))


def test_every_convention_of_theirs_was_drawn():
    theirs = {
        c.name for c in CONVENTIONS if c.name.split()[0] in ("keras", "jax", "flax") and "taken for" not in c.name
    }
    assert theirs == set(DRAWN.convention) == set(BOUNDS)


def test_our_draws_have_the_variance_of_theirs(both):
    ours = np.log(both.variance_high / both.variance_low) / 2 / norm.isf((1 - 0.999) / 2)
    error = np.hypot(ours, both.standard_error / both.variance)
    assert (np.abs(np.log(both.variance_audit / both.variance)) < deviations() * error).all()


def test_a_promise_agrees_with_our_draws_exactly_where_it_does_with_theirs(both):
    kept = np.abs(both.promised_variance - both.variance) < deviations() * both.standard_error
    assert (kept == both.agrees).all()
    assert 0 < kept.sum() < len(kept)


@pytest.mark.parametrize(
    "row", list(DRAWN.itertuples()), ids=lambda row: f"{row.convention}, {row.fan_in} x {row.fan_out}"
)
def test_their_weights_reach_to_the_bound_and_not_beyond(row):
    bound = BOUNDS[row.convention](row.fan_in, row.fan_out)
    assert 0.999 * bound < row.largest <= bound * (1 + 1e-6)  # float32


@pytest.mark.parametrize("name", ["keras HeNormal", "jax he_normal", "flax Dense"])
def test_what_is_cut_is_made_up_for(name):
    """Without the correction 0.7737 of the promise would be left, hundreds of standard errors away."""
    promised = next(c for c in CONVENTIONS if c.name == name).promised
    for row in DRAWN[DRAWN.convention == name].itertuples():
        whole = promised(Layer(1, row.fan_in, row.fan_out))
        assert abs(row.variance - LEFT * whole) > 100 * row.standard_error
        assert abs(row.variance - whole) < deviations() * row.standard_error
