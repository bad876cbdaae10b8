"""Figures of training by rate and by step, and of who diverged: numbers by hand, drawings by their artists."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from initbench.analysis import report
from initbench.analysis.figures import accuracy_by_rate, configurations, diverged_heatmap, learning_curves, style
from initbench.analysis.page.alternatives import in_words

FACTORS = {"init": ["zeros", "he"], "activation": ["relu", "tanh"], "lr": [0.1, 0.01, 0.001], "seed": [0, 1]}
STEPS = [0, 10, 20, 30]


@pytest.fixture
def runs():
    """He learns, at 0.01 best; zeros do not; seeds differ by 0.02."""
    table = pd.MultiIndex.from_product(FACTORS.values(), names=FACTORS).to_frame(index=False)
    table = table.assign(cell_id=[f"c{place}" for place in range(len(table))], record_every=10, status="finished")
    learned = 0.5 + table["lr"].map({0.1: 0.0, 0.01: 0.3, 0.001: 0.1})
    table["val_accuracy"] = learned.where(table["init"] == "he", 0.1) + 0.02 * table["seed"]
    return table.assign(test_accuracy=table["val_accuracy"] - 0.05)


@pytest.fixture
def curves(runs):
    """A loss that halves in each record, an accuracy that rises to the run's."""
    table = runs[["cell_id", "val_accuracy"]].merge(pd.DataFrame({"step": STEPS}), how="cross")
    return table.assign(train_loss=2.0 ** (1 - table["step"] / 10), train_accuracy=0.5, val_loss=1.0,
                        val_accuracy=table["val_accuracy"] * table["step"] / 30)  # fmt: skip


def diverged(runs, **levels):
    lost = np.logical_and.reduce([runs[name] == level for name, level in levels.items()])
    runs.loc[lost, ["status", "val_accuracy", "test_accuracy"]] = ["diverged", np.nan, np.nan]
    return runs


def words(figure):
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def line(axes, label):
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return found


# Who diverged


def test_the_share_that_diverged_is_over_all_other_factors(runs):
    runs = diverged(diverged(runs, init="he", activation="relu", lr=0.1), init="he", activation="tanh", lr=0.1, seed=1)
    runs.loc[(runs["init"] == "zeros") & (runs["activation"] == "tanh"), "status"] = "impossible"
    told = diverged_heatmap.summary(runs).set_index(["init", "activation"])
    assert told["diverged"].to_dict() == {("zeros", "relu"): 0, ("he", "relu"): 2, ("he", "tanh"): 1}
    assert set(told["runs"]) == {6}
    assert told.loc[("he", "relu"), "share"] == pytest.approx(2 / 6)
    figure = diverged_heatmap.draw(told.reset_index())
    texts = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert texts["2 of 6"] == (0.5, 1.5)  # he diverged more: second row; relu is the first column
    assert "3 of 18 runs diverged" in words(figure)
    assert "he: 3 of 12 runs, most with relu (2 of 6)" in in_words("", "", told.reset_index())


# By learning rate


def test_a_point_is_the_mean_over_seeds_and_the_band_reaches_from_the_lowest_to_the_highest(runs):
    told = accuracy_by_rate.summary(runs).set_index(["hue", "panel", "lr"])
    point = told.loc[("he", "tanh", 0.01)]
    assert [point["low"], point["mean"], point["high"]] == pytest.approx([0.75, 0.76, 0.77])
    assert point["seeds"] == point["runs"] == 2


def test_the_rate_chosen_is_the_best_on_validation_whatever_the_test_says(runs):
    runs.loc[runs["lr"] == 0.001, "test_accuracy"] = 0.99
    told = accuracy_by_rate.summary(runs)
    chosen = told[told["chosen_rate"]].set_index(["hue", "panel"])["lr"]
    assert chosen.to_dict() == {
        ("zeros", "relu"): 0.1,
        ("zeros", "tanh"): 0.1,
        ("he", "relu"): 0.01,
        ("he", "tanh"): 0.01,
    }


def test_a_diverged_run_counts_as_0_and_its_share_is_drawn_below(runs):
    told = accuracy_by_rate.summary(diverged(runs, init="he", activation="relu", lr=0.1, seed=1))
    point = told.set_index(["hue", "panel", "lr"]).loc[("he", "relu", 0.1)]
    assert [point["low"], point["mean"], point["high"]] == pytest.approx([0, 0.45 / 2, 0.45])
    figure = accuracy_by_rate.draw(told)
    accuracies, shares = figure.axes[0], figure.axes[2]
    assert list(line(accuracies, "he").get_ydata()) == pytest.approx([0.56, 0.76, 0.45 / 2])
    assert list(line(shares, "he").get_ydata()) == [0, 0, 0.5]
    assert accuracies.get_xscale() == "log"
    assert "1 of 24 runs shown" in words(figure)


def test_other_factors_are_chosen_on_validation_for_each_line_and_rate(runs):
    deep = runs.assign(depth=3, val_accuracy=runs["val_accuracy"] + 0.1 * (runs["lr"] == 0.1), test_accuracy=0.33)
    both = pd.concat([runs.assign(depth=2), deep], ignore_index=True)
    both = both[["cell_id", "init", "activation", "depth", "lr", "seed", "status", "val_accuracy", "test_accuracy"]]
    told = accuracy_by_rate.summary(both).set_index(["hue", "panel", "lr"])
    assert told.loc[("he", "relu", 0.1), ["depth", "mean"]].tolist() == [3, pytest.approx(0.33)]
    assert told.loc[("he", "relu", 0.01), ["depth", "mean"]].tolist() == [2, pytest.approx(0.76)]
    assert "Of depth the best level" in configurations.told(told.reset_index(), "line and rate")


