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


def test_what_is_expected_by_a_formula_is_dashed_beside_what_was_measured():
    summary = relation.summary(found(), drawing(expected=LEVELS), SPREAD)
    told = summary[summary.source == relation.FORMULA].set_index("x").estimate
    assert told.to_dict() == LEVELS
    figure = relation.draw(summary)
    (dashes,) = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [1.0, 0.25]]
    assert list(dashes.get_xdata()) == [0, 1]
    assert (dashes.get_marker(), dashes.get_linestyle()) == ("_", "None")  # between two words there is nothing
    assert "Dash: predicted by the source's formula" in figure.texts[-1].get_text().replace("\n", " ")


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


def test_a_level_goes_by_the_word_that_the_study_has_for_it_but_a_place_stays_a_number():
    rows = pd.DataFrame([(size, step, 1.0 + step) for size in (0, 32) for step in (0, 1)],
                        columns=["batch_size", "step", "value"])  # fmt: skip
    measure = MEASURES.make("each(of=train_loss)")
    told = relation.Drawing(measure=measure.spec, x="step", hue="batch_size", words={"0": "all"})
    figure = relation.draw(relation.summary(rows.assign(seed=0, source=relation.MEASURED), told, measure))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all", "32"]
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[0, 1], [0, 1]]


def test_what_is_expected_of_a_level_is_drawn_at_its_word():
    words = {"narrow": "10 units", "wide": "1000 units"}
    axes = relation.draw(relation.summary(found(), drawing(expected=LEVELS, words=words), SPREAD)).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10 units", "1000 units"]
    assert [list(line.get_xdata()) for line in axes.lines if list(line.get_ydata()) == [1.0, 0.25]] == [[0, 1]]


def test_a_prediction_is_told_from_the_line_that_it_lies_on():
    rows = [(init, layer, 0, 2.0**-layer, source) for init in ("he_normal", "xavier_normal") for layer in range(1, 7)
            for source in (relation.MEASURED, "mean_field")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["init", "layer", "seed", "value", "source"])
    measure = MEASURES.make("each(of=z_second_moment)")
    told = relation.Drawing(measure=measure.spec, x="layer", hue="init", law="mean_field")
    figure = relation.draw(relation.summary(table, told, measure))
    lines = {(line.get_color(), line.get_zorder()): line for line in figure.axes[0].lines}
    assert len(lines) == 4
    colors = [color for color, _ in sorted(lines, key=lambda key: key[1])]  # the measured lie below
    assert [sum(color) for color in colors[2:]] == pytest.approx([0.3 * sum(color) for color in colors[:2]])
    assert "Dotted: predicted by mean field." in figure.texts[-1].get_text().replace("\n", " ")


def test_curves_that_coincide_show_their_marks_in_turn():
    rows = [(init, layer, 0, 1.0) for init in ("he_normal", "xavier_normal") for layer in range(1, 21)]
    table = pd.DataFrame(rows, columns=["init", "layer", "seed", "value"]).assign(source=relation.MEASURED)
    measure = MEASURES.make("each(of=z_second_moment)")
    told = relation.Drawing(measure=measure.spec, x="layer", hue="init")
    marked = [line.get_markevery() for line in relation.draw(relation.summary(table, told, measure)).axes[0].lines]
    places = [set(range(20)[start::every]) for start, every in marked]
    assert not places[0] & places[1]
    assert places[0] | places[1] == set(range(20))


@pytest.mark.parametrize(
    ("seeds", "factor", "told"),
    [(3, "width", "n = 3 seeds. Band: 95 % interval over seeds."), (1, "width", "n = 1 seed."),
     (3, "part", "n = 3 seeds. Bar: 95 % interval over seeds.")],
)  # fmt: skip
def test_the_caption_tells_the_interval_that_is_drawn(seeds, factor, told):
    levels = {"width": [1, 2], "part": ["narrow", "wide"]}[factor]
    rows = pd.DataFrame([(level, seed, 1.0 + seed) for level in levels for seed in range(seeds)],
                        columns=[factor, "seed", "value"])  # fmt: skip
    measure = MEASURES.make("each(of=train_loss)")
    summary = relation.summary(
        rows.assign(source=relation.MEASURED), relation.Drawing(measure="each", x=factor), measure
    )
    assert relation.draw(summary).texts[-1].get_text() == f"training loss; {told}"


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
    assert [one.get_ylabel()[:8] for one in axes] == ["mean sat", "mean of "]
    said = in_words("scale", "Scale", summary)
    assert "mean saturated fraction by σ" in said
    assert "factor per layer by σ" in said
