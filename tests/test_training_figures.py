"""The figures of a sweep: their numbers against counts by hand and numpy, their drawing by its artists."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from initbench.analysis import report
from initbench.analysis.figures import accuracy_by_level, best_heatmap, explained, parallel_coordinates, relation
from initbench.analysis.figures.relation import Drawing
from initbench.analysis.measures import MEASURES
from initbench.analysis.page.alternatives import in_words
from initbench.core.errors import UsageError

GAIN = {"he": 0.4, "zeros": 0.0}


@pytest.fixture
def runs():
    """Two initializers, two activations, three rates, two seeds; accuracy is a sum, but where zeros learn nothing."""
    names = {"init": ["zeros", "he"], "activation": ["relu", "tanh"], "lr": [0.1, 0.01, 0.001], "seed": [0, 1]}
    table = pd.MultiIndex.from_product(names.values(), names=names).to_frame(index=False)
    table = table.assign(name="n", status="finished")
    rate, tanh = table["lr"].map({0.1: 0.0, 0.01: 0.3, 0.001: 0.1}), 0.1 * (table["activation"] == "tanh")
    table["val_accuracy"] = 0.1 + table["init"].map(GAIN) + rate + tanh + 0.01 * table["seed"]
    table["test_accuracy"] = table["val_accuracy"] - 0.05
    return table


def diverged(runs, **levels):
    lost = np.logical_and.reduce([runs[name] == level for name, level in levels.items()])
    runs.loc[lost, ["status", "val_accuracy", "test_accuracy"]] = ["diverged", np.nan, np.nan]
    return runs


def test_each_pairing_is_judged_on_test_at_what_validation_chose(runs):
    runs.loc[runs["lr"] == 0.001, "test_accuracy"] = 0.99  # better, but validation does not say so
    told = best_heatmap.summary(runs).set_index(["init", "activation"])
    assert set(told["lr"]) == {0.01}
    assert told.loc[("he", "tanh"), "val_accuracy"] == pytest.approx(np.mean([0.9, 0.91]))
    assert told.loc[("he", "tanh"), "test_accuracy"] == pytest.approx(np.mean([0.85, 0.86]))
    assert set(told["seeds"]) == {2}


def test_a_diverged_seed_counts_as_nothing_and_an_impossible_pairing_is_not_there(runs):
    runs = diverged(runs, init="he", activation="relu", seed=0)
    runs.loc[(runs["init"] == "zeros") & (runs["activation"] == "tanh"), "status"] = "impossible"
    told = best_heatmap.summary(runs).set_index(["init", "activation"])
    assert told.loc[("he", "relu"), "test_accuracy"] == pytest.approx((0 + 0.76) / 2)
    assert told["diverged"].to_dict() == {("zeros", "relu"): 0, ("he", "relu"): 1, ("he", "tanh"): 0}


def test_the_map_has_the_best_initializer_first_and_a_text_a_cell(runs):
    figure = best_heatmap.draw(best_heatmap.summary(runs))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["he", "zeros"]
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert texts["0.855"] == (1.5, 0.5)  # he with tanh: second column, first row
    assert [text.get_text() for text in axes.texts].count("0.01") == 4


def test_shares_and_what_is_left_are_those_of_the_sums_of_squares(runs):
    interaction = 0.2 * ((runs["init"] == "he") & (runs["activation"] == "tanh"))
    runs["test_accuracy"] = runs["test_accuracy"] + interaction
    told = explained.summary(runs).set_index("factor")["explained"]
    grid = runs["test_accuracy"].to_numpy().reshape(2, 2, 3, 2)
    total = ((grid - grid.mean()) ** 2).sum()
    for axis, factor in enumerate(["init", "activation", "lr", "seed"]):
        means = grid.mean(axis=tuple({0, 1, 2, 3} - {axis}))
        assert told[factor] == pytest.approx(((means - grid.mean()) ** 2).sum() * grid.size / len(means) / total)
    # of four cells that differ by 0.2 in one, the interaction's part is ±0.05 everywhere
    assert told[explained.REST] == pytest.approx(grid.size * 0.05**2 / total)
    assert list(told.index)[-1] == explained.REST


def test_a_bar_is_as_long_as_its_share(runs):
    told = explained.summary(diverged(runs, init="he", lr=0.1))
    figure = explained.draw(told)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(told["explained"]))
    names = {"init": "initializer", "lr": "learning rate"}
    assert [label.get_text() for label in axes.get_yticklabels()] == [names.get(one, one) for one in told["factor"]]
    words = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "20 finished runs; 4 diverged" in words


def test_a_share_is_told_alike_in_figures_and_in_their_words(runs):
    """A factor of two levels that hardly differ explains next to nothing."""
    other = runs.assign(test_accuracy=runs["test_accuracy"] + 0.001)
    table = pd.concat([runs, other], ignore_index=True)
    table.insert(0, "momentum", np.repeat([0.0, 0.9], len(runs)))
    told = explained.summary(table)
    share = told.set_index("factor")["explained"]
    assert 0 < share["momentum"] < 1e-3 < share["init"]
    expected = {"momentum": "< 0.1 %", "init": f"{100 * share['init']:.1f} %"}
    labels = [text.get_text() for text in explained.draw(told).axes[0].texts]
    figure = accuracy_by_level.draw(accuracy_by_level.summary(table))
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    words = [in_words(name, "", of) for name, of in (("explained", told),
                                                 ("accuracy_by_level", accuracy_by_level.summary(table)))]  # fmt: skip
    for factor, name in (("momentum", "momentum"), ("init", "initializer")):
        assert labels[list(told["factor"]).index(factor)].startswith(f"{expected[factor]}    best")
        assert f"{name}  ({expected[factor]} explained)" in titles
        assert all(f"{factor} explains {expected[factor]}" in text for text in words)


def test_a_configuration_is_the_mean_of_its_seeds_and_its_rank_that_on_validation(runs):
    told = parallel_coordinates.summary(diverged(runs, init="he", activation="tanh", lr=0.01, seed=1))
    assert len(told) == 12
    assert list(told["test_accuracy"]) == sorted(told["test_accuracy"])
    means = told.set_index(["init", "activation", "lr"])
    assert means.loc[("he", "relu", 0.01), "test_accuracy"] == pytest.approx(np.mean([0.75, 0.76]))
    assert means.loc[("he", "relu", 0.01), "rank"] == 1  # the other has lost a seed
    assert means.loc[("he", "tanh", 0.01), "val_accuracy"] == pytest.approx(0.9 / 2)


def test_a_line_goes_through_its_levels_and_ends_at_its_accuracy(runs):
    told = parallel_coordinates.summary(runs)
    figure = parallel_coordinates.draw(told)
    lines, best = (found for found in figure.axes[0].collections if isinstance(found, LineCollection))
    assert (len(lines.get_segments()), len(best.get_segments())) == (12, parallel_coordinates.BEST)
    np.testing.assert_allclose(lines.get_array(), told["test_accuracy"])
    factors = list(told.columns[:3])
    assert factors == ["init", "lr", "activation"]  # by what they explain
    row, path = told.iloc[-1], lines.get_segments()[-1]  # he with tanh at 0.01
    assert path[-1] == pytest.approx([3, row["test_accuracy"]])
    within = 0.1 + 0.8 * row["test_accuracy"]
    # numbers stand by size, words by their mean accuracy
    assert path[:3, 1] == pytest.approx([(1 + within) / 2, (1 + within) / 3, (1 + within) / 2])


def test_a_sweep_gets_all_figures_and_a_study_of_two_factors_the_one(runs):
    def names(table):
        return [name for name, *_ in report.figures(SimpleNamespace(runs=table, study={"kind": "train"}))]

    everything = ["accuracy_by_level", "accuracy_by_rate", "explained", "best_heatmap", "parallel_coordinates"]
    assert names(runs) == everything
    assert names(runs[runs["lr"] == 0.1]) == everything[:1]
    assert names(runs.rename(columns={"activation": "depth"})) == [*everything[:3], everything[4]]
    assert names(runs.assign(status="diverged", val_accuracy=np.nan, test_accuracy=np.nan)) == ["diverged_heatmap"]


def test_a_figure_may_draw_differences_in_pairs_of_one_seed():
    names = {"init": ["he_normal", "ones", "zeros"], "part": ["a", "b"], "seed": [0, 1, 2]}
    found = pd.MultiIndex.from_product(names.values(), names=names).to_frame(index=False)
    # the seeds differ by far more than the initializers: only pairs see the difference
    found["value"] = 10.0 * found["seed"] + found["init"].map({"he_normal": 0.0, "ones": -1.0, "zeros": -2.0})
    found.loc[found["part"] == "b", "value"] *= 2
    drawing = Drawing(measure="final", x="part", hue="init", versus={"init": "he_normal"}, alike=(-0.02, 0.02))
    told = relation.summary(found.assign(source="measured"), drawing, MEASURES.make("final"))
    assert told.set_index(["hue", "x"])["estimate"].to_dict() == {
        ("ones", "a"): -1, ("ones", "b"): -2, ("zeros", "a"): -2, ("zeros", "b"): -4}  # fmt: skip
    assert (told["high"] - told["low"]).max() == pytest.approx(0, abs=1e-12)
    assert set(told["measure"]) == {"test accuracy, less that of he_normal"}
    axes = relation.draw(told).axes[0]
    assert [(patch.get_y(), patch.get_height()) for patch in axes.patches] == [(-0.02, 0.04)]


def test_ratios_are_drawn_of_what_is_on_a_logarithmic_scale_and_shares_have_no_pairs():
    found = pd.DataFrame({"init": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "value": [2.0, 8.0, 6.0, 24.0]})
    found = found.assign(source="measured")
    drawing = Drawing(measure="growth", x="init", versus={"init": "a"})
    told = relation.summary(found, drawing, MEASURES.make("growth"))
    assert list(told["estimate"]) == pytest.approx([3.0])
    with pytest.raises(UsageError, match="versus is not for it"):
        relation.summary(found, drawing, MEASURES.make("diverged"))
