"""Comparisons on the page: the same as `compare`, and as numbers by hand; told where there is something to compare."""

import re
from dataclasses import replace

import numpy as np
import page_results as made
import pandas as pd
import pytest
from scipy import stats

from initbench.analysis import page
from initbench.analysis.comparison import compare
from initbench.analysis.measures import MEASURES
from initbench.analysis.observations import observations
from initbench.analysis.page import alternatives_comparisons, comparisons, findings
from initbench.analysis.page.answers import Answer, keep
from initbench.analysis.results import Results


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return Results(made.tuned(tmp_path_factory.mktemp("tuned") / "t"))


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """6 x 3 x 3 x 2 settings and 4 seeds, nothing tuned; every twentieth run diverged."""
    levels = {**made.FEW, "depth": [1, 2], "seed": [0, 1, 2, 3]}
    return Results(made.training(tmp_path_factory.mktemp("grid") / "g", **levels))


@pytest.fixture
def without_other_figures(monkeypatch):
    """A page has its comparisons' figures alone: the others take seconds to draw."""
    monkeypatch.setattr(page, "figures", lambda *_: ())


@pytest.mark.parametrize("spec", ["final(of=test_accuracy)", "final(of=test_loss)", "gap", "gap(of=loss)", "diverged",
                                  "reached(value=0.5)", "reached(value=0.5, of=val_loss)"])  # fmt: skip
def test_measures_of_runs_are_the_same_run_by_run(grid, spec):
    measure = MEASURES.make(spec)
    found, expected = (observations(grid, one) for one in (measure, replace(measure, by_row=None)))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_differences_and_ranks_are_those_of_compare(grid):
    found = comparisons.of_training(grid)
    pd.testing.assert_frame_equal(found.differences, compare(grid, "init"))
    pd.testing.assert_frame_equal(found.ranks, compare(grid, "init", table="ranks"))


def test_a_difference_is_that_of_the_rates_chosen_on_validation(tuned):
    found = comparisons.of_training(tuned)
    assert (found.by, found.baseline, found.tune) == ("init", "he_normal", ("lr",))
    at = tuned.runs[tuned.runs["lr"] == 0.1].pivot(index="seed", columns="init", values="test_accuracy")
    means = at.mean()
    row = found.differences.set_index("level").loc["xavier_normal"]
    assert row["difference"] == pytest.approx(means["xavier_normal"] - means["he_normal"], rel=1e-12)
    paired = at["xavier_normal"] - at["he_normal"]  # the choice never varies: the error is that of the mean
    half = stats.t.ppf(0.975, 11) * stats.sem(paired)
    assert row["high"] - row["difference"] == pytest.approx(half, rel=0.05)


def test_a_level_that_shares_no_setting_with_the_baseline_is_left_out_and_told(tuned):
    found = comparisons.of_training(tuned)
    assert found.apart == ("zeros",)
    assert found.differences["level"].tolist() == ["xavier_normal", "normal"]
    assert found.note.endswith("Left out, as they share no setting with it: zeros.")


def test_the_answer_is_the_comparison_with_its_interval(tuned):
    found = findings.of_results(tuned)
    row = found.comparison.differences.set_index("level").loc["xavier_normal"]
    ends = f"{-row['high']:.3g} to {-row['low']:.3g}"
    assert found.lead.startswith(
        f"No init is shown to be ahead of he_normal; xavier_normal is furthest behind, by {-row['difference']:.3g} of"
        f" test accuracy (95 % interval {ends}, n = 12 seeds)"
    )
    assert "1 is lower (xavier_normal), 1 is undecided (normal)" in found.lead
    assert next(fact for fact in found.facts if fact.label == "Told apart").value == "1 of 2"


def test_a_level_ahead_is_named_first(tuned):
    table = comparisons.of_training(tuned).differences
    upside_down = table.assign(difference=-table["difference"], low=-table["high"], high=-table["low"],
                               word=table["word"].replace("lower", "higher"))  # fmt: skip
    told = comparisons.Comparison("init", (), (), (), upside_down, pd.DataFrame()).sentence
    assert told.startswith("xavier_normal is ahead of he_normal by 0.")


