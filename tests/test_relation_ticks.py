"""Which numbers stand on a logarithmic axis of factors."""

from __future__ import annotations

import pandas as pd
import pytest

from initbench.analysis.figures import relation
from initbench.analysis.measures import MEASURES

ACCURACY = "final(of=test_accuracy)"


@pytest.mark.parametrize(
    ("levels", "labels"),
    [([16, 64, 512], ["16", "64", "512"]), ([0.001, 0.01, 0.1, 1.0], None)],
)
def test_a_logarithmic_axis_of_less_than_two_decades_is_labelled_by_its_levels(levels, labels):
    rows = pd.DataFrame({"lr": levels, "seed": 0, "value": 0.5, "source": relation.MEASURED})
    summary = relation.summary(rows, relation.Drawing(measure=ACCURACY, x="lr"), MEASURES.make(ACCURACY))
    axes = relation.draw(summary).axes[0]
    assert axes.get_xscale() == "log"
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))
    shown = [label.get_text() for label in axes.get_xticklabels()]
    if labels:
        assert shown == labels
        assert list(axes.get_xticks()) == levels
    else:
        assert all("10^" in text for text in shown if text)
