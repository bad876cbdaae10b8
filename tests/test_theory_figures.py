"""Figures of Jacobians and of phases, from the tables of their studies: numbers by hand, drawings by their artists."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from initbench.analysis import report
from initbench.analysis.figures import depth_scales, squared_singular_values
from initbench.analysis.page.alternatives import in_words

DEPTH = 3


@pytest.fixture
def jacobians():
    """Each layer's factor is 2 and 8 (he) or 0 (zeros), by seed; the network's is their product."""
    rows = [
        (init, "relu", seed, scope, layer, factor**power, 3.0**power)
        for init, factors in (("he", (2.0, 8.0)), ("zeros", (0.0, 0.0)))
        for seed, factor in enumerate(factors)
        for scope, layer, power in (*(("layer", place, 1) for place in (1, 2, 3)), ("network", DEPTH, DEPTH))
    ]
    names = ["init", "activation", "seed", "scope", "layer", "squared_singular_value",
             "predicted_squared_singular_value"]  # fmt: skip
    return pd.DataFrame(rows, columns=names).assign(singular_max=np.nan)


@pytest.fixture
def phases():
    """xi_c is endless where it is critical."""
    return pd.DataFrame({"activation": "tanh", "weight_variance": [2.0, 1.0, 0.5], "bias_variance": 0.1,
                         "xi_c": [5.0, np.inf, 2.0], "xi_q": [1.0, 3.0, 2.0],
                         "phase": ["chaotic", "critical", "ordered"]})  # fmt: skip


def drawn(kind, **tables):
    results = SimpleNamespace(study={"kind": kind}, table=tables.__getitem__)
    return {name: (numbers, figure) for name, numbers, figure in report.figures(results)}


def test_a_factor_is_the_geometric_mean_over_seeds_and_the_networks_is_per_layer(jacobians):
    told = squared_singular_values.summary(jacobians).set_index(["init", "scope", "layer"])
    for place in (("he", "layer", 2), ("he", "network", DEPTH)):
        row = told.loc[place]
        assert [row["low"], row["mean"], row["high"], row["predicted"]] == pytest.approx([2, 4, 8, 3])
        assert row["seeds"] == 2
    assert told.loc[("zeros", "network", DEPTH), "mean"] == 0


def test_a_seed_beyond_float64_leaves_no_mean_and_a_pairing_that_cannot_be_no_row(jacobians):
    jacobians.loc[0, "squared_singular_value"] = np.nan
    refused = pd.DataFrame({"init": ["critical"], "activation": ["relu"], "scope": ["network"], "layer": [DEPTH]})
    told = squared_singular_values.summary(pd.concat([jacobians, refused], ignore_index=True))
    first = told[(told["init"] == "he") & (told["layer"] == 1)].iloc[0]
    assert np.isnan(first[["mean", "low", "high"]].to_numpy(float)).all()
    assert set(told["init"]) == {"he", "zeros"}


def test_a_jacobian_study_without_a_spectrum_draws_its_squares_beside_theory(jacobians):
    found = drawn("jacobian", jacobians=jacobians)
    assert list(found) == ["squared_singular_values"]
    numbers, figure = found["squared_singular_values"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["he"].get_ydata()) == pytest.approx([4, 4, 4])
    assert list(lines["he, theory"].get_ydata()) == pytest.approx([3, 3, 3])
    assert list(lines["he, network"].get_ydata()) == pytest.approx([4])
    assert lines["he, network"].get_xdata()[0] > DEPTH
    assert figure.axes[0].get_yscale() == "log"
    assert "he 4, 1.33 times what theory says. zeros 0" in in_words("", "", numbers)


def test_a_jacobian_study_with_a_spectrum_draws_it_too(jacobians):
    names = ["singular_min", "singular_5", "singular_25", "singular_50", "singular_75", "singular_95", "singular_max"]
    spectrum = jacobians.assign(**{name: 0.5 + place for place, name in enumerate(names)})
    found = drawn("jacobian", jacobians=spectrum)
    assert list(found) == ["jacobian_spectrum", "squared_singular_values"]
    told = in_words("", "", found["jacobian_spectrum"][0])
    assert "he with relu: 5 to 95 % of the network's lie between 1.5 and 5.5, the largest is 6.5" in told


def test_depth_scales_stand_along_the_variance_that_varies(phases):
    found = drawn("phase", phases=phases)
    assert list(found) == ["depth_scales"]
    numbers, figure = found["depth_scales"]
    assert list(numbers["x"]) == [0.5, 1.0, 2.0]
    assert set(numbers["x_name"]) == {"weight_variance"}
    cosine, *_ = figure.axes[0].lines
    np.testing.assert_array_equal(cosine.get_ydata(), [2, np.nan, 5])
    endless = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    assert [list(line.get_xdata()) for line in endless] == [[1.0]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["ordered", "critical", "chaotic"]
    assert "critical at weight variance 1: xi_c in layers without end" in in_words("", "", numbers)
    swapped = phases.rename(columns={"weight_variance": "bias_variance", "bias_variance": "weight_variance"})
    assert set(depth_scales.summary(swapped)["x_name"]) == {"bias_variance"}


def test_phases_of_both_variances_are_a_map_and_of_one_point_nothing(phases):
    grid = pd.concat([phases, phases.assign(bias_variance=0.2)], ignore_index=True)
    found = drawn("phase", phases=grid)
    assert list(found) == ["phase_diagram"]
    numbers, figure = found["phase_diagram"]
    assert set(numbers["part"]) == {"phase"}
    assert figure.axes[0].get_xlabel().endswith("Var(w)")
    told = in_words("", "", numbers)
    assert "6 points: chaotic 33 %, critical 33 %, ordered 33 %" in told
    assert "2 layers at weight variance 0.5 and bias variance 0.1 to 5 layers at weight variance 2" in told
    assert drawn("phase", phases=phases[:1]) == {}


def test_a_kind_without_figures_draws_nothing():
    assert drawn("unknown") == {}