def test_of_a_sweep_the_best_configuration_comes_first(grid):
    found = findings.of_results(grid)
    assert re.match(r"Test accuracy 0\.\d+ .* at best, with init .*\. No init is shown to be ahead of", found.lead)
    assert found.comparison.averaged == ("activation", "depth", "lr")


@pytest.mark.parametrize("levels", [{"seed": [0]}, {"init": ["he_normal"], "activation": ["relu"], "lr": [0.1]}])
@pytest.mark.usefixtures("without_other_figures")
def test_one_seed_or_one_level_is_no_comparison(tmp_path, levels):
    folder = made.training(tmp_path / "t", **{**made.FEW, **levels})
    assert comparisons.of_training(Results(folder)) is None
    assert 'id="compared"' not in page.html(folder)


def test_fewer_than_ten_blocks_have_no_ranks(tmp_path):
    few = {**made.FEW, "activation": ["relu"], "lr": [0.1], "seed": range(9)}
    nine = comparisons.of_training(Results(made.training(tmp_path / "nine", **few)))
    ten = comparisons.of_training(Results(made.training(tmp_path / "ten", **{**few, "seed": range(10)})))
    assert (len(nine.ranks), len(ten.ranks)) == (0, 6)


def test_without_an_initializer_the_first_factor_is_compared(tmp_path):
    folder = made.training(tmp_path / "t", **{**made.FEW, "init": ["he_normal"]})
    found = comparisons.of_training(Results(folder))
    assert (found.by, found.baseline) == ("activation", "relu")


@pytest.mark.usefixtures("without_other_figures")
def test_where_something_was_expected_a_comparison_is_folded(tmp_path):
    folder = made.tuned(tmp_path / "t")
    assert '<section id="compared"' in page.html(folder)
    claims = pd.DataFrame({"claim": ["c"], "outcome": "held", "estimate": 1.0, "low": 0.5, "high": 1.5, "bound": "",
                           "least": 0.0, "most": np.inf, "published": "", "n": 3, "measure": "m", "method": "m",
                           "explained": "", "differs": ""})  # fmt: skip
    keep(Answer("t", "Q?", outcomes=claims), folder, {"": Results(folder)})
    text = page.html(folder)
    assert '<section id="compared"' not in text
    assert text.count('<details class="compared"><summary>Levels of init against he_normal</summary>') == 1


@pytest.mark.usefixtures("without_other_figures")
def test_each_part_has_the_files_of_its_comparison(tmp_path):
    folder = tmp_path / "study"
    parts = {part: Results(made.tuned(folder / part)) for part in ("early", "late")}
    keep(Answer("study", "Q?"), folder, parts)
    (_, *images) = page.write_all(folder, tmp_path / "figures")
    for part, results in parts.items():
        shown, numbers = (tmp_path / "figures" / f"{part}_differences_by_init.{kind}" for kind in ("png", "csv"))
        assert shown in images
        wanted = comparisons.of_training(results).differences["difference"]
        assert sorted(pd.read_csv(numbers)["difference"]) == pytest.approx(sorted(wanted))


def test_the_figures_of_a_comparison_in_words(tuned):
    forest, ranks = comparisons.of_training(tuned).figures()
    told = alternatives_comparisons.differences(forest.summary)
    assert told.startswith("Against he_normal. normal undecided: ")
    assert re.search(r"xavier_normal lower: −0\.\d+ \(−0\.\d+ to −0\.\d+\)\.$", told)
    best = ranks.summary.iloc[0]
    assert alternatives_comparisons.ranks(ranks.summary).startswith(
        f"Mean ranks over 12 blocks, 1 is best: {best['level']} {best['rank']:.2f}, "
    )
    assert alternatives_comparisons.ranks(ranks.summary).endswith(f"Told apart from {best['level']}: xavier_normal.")
