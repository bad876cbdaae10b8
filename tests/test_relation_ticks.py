"""Which numbers and words stand on the axis of a factor."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from initbench.analysis.figures import relation, style
from initbench.analysis.measures import MEASURES

ACCURACY = "final(of=test_accuracy)"


def drawn(factor, levels):
    rows = pd.DataFrame({factor: levels, "seed": 0, "value": 0.5, "source": relation.MEASURED})
    summary = relation.summary(rows, relation.Drawing(measure=ACCURACY, x=factor), MEASURES.make(ACCURACY))
    return relation.draw(summary)


@pytest.mark.parametrize(
    ("factor", "levels", "scale"),
    [
        ("batch_size", [16, 64, 512], "log"),
        ("lr", [0.003, 0.01, 0.03, 0.1, 0.3], "log"),
        ("depth", [5, 10, 20], "linear"),
    ],
)
def test_few_levels_are_labelled_each_by_itself(factor, levels, scale):
    axes = drawn(factor, levels).axes[0]
    assert axes.get_xscale() == scale
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{level:g}" for level in levels]
    assert list(axes.get_xticks()) == levels
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))


@pytest.mark.parametrize("levels", [[0.01, 0.011, 0.1, 1.0], list(np.logspace(-4, 4, 9))], ids=["too near", "too many"])
def test_levels_that_do_not_fit_leave_the_powers_of_ten(levels):
    axes = drawn("lr", levels).axes[0]
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))
    shown = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert len(shown) > 2
    assert all("10^" in text for text in shown)


def test_steps_stand_at_round_numbers():
    rows = pd.DataFrame({"step": range(101), "seed": 0, "value": 0.5, "source": relation.MEASURED})
    measure = MEASURES.make("each(of=train_loss)")
    axes = relation.draw(relation.summary(rows, relation.Drawing(measure=measure.spec, x="step"), measure)).axes[0]
    ticks = axes.get_xticks()
    assert set(np.diff(ticks)) <= {10, 20, 25, 50}
    assert 100 in ticks


@pytest.mark.parametrize(
    "levels",
    [
        ["none", "l1", "l2", "dropout", "batch_norm", "cutout", "mixup", "residual", "stochastic_depth"],
        ["none", "one rate for all", "each at its best rate", "all of them, and decayed", "each decayed", "warm-up"],
        [f"variance_scaling(scale={scale:g})" for scale in (0.125, 0.25, 0.5, 1.5, 2, 4)],
    ],
    ids=["beside each other", "in lines", "upright"],
)
def test_words_of_an_axis_do_not_touch(levels):
    figure = drawn("part", levels)
    labels = figure.axes[0].get_xticklabels()
    assert [" ".join(text.get_text().split()) for text in labels] == [
        " ".join(style.label(level).split()) for level in levels
    ]
    boxes = [text.get_window_extent() for text in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("values", "told"),
    [([2.0, 3.5, 7.0], {"2", "3", "4", "5", "6"}), ([2.0, 11.0, 30.0], {"2", "3", "5", "10", "20", "30"})],
)
def test_numbers_of_about_a_decade_are_plain_and_not_crowded(values, told):
    rows = pd.DataFrame({"layer": [1, 2, 3], "seed": 0, "value": values, "source": relation.MEASURED})
    measure = MEASURES.make("each(of=z_second_moment)")
    axes = relation.draw(relation.summary(rows, relation.Drawing(measure=measure.spec, x="layer"), measure)).axes[0]
    low, high = axes.get_ylim()
    ticks = [*axes.yaxis.get_majorticklabels(), *axes.yaxis.get_minorticklabels()]
    shown = {text.get_text() for text in ticks if text.get_text() and low <= text.get_position()[1] <= high}
    assert told <= shown
    assert len(shown) <= 8


def test_the_rows_of_a_map_are_labelled_by_their_levels():
    rows = [(scale, depth, 0, 0.5) for scale in (1.0, 2.0, 3.0) for depth in (10, 20, 80)]
    table = pd.DataFrame(rows, columns=["scale", "depth", "seed", "value"]).assign(source=relation.MEASURED)
    told = relation.Drawing(measure=ACCURACY, x="scale", y="depth")
    axes = relation.draw(relation.summary(table, told, MEASURES.make(ACCURACY))).axes[0]
    assert list(axes.get_yticks()) == [10, 20, 80]
