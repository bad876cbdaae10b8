"""Paths of training and predicted curves: what is told and drawn of them, by numbers made by hand."""

import numpy as np
import page_results as made
import pandas as pd
import pytest

from initbench.analysis import page
from initbench.analysis.figures import landscape, predicted_curves
from initbench.analysis.page import alternatives_comparisons, caveats, content, findings
from initbench.analysis.results import Results
from initbench.cli.run import _tell_kind


@pytest.fixture(scope="module")
def bowl(tmp_path_factory):
    return Results(made.landscape(tmp_path_factory.mktemp("bowl") / "b"))


@pytest.fixture(scope="module")
def halving(tmp_path_factory):
    return Results(made.curve(tmp_path_factory.mktemp("halving") / "h"))


def test_a_row_a_training_says_where_its_path_ends(bowl):
    found = landscape.ends(bowl.curves).set_index("path")
    assert found.index.tolist() == ["lr 0.1", "lr 0.5"]
    row = found.loc["lr 0.1"]
    assert row["loss_at_end"] == pytest.approx(np.sqrt(0.36 * 0.37))  # geometric mean of the two seeds
    assert row["loss_at_start"] == pytest.approx(np.sqrt(4.35 * 4.36))
    assert (row["updates"], row["seeds"], row["diverged"]) == (10, 2, 0)
    assert found["detour"].tolist() == pytest.approx([1.1, 1.5])


def test_the_loss_is_drawn_with_each_path_over_it(bowl):
    numbers = landscape.summary(bowl.table("landscapes"), bowl.curves)
    assert numbers["source"].value_counts().to_dict() == {"loss": 81, "path": 6}  # of the first seed alone
    axes = landscape.draw(numbers).axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.lines if line.get_label().startswith("lr")}
    np.testing.assert_array_equal(lines["lr 0.1"], [[-2, 0.5], [-1, 0.5], [-0.1, 0.5]])
    assert set(lines) == {"lr 0.1", "lr 0.5"}
    np.testing.assert_allclose(np.sort(axes.collections[0].get_array().ravel()),
                               np.sort(numbers.loc[numbers["source"] == "loss", "train_loss"]))  # fmt: skip


def test_each_surface_has_a_panel(bowl):
    grids, curves = bowl.table("landscapes"), bowl.curves
    two = [frame.assign(depth=depth) for frame in (grids, curves) for depth in (1, 2)]
    numbers = landscape.summary(pd.concat(two[:2]), pd.concat(two[2:]))
    titles = [axes.get_title(loc="left") for axes in landscape.draw(numbers).axes]
    assert [title for title in titles if title] == ["depth 1", "depth 2"]


def test_a_landscape_is_answered_with_the_lowest_end(bowl):
    found = findings.of_results(bowl)
    assert found.lead.startswith("Of 2 trainings lr 0.1 ends lowest, at a training loss of 0.365 from 4.35 (95 %")
    assert "1.1 times with lr 0.1, 1.5 times with lr 0.5" in found.lead
    assert next(fact for fact in found.facts if fact.label == "In the plane").value == "80 %"


def test_updates_to_a_share_are_counted(halving):
    found = predicted_curves.times(halving.curves).set_index("depth")
    assert found.loc[3, ["to_half", "to_a_tenth", "to_a_hundredth"]].tolist() == [1, 4, 7]  # 2^-4 < 0.1, 2^-7 < 0.01
    assert found.loc[1, ["to_half", "to_a_tenth"]].tolist() == [2, 7]
    assert np.isnan(found.loc[1, "to_a_hundredth"])


def test_predicted_curves_are_drawn_once_for_all_seeds(halving):
    axes = predicted_curves.draw(predicted_curves.summary(halving.curves)).axes[0]
    found = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(found["depth 3, lr 0.1"], 0.5 ** np.arange(13))
    np.testing.assert_allclose(found["depth 1, lr 0.1"], 0.5 ** (np.arange(13) / 2))


def test_a_curve_is_answered_with_the_first_and_the_last(halving):
    lead = findings.of_results(halving).lead
    assert lead.startswith("The training loss is first down to a tenth of its start with depth 3 at lr 0.1 after 4")
    assert "last with depth 1 at lr 0.1 after 7 updates" in lead
    assert "no interval" in lead


def test_tables_are_short_and_the_grid_of_the_loss_is_none_of_them(bowl, halving):
    for results, columns in ((bowl, "loss at end"), (halving, "to a tenth")):
        (table,) = content.tables({"": results})
        assert len(table.rows) == 2
        assert columns in table.columns
    assert len(page.html(bowl.folder)) < 200_000


def test_paths_and_curves_in_words(bowl, halving):
    told = alternatives_comparisons.paths(landscape.summary(bowl.table("landscapes"), bowl.curves))
    assert told.startswith("Loss in the plane: 0.1 to 8.1; it holds 80 % of the paths' variance. lr 0.1: training loss")
    assert "4.35 to 0.36 after 10 updates" in told
    told = alternatives_comparisons.predicted(predicted_curves.summary(halving.curves))
    assert "depth 3, lr 0.1: training loss 1 to 0.000244 in 12 updates, a tenth after 4." in told


def test_run_prints_where_paths_and_curves_end_and_not_the_grid(bowl, halving, capsys):
    for results, expected in (
        (bowl, landscape.ends(bowl.curves)),
        (halving, predicted_curves.times(halving.curves)),
    ):
        _tell_kind(results, "csv")
        assert capsys.readouterr().out == expected.to_csv(index=False)


def test_what_a_landscape_compares_and_holds_fixed_is_among_its_caveats(bowl):
    told = dict(caveats.rests("", bowl).rows)
    assert told["Compared"] == "lr 0.1, 0.5"
    assert told["Held fixed"] == "depth 1; points 2; resolution 9; margin 0.2"
