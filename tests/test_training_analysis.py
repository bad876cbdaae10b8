"""What is said of the table `runs`: ranks, and the variance that factors explain."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from initbench.analysis.training import best, counts, factors, varied


def table(**columns):
    """The table `runs` of a full grid of three factors and two seeds, with a noisy test accuracy."""
    grid = pd.MultiIndex.from_product([["he", "xavier", "zeros"], [0.1, 0.01], [1, 2], [0, 1]],
                                      names=["init", "lr", "depth", "seed"]).to_frame(index=False)  # fmt: skip
    noise = np.random.default_rng(0).normal(0, 0.02, len(grid))
    accuracy = 0.5 + 0.3 * (grid["init"] == "he") - 0.05 * grid["depth"] + noise
    runs = grid.assign(activation="relu", regularized=False, status="finished", val_accuracy=accuracy + 0.01,
                       test_accuracy=accuracy, test_loss=1 - accuracy, training_id=range(len(grid)))  # fmt: skip
    runs.insert(0, "name", runs["init"] + "-" + runs["lr"].astype(str) + "-" + runs["depth"].astype(str))
    return runs.assign(**columns)


def test_only_factors_with_several_levels_vary():
    assert varied(table()) == ["init", "lr", "depth", "seed"]


def test_explained_variance_is_the_r_squared_of_each_factor_alone():
    runs = table()
    told = factors(runs).set_index("factor")
    for name in ("init", "lr", "depth", "seed"):
        dummies = pd.get_dummies(runs[name].astype(str))
        fit = LinearRegression().fit(dummies, runs["test_accuracy"])
        assert told.explained[name] == pytest.approx(fit.score(dummies, runs["test_accuracy"]), abs=1e-12)
    assert list(told.index[:2]) == ["init", "depth"]
    assert (told.best["init"], told.best["depth"], told.worst["depth"]) == ("he", "1", "2")
    assert told.mean_at_best["init"] == pytest.approx(runs[runs["init"] == "he"].test_accuracy.mean())


def test_diverged_runs_are_told_by_level_and_in_no_mean():
    runs = table()
    lost = (runs["init"] == "zeros") & (runs["seed"] == 0)
    runs.loc[lost, ["val_accuracy", "test_accuracy", "test_loss"]] = np.nan
    runs.loc[lost, "status"] = "diverged"
    told = factors(runs).set_index("factor")
    assert (told.most_diverged["init"], told.share_diverged["init"]) == ("zeros", 0.5)
    assert told.share_diverged["seed"] == pytest.approx(1 / 3)
    assert counts(runs) == "24 runs of 24 trainings: 20 finished, 4 diverged"
    ranked = best(runs)
    assert ranked.name[len(ranked) - 4 :].str.startswith("zeros").all()  # a diverged seed counts as 0
    assert list(ranked.loc[ranked.name.str.startswith("zeros"), "diverged"]) == [1] * 4


def test_the_best_by_validation_come_first_as_means_over_seeds():
    runs = table()
    ranked = best(runs, most=3)
    assert list(ranked.columns[:3]) == ["name", "val_accuracy", "test_accuracy"]
    assert len(ranked) == 3
    top = runs[runs.name == ranked.name[0]]
    assert ranked.val_accuracy[0] == pytest.approx(top.val_accuracy.mean())
    assert ranked.val_accuracy[0] == runs.groupby("name").val_accuracy.mean().max()
    assert list(ranked.seeds) == [2, 2, 2]


def test_a_factor_outside_of_the_name_tells_rows_apart():
    both = pd.concat([table(), table(regularized=True)], ignore_index=True)
    assert len(best(both, most=100)) == 24
    assert "regularized" in best(both)


def test_steps_and_the_seed_of_the_data_are_factors_where_they_were_chosen():
    short, long = table(steps=1, data_seed=1), table(steps=200, data_seed=2)
    both = pd.concat([short, long], ignore_index=True)
    asked = ["name", "init", "lr", "depth", "seed", "steps", "data_seed"]
    both = both[[*asked, *both.columns.drop(asked)]]
    assert {"steps", "data_seed"} <= set(varied(both))
    assert "steps" not in varied(both.assign(epochs=1)[["epochs", *both]])
    assert "data_seed" not in varied(both.assign(data_seed=both["seed"]))
    assert len(best(both, most=100)) == 24


def test_runs_that_all_agree_explain_nothing():
    told = factors(table(test_accuracy=0.1))
    assert (told.explained == 0).all()
