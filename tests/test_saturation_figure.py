"""Saturation and dead units by layer: numbers by hand, the drawing by its artists."""

import pandas as pd
import pytest

from initbench.analysis.figures import saturation, style
from initbench.analysis.page.alternatives import in_words

INITS, ACTIVATIONS = ["he", "normal"], ["identity", "tanh", "relu"]


@pytest.fixture
def layers():
    """The identity has no flat part; normal saturates tanh more in each layer, a hundredth more with each seed."""
    names = {"init": INITS, "activation": ACTIVATIONS, "seed": [0, 1, 2], "layer": [1, 2, 3, 4]}
    table = pd.MultiIndex.from_product(names.values(), names=names).to_frame(index=False)
    share = 0.2 * table["layer"] + 0.01 * table["seed"]
    flat = {("normal", "tanh"): share, ("he", "relu"): 0.5, ("normal", "relu"): 0.5}
    table["saturated_fraction"] = 0.0
    for (init, activation), value in flat.items():
        here = (table["init"] == init) & (table["activation"] == activation)
        table.loc[here, "saturated_fraction"] = value if isinstance(value, float) else value[here]
    return table.assign(dead_fraction=0.0)


def test_a_line_is_the_mean_over_seeds_and_the_band_reaches_from_the_lowest_to_the_highest(layers):
    told = saturation.summary(layers, "saturated_fraction").set_index(["init", "activation", "layer"])
    row = told.loc[("normal", "tanh", 4)]
    assert [row["low"], row["mean"], row["high"]] == pytest.approx([0.8, 0.81, 0.82])
    assert row["seeds"] == 3


def test_activations_that_have_no_flat_part_have_no_panel(layers):
    told = saturation.summary(layers, "saturated_fraction")
    assert list(told["activation"].unique()) == ["tanh", "relu"]
    assert saturation.summary(layers, "dead_fraction").empty


def test_a_panel_has_a_line_an_initializer_in_its_look_and_an_axis_of_all_shares(layers):
    told = saturation.summary(layers, "saturated_fraction")
    figure = saturation.draw(told)
    tanh = figure.axes[0]
    assert tanh.get_title() == "tanh"
    lines = {line.get_label(): line for line in tanh.lines}
    assert list(lines) == INITS
    assert list(lines["normal"].get_ydata()) == pytest.approx([0.21, 0.41, 0.61, 0.81])
    assert lines["normal"].get_color() == style.looks(INITS, "init")["normal"].color
    assert tanh.get_ylim()[0] < 0 < 1 < tanh.get_ylim()[1]
    assert {text.get_text() for text in figure.legends[0].texts} == set(INITS)


def test_its_words_name_the_ends_of_the_last_layer(layers):
    told = in_words("", "", saturation.summary(layers, "saturated_fraction"))
    assert "Saturated fraction in layer 4. tanh: 0.0 % with he to 81.0 % with normal" in told
