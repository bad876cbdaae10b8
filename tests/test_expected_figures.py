"""What a figure is told to show beside the measured: numbers by a formula, places that are counted."""

from __future__ import annotations

import pandas as pd
import pytest

from initbench.analysis.figures import relation
from initbench.analysis.measures import MEASURES
from initbench.analysis.page.alternatives import in_words
from initbench.core.errors import UsageError

SPREAD = MEASURES.make("spread(of=z_second_moment)")
LEVELS = {"narrow": 1.0, "wide": 0.25}


def found() -> pd.DataFrame:
    """Two parts of three networks."""
    parts = {"narrow": [0.5, 1.0, 2.0], "wide": [0.9, 1.0, 1.1]}
    rows = [(part, seed, value) for part, values in parts.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["part", "seed", "value"]).assign(source=relation.MEASURED)


def drawing(**told: object) -> relation.Drawing:
    return relation.Drawing(measure="spread(of=z_second_moment)", x="part", title="How far?", **told)


def test_what_is_expected_by_a_formula_is_dotted_beside_what_was_measured():
    summary = relation.summary(found(), drawing(expected=LEVELS), SPREAD)
    told = summary[summary.source == relation.FORMULA].set_index("x").estimate
    assert told.to_dict() == LEVELS
    figure = relation.draw(summary)
    (dotted,) = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [1.0, 0.25]]
    assert list(dotted.get_xdata()) == [0, 1]
    assert "Dotted: predicted by the source's formula" in figure.texts[-1].get_text().replace("\n", " ")


def test_only_levels_that_are_there_can_be_expected():
    with pytest.raises(UsageError, match="unknown level of part expected in figure relation: 'wider'"):
        relation.summary(found(), drawing(expected={"wider": 1.0}), SPREAD)


@pytest.mark.parametrize(("factor", "scale"), [("layer", "linear"), ("width", "log")])
def test_layers_stand_evenly_where_other_numbers_over_decades_are_logarithmic(factor, scale):
    measure = MEASURES.make("each(of=z_second_moment)")
    rows = pd.DataFrame({factor: [1, 10, 100], "seed": 0, "value": [1.0, 2.0, 4.0], "source": relation.MEASURED})
    summary = relation.summary(rows, relation.Drawing(measure="each(of=z_second_moment)", x=factor), measure)
    assert relation.draw(summary).axes[0].get_xscale() == scale


def test_a_factor_goes_by_the_word_that_the_study_has_for_it():
    measure = MEASURES.make("each(of=z_second_moment)")
    rows = pd.DataFrame({"layer": [1, 10, 100], "seed": 0, "value": [1.0, 2.0, 4.0], "source": relation.MEASURED})
    told = relation.Drawing(measure=measure.spec, x="layer", words={"layer": "hidden layer"})
    axes = relation.draw(relation.summary(rows, told, measure)).axes[0]
    assert axes.get_xlabel() == "hidden layer"
    assert axes.get_xscale() == "linear"  # still counted


def test_a_long_label_is_wrapped():
    measure = MEASURES.make("ratio(of=grad_z_second_moment, first=1, last=100)")
    rows = pd.DataFrame({"width": [1, 2], "seed": 0, "value": [1.0, 2.0], "source": relation.MEASURED})
    summary = relation.summary(rows, relation.Drawing(measure=measure.spec, x="width"), measure)
    label = relation.draw(summary.assign(measure=summary["measure"] + ", and all that is said of it"))
    assert max(map(len, label.axes[0].get_ylabel().split("\n"))) <= relation.LONGEST_LABEL


def test_panels_that_share_an_axis_share_its_labels():
    measure = MEASURES.make("each(of=train_loss)")
    values = {10: [2.0, 0.002], 30: [2.3, 2.2]}  # the second panel alone would want plain numbers
    rows = [(depth, step, 0, value) for depth, two in values.items() for step, value in enumerate(two)]
    table = pd.DataFrame(rows, columns=["depth", "step", "seed", "value"]).assign(source=relation.MEASURED)
    told = relation.Drawing(measure=measure.spec, x="step", panel="depth")
    axes = relation.draw(relation.summary(table, told, measure)).axes
    assert [one.get_yscale() for one in axes] == ["log", "log"]
    assert not any(label.get_text() for label in axes[0].get_yticklabels(minor=True))


def test_of_several_measures_each_has_a_panel_on_a_scale_of_its_own():
    names = ["average(of=saturated_fraction)", "growth(of=grad_z_second_moment)"]
    values = {names[0]: [0.0, 0.9], names[1]: [1e-4, 10.0]}
    told = relation.Drawing(measure=names, x="init.std", words={"init.std": "σ"})
    summaries = [
        relation.summary(
            pd.DataFrame({"init.std": [0.01, 1.0], "seed": 0, "value": values[name], "source": relation.MEASURED}),
            told, MEASURES.make(name),
        ) for name in names
    ]  # fmt: skip
    summary = pd.concat(summaries, ignore_index=True)
    axes = relation.draw(summary).axes
    for one, expected in zip(axes, values.values(), strict=True):
        assert list(one.lines[0].get_ydata()) == pytest.approx(expected, rel=1e-12)
    assert [one.get_yscale() for one in axes] == ["linear", "log"]
    assert [one.get_ylabel()[:4] for one in axes] == ["mean", "grad"]
    said = in_words("scale", "Scale", summary)
    assert "mean saturated fraction by σ" in said
    assert "factor per layer by σ" in said
