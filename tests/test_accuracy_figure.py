"""The figure of test accuracy by level: its numbers as frames, its drawing by its artists."""

import numpy as np
import pandas as pd
import pytest

from initbench.analysis.figures import accuracy_by_level


@pytest.fixture
def runs():
    """Two factors, five seeds; the first run of `zeros` diverged."""
    grid = pd.MultiIndex.from_product([["he", "zeros"], [0.1, 0.01], range(5)], names=["init", "lr", "seed"])
    table = grid.to_frame(index=False).assign(name="n", status="finished")
    table["test_accuracy"] = np.linspace(0.9, 0.1, len(table))
    table.loc[10, ["status", "test_accuracy"]] = ["diverged", np.nan]
    return table


def test_the_summary_counts_and_sums_up_each_level(runs):
    told = accuracy_by_level.summary(runs)
    assert list(zip(told.factor, told.level, strict=True)) == [
        ("init", "he"), ("init", "zeros"), ("lr", "0.1"), ("lr", "0.01")]  # fmt: skip
    zeros = told[told.level == "zeros"].iloc[0]
    known = runs.test_accuracy[11:]
    assert (zeros.runs, zeros.diverged) == (9, 1)
    assert (zeros["mean"], zeros.med) == (pytest.approx(known.mean()), pytest.approx(known.median()))
    assert zeros.whislo == pytest.approx(np.quantile(known, 0.05))


def test_the_drawing_has_a_panel_a_factor_and_a_box_a_level(runs):
    figure = accuracy_by_level.draw(accuracy_by_level.summary(runs))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split("  ")[0] for title in titles] == ["initializer", "learning rate"]
    assert [len(axes.patches) for axes in figure.axes] == [2, 2]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["he", "zeros"]
    assert "1 lost" in [text.get_text() for text in figure.axes[0].texts]
    assert "19 finished runs; 1 diverged" in " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_a_level_whose_runs_all_diverged_has_no_box(runs):
    runs.loc[runs["init"] == "zeros", "status"] = "diverged"
    figure = accuracy_by_level.draw(accuracy_by_level.summary(runs))
    by_title = {axes.get_title(loc="left").split("  ")[0]: axes for axes in figure.axes}
    assert (len(by_title["initializer"].patches), len(by_title["learning rate"].patches)) == (1, 2)