def test_lines_and_panels_look_the_same_whatever_a_panel_lacks(runs):
    told = accuracy_by_rate.summary(runs[(runs["init"] != "zeros") | (runs["activation"] != "relu")])
    figure = accuracy_by_rate.draw(told)
    (both,) = [axes for axes in figure.axes if axes.get_title() == "tanh"]
    for name, look in style.looks(FACTORS["init"], "init").items():
        assert line(both, name).get_color() == look.color


def test_of_many_panels_a_few_are_shown_with_the_first_and_the_last(runs):
    many = pd.concat([runs.assign(activation=f"a{place:02}") for place in range(12)], ignore_index=True)
    told = accuracy_by_rate.summary(many.assign(cell_id="c"))
    panels = list(told["panel"].unique())
    assert (len(panels), panels[0], panels[-1]) == (accuracy_by_rate.MOST_PANELS, "a00", "a11")
    assert "8 of 12 levels of activation are shown" in configurations.told(told, "line")


def test_what_could_not_run_is_no_point_and_no_seed(runs, curves):
    runs.loc[(runs["init"] == "zeros") & (runs["activation"] == "relu"), ["status", "val_accuracy"]] = [
        "impossible",
        np.nan,
    ]
    runs.loc[(runs["init"] == "he") & (runs["lr"] == 0.1) & (runs["seed"] == 1), "status"] = "failed"
    told = accuracy_by_rate.summary(runs).set_index(["hue", "panel", "lr"])
    assert ("zeros", "relu", 0.1) not in told.index
    assert told.loc[("he", "relu", 0.1), ["seeds", "runs", "mean"]].tolist() == [1, 1, pytest.approx(0.45)]
    lines = learning_curves.summary(runs, curves, ["lr"])
    assert set(zip(lines["hue"], lines["panel"], strict=True)) == {("zeros", "tanh"), ("he", "relu"), ("he", "tanh")}


def test_a_study_of_one_configuration_has_one_line_and_no_key(runs, curves):
    one = runs[(runs["init"] == "he") & (runs["activation"] == "tanh") & (runs["lr"] == 0.01)]
    told = learning_curves.summary(one, curves)
    assert set(told["hue"]) == {"all runs"}
    figure = learning_curves.draw(told)
    assert not figure.legends
    assert "all runs: 0.81 at update 30" in in_words("", "", told)


# By step


def test_a_curve_is_at_the_rate_that_is_best_on_validation(runs, curves):
    told = learning_curves.summary(runs, curves, ["lr"])
    assert set(told.loc[told["hue"] == "he", "chosen"]) == {"lr"}
    ends = told[(told["quantity"] == "val_accuracy") & (told["step"] == 30)].set_index(["hue", "panel"])
    point = ends.loc[("he", "relu")]
    assert [point["low"], point["mean"], point["high"]] == pytest.approx([0.8, 0.81, 0.82])
    losses = told[(told["quantity"] == "train_loss") & (told["hue"] == "he") & (told["panel"] == "relu")]
    assert list(losses["mean"]) == [2.0, 1.0, 0.5, 0.25]


def test_a_line_ends_with_a_cross_before_the_first_of_its_seeds_diverged(runs, curves):
    lost = (runs["init"] == "zeros") & (runs["seed"] == 1)
    runs = diverged(runs, init="zeros", seed=1)
    curves = curves[~curves["cell_id"].isin(runs.loc[lost, "cell_id"]) | (curves["step"] < 20)]
    told = learning_curves.summary(runs, curves, ["lr"])
    assert told.groupby("hue")["step"].max().to_dict() == {"he": 30, "zeros": 10}
    figure = learning_curves.draw(told)
    losses, accuracies = figure.axes[0], figure.axes[2]
    assert list(line(losses, "zeros").get_xdata()) == [0, 10]
    assert list(line(losses, "zeros, diverged").get_xdata()) == [10]
    assert list(line(losses, "zeros, diverged").get_ydata()) == [1.0]
    assert list(line(accuracies, "he").get_ydata()) == pytest.approx([0, 0.27, 0.54, 0.81])
    assert "zeros (1/2)" in losses.texts[0].get_text()
    assert (losses.get_yscale(), accuracies.get_yscale()) == ("log", "linear")
    spoken = in_words("", "", told)
    assert "he, activation relu: 0.81 at update 30" in spoken
    assert "the last before 1 of 2 diverged" in spoken


def test_curves_are_drawn_where_more_than_start_and_end_is_recorded(runs, curves):
    def drawn(runs, curves):
        results = SimpleNamespace(runs=runs, curves=curves, study={"kind": "train", "tune": {"lr": FACTORS["lr"]}})
        return {name: numbers for name, numbers, _ in report.figures(results)}

    few = runs[runs["init"] == "he"]
    assert "learning_curves" in drawn(few, curves)
    assert drawn(few, curves)["learning_curves"]["hue_name"].unique() == ["activation"]
    assert "learning_curves" not in drawn(few, curves[curves["step"].isin([0, 30])])
    assert "learning_curves" not in drawn(few.assign(record_every=0), curves)


def test_of_many_steps_so_many_are_drawn_with_the_first_and_the_last(runs):
    long = runs[["cell_id"]].merge(pd.DataFrame({"step": range(1001)}), how="cross")
    told = learning_curves.summary(runs, long.assign(train_loss=1.0, val_accuracy=0.5))
    steps = sorted(told["step"].unique())
    assert (len(steps), steps[0], steps[-1]) == (learning_curves.MOST_STEPS, 0, 1000)
