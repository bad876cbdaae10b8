"""Comparisons: against published examples, scipy's tests asked another way, and simulations with a known truth."""

import itertools
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn.linear_model import LinearRegression

import initbench as ib
from initbench.analysis import comparison
from initbench.analysis.comparison import anova, paired, ranking, rates, tuned
from initbench.analysis.comparison.scores import Scores, scores
from initbench.analysis.figures import forest, rank_diagram
from initbench.analysis.results import Results
from initbench.cli import main
from initbench.core.errors import UsageError

SLEEP = [[0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]]
"""Student 1908: hours of sleep gained with two drugs; R's data set `sleep`."""
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], float)
"""Darwin's maize, as Fisher 1935 (The Design of Experiments, section 21) permutes its signs."""
DEPRESSION = [[0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29],
              [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]]  # fmt: skip
"""Hollander & Wolfe 1973, page 29; the example of R's wilcox.test."""
ROUNDING = np.array([
    5.40, 5.50, 5.55, 5.85, 5.70, 5.75, 5.20, 5.60, 5.50, 5.55, 5.50, 5.40, 5.90, 5.85, 5.70, 5.45, 5.55, 5.60, 5.40,
    5.40, 5.35, 5.45, 5.50, 5.35, 5.25, 5.15, 5.00, 5.85, 5.80, 5.70, 5.25, 5.20, 5.10, 5.65, 5.55, 5.45, 5.60, 5.35,
    5.45, 5.05, 5.00, 4.95, 5.50, 5.50, 5.40, 5.45, 5.55, 5.50, 5.55, 5.55, 5.35, 5.45, 5.50, 5.55, 5.50, 5.45, 5.25,
    5.65, 5.60, 5.40, 5.70, 5.65, 5.55, 6.30, 6.30, 6.25]).reshape(22, 3)  # fmt: skip
"""Hollander & Wolfe 1973, page 140: times to round first base; the example of R's friedman.test."""
AUC = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970]])  # fmt: skip
"""Demšar 2006, table 6: C4.5, with m, with cf, with both, on 14 data sets; of two at 0.975 it ranks one first."""


TENTHS = {"a": (0.1, 0.2, 0.3), "b": (0.3, 0.2, 0.1), "c": (0.2, 0.3, 0.1)}
"""Whose sums differ by rounding alone."""


def table_of(levels, by="init", block="seed"):
    """Scores of levels (rows) by seed, or by data set."""
    rows = [(f"l{i}", j, value) for i, values in enumerate(levels) for j, value in enumerate(values)]
    frame = pd.DataFrame(rows, columns=[by, block, "value"])
    return Scores(frame if block == "seed" else frame.assign(seed=0), by, "metric")


def difference(levels, **options):
    return paired.differences(table_of(levels), "l0", **options).iloc[0]


def test_the_paired_t_interval_is_that_of_students_sleep():
    """R: t.test(extra ~ group, paired = TRUE): t = -4.0621, p = 0.002833, -2.4598858 to -0.7001142."""
    found = difference(SLEEP)
    assert found.difference == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found[["n", "lost", "word", "wins", "settings"]].tolist() == [10, 0, "higher", 0.95, 1]
    assert found.effect == pytest.approx(4.0621 / np.sqrt(10) * (1 - 3 / 35), rel=1e-4)


def test_wilcoxon_is_hollander_and_wolfes():
    """R: one-sided p = 0.01953."""
    assert difference(DEPRESSION, test="wilcoxon").p == pytest.approx(2 * 0.01953125)


def test_the_permutation_of_signs_is_fishers():
    """Of 32,768 sums 863 are as large as Darwin's 314, and as many as small: Fisher's 5.267 %."""
    sums = np.array([np.dot(signs, MAIZE) for signs in itertools.product((-1, 1), repeat=15)])
    assert (sums >= 314).sum() == 863
    found = difference([np.zeros(15), MAIZE], test="permutation")
    assert found.p == pytest.approx(2 * 863 / 2**15, rel=1e-12)


def test_friedman_is_that_of_the_rounding_times():
    """R: chi-squared = 11.143, df = 2, p = 0.003805."""
    found = ranking.ranks(table_of(ROUNDING.T, block="player"), lower_is_better=True)
    assert found["p_friedman"].iloc[0] == pytest.approx(0.003805, abs=5e-7)
    assert found["blocks"].iloc[0] == 22


def test_ranks_and_the_critical_difference_are_demsars():
    """Mean ranks 3.143, 2.000, 2.893, 1.964; with alpha = 0.05 CD = 2.569 sqrt(4·5/(6·14)) = 1.25."""
    found = ranking.ranks(table_of(AUC.T, block="data")).set_index("level")["rank"]
    assert found.round(3).loc[["l0", "l1", "l2", "l3"]].tolist() == [3.143, 2.000, 2.893, 1.964]
    table = ranking.ranks(table_of(AUC.T, block="data"))
    assert table["level"].tolist() == ["l3", "l1", "l2", "l0"]
    assert table["critical_difference"].iloc[0] == pytest.approx(1.25, abs=0.005)
    assert table["not_worse_than_best"].tolist() == [True, True, True, True]


def test_a_lost_block_ranks_last_and_one_that_a_level_lacks_is_none():
    frame = pd.DataFrame([(level, depth, 0, value) for depth, values in ((1, (3, 2, 1)), (2, (np.nan, 2, 1)))
                          for level, value in zip("abc", values, strict=True)] + [("a", 3, 0, 9)],
                         columns=["init", "depth", "seed", "value"])  # fmt: skip
    found = ranking.ranks(Scores(frame, "init", "accuracy")).set_index("level")
    assert found["rank"].to_dict() == {"a": 2.0, "b": 1.5, "c": 2.5}
    assert (found["blocks"] == 2).all()
    with pytest.raises(UsageError, match="three levels or more; init has 2"):
        ranking.ranks(Scores(frame[frame["init"] != "a"], "init", "accuracy"))


def test_mcnemar_and_clopper_pearson_are_the_published_ones():
    """exact2x2 (Fay 2010): 9 and 2 discordant pairs: p = 0.06543; R: binom.test(682, 925): 0.7076683 to 0.7654066."""
    pairs = [(1, 1)] * 21 + [(1, 0)] * 9 + [(0, 1)] * 2 + [(0, 0)] * 12
    found = rates.divergence(table_of(np.array(pairs, float).T), "l1").set_index("level")
    assert found.loc["l0", "p"] == pytest.approx(0.06543, abs=5e-6)
    assert found.loc["l0", ["only_level", "only_baseline"]].tolist() == [9, 2]
    many = rates.divergence(table_of([[1.0] * 682 + [0.0] * 243, [0.0] * 925]), "l1").iloc[0]
    assert (many.low, many.high) == pytest.approx((0.7076683, 0.7654066), abs=1e-7)


def test_holms_correction_is_that_of_r():
    """R: p.adjust(c(0.04, 0.01, 0.03, 0.02, 0.05), "holm")."""
    assert paired.holm(np.array([0.04, 0.01, 0.03, 0.02, 0.05])) == pytest.approx([0.09, 0.05, 0.09, 0.08, 0.09])
    assert np.isnan(paired.holm(np.array([np.nan, 0.5]))).tolist() == [True, False]


def test_equivalence_is_two_one_sided_tests():
    differ = np.array([0.004, -0.002, 0.001, 0.003, -0.004, 0.002])
    found = difference([np.zeros(6), differ], bound=0.01)
    above = stats.ttest_1samp(differ, -0.01, alternative="greater").pvalue
    below = stats.ttest_1samp(differ, 0.01, alternative="less").pvalue
    assert found.p_equivalent == pytest.approx(max(above, below))
    assert found.word == "equivalent"
    assert difference([np.zeros(6), differ], bound=0.0005).word == "undecided"


def test_explained_variance_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    rows = [(a, b, c, 0, rng.normal() + 2 * a - b * c) for a in range(3) for b in range(4) for c in range(2)]
    found = anova.explained(Scores(pd.DataFrame(rows, columns=["a", "b", "c", "seed", "value"]), "a", "metric"))
    table = pd.DataFrame(rows, columns=["a", "b", "c", "seed", "value"])

    def r_squared(names):
        dummies = pd.get_dummies(table[names].astype(str).agg("-".join, axis=1))
        return LinearRegression().fit(dummies, table["value"]).score(dummies, table["value"])

    told = found.set_index(["factor", "and"])["explained"]
    assert told["a", ""] == pytest.approx(r_squared(["a"]), abs=1e-12)
    assert told["b", "c"] == pytest.approx(r_squared(["b", "c"]) - r_squared(["b"]) - r_squared(["c"]), abs=1e-12)
    assert len(told) == 6
    assert told.sum() < 1


def test_a_bootstrap_of_many_seeds_is_the_t_interval_and_of_few_is_none():
    differ = np.random.default_rng(3).normal(0.1, 1, 200)
    t = stats.ttest_1samp(differ, 0).confidence_interval()
    assert paired.bootstrap(differ) == pytest.approx((t.low, t.high), abs=0.02)
    assert np.isnan(paired.bootstrap(differ[:7])).all()
    assert paired.bootstrap(np.ones(9)) == (1, 1)


def covers(truth, made):
    """The share of simulated intervals that hold the truth lies within four standard errors of 95 %, or above."""
    share, n = np.mean([low < truth < high for low, high in made]), len(made)
    return share > 0.95 - 4 * np.sqrt(0.95 * 0.05 / n), share


def test_intervals_cover_what_they_say(monkeypatch):
    monkeypatch.setattr(paired, "RESAMPLES", 999)
    rng, t, boot = np.random.default_rng(1), [], []
    for _ in range(250):
        found = difference([rng.normal(0, 1, 10), rng.normal(0.5, 1, 10)])
        t.append((found.low, found.high))
        boot.append((found.bootstrap_low, found.bootstrap_high))
    assert covers(0.5, t)[0], covers(0.5, t)
    assert covers(0.5, boot)[0], covers(0.5, boot)
    assert covers(0.5, t)[1] < 0.99  # and are not wider than need be


@pytest.mark.parametrize("test", list(paired.TESTS))
def test_without_a_difference_few_are_found(test):
    rng = np.random.default_rng(2)
    p = np.array([paired.TESTS[test](rng.normal(0, 1, 9)) for _ in range(400)])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 400))


def tuned_world(rng, seeds):
    """Two initializers at four learning rates; the best of the second is a close call."""
    means = {"a": [0.80, 0.85, 0.86, 0.70], "b": [0.60, 0.80, 0.845, 0.84]}
    of_seeds, rows = rng.normal(0, 0.02, seeds), []
    for (init, row), seed in itertools.product(means.items(), range(seeds)):
        for lr, mean in enumerate(row):
            base = mean + of_seeds[seed] + rng.normal(0, 0.01)
            rows.append((init, lr, seed, base + rng.normal(0, 0.005), base + rng.normal(0, 0.005)))
    frame = pd.DataFrame(rows, columns=["init", "lr", "seed", "val", "value"])
    return Scores(frame, "init", "test_accuracy", tune=("lr",))


def test_a_tuned_comparison_covers_too_and_is_judged_where_validation_chose():
    rng = np.random.default_rng(4)
    found = [paired.differences(tuned_world(rng, 5), "a").iloc[0] for _ in range(200)]
    truth = np.mean([row.difference for row in found])
    holds, share = covers(truth, [(row.low, row.high) for row in found])
    assert holds, share
    world = tuned_world(rng, 5)
    best = world.frame.groupby(["init", "lr"])[["val", "value"]].mean().reset_index()
    best = best.loc[best.groupby("init")["val"].idxmax()].set_index("init")["value"]
    assert paired.differences(world, "a").iloc[0].difference == pytest.approx(best["b"] - best["a"])


def test_without_a_choice_the_bootstraps_error_is_that_of_the_mean():
    world = tuned_world(np.random.default_rng(5), 12)
    single = Scores(world.frame[world.frame["lr"] == 2], "init", "test_accuracy", tune=("lr",))
    wide = single.frame.pivot(index="seed", columns="init", values="value")
    assert tuned.standard_error(single, "b", "a") == pytest.approx(stats.sem(wide["b"] - wide["a"]), rel=0.1)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    study = ib.Study(
        compare={"init": ["he", "xavier", "normal"], "depth": [1, 2]},
        tune={"lr": [0.1, 1e25]},
        fix={"width": 8, "steps": 20, "activation": "relu"},
        seeds=3,
    )
    return ib.run(study, tmp_path_factory.mktemp("compared") / "out")


def test_a_folder_is_compared_by_tuned_pairs_of_seeds(results):
    found = comparison.compare(results, "init", "he_normal").set_index("level").loc["xavier_normal"]
    runs, means = results.runs, []
    for depth in (1, 2):
        for init in ("he_normal", "xavier_normal"):
            rows = runs[(runs["init"] == init) & (runs["depth"] == depth)]
            val = rows.groupby("lr")["val_accuracy"].mean()
            means.append(rows[rows["lr"] == val.idxmax()]["test_accuracy"].mean())
    assert found["difference"] == pytest.approx((means[1] + means[3] - means[0] - means[2]) / 2)
    assert (found["n"], found["settings"]) == (3, 2)


def test_what_diverged_is_zero_or_missing_and_counted(results):
    assert (results.runs["status"] == "diverged").any()
    lost = comparison.compare(results, "init", "he_normal", metric="test_loss", tune=()).set_index("level")
    assert lost.loc["normal", "lost"] == 3
    assert np.isnan(lost.loc["normal", "difference"])
    assert "normal undecided (3 seeds without a number)" in comparison.answer(lost.reset_index())
    rate = comparison.compare(results, "init", table="divergence").set_index("level")
    diverged = results.runs[results.runs["init"] == "normal"]["status"] == "diverged"
    assert rate.loc["normal", ["diverged", "n"]].tolist() == [diverged.sum(), 12]


def test_a_measure_of_growth_is_compared_as_a_ratio(tmp_path):
    asked = "variance --depth=4 --width=32 --batch=8 --seeds=4 --init=he --init=xavier --activation=relu --no-figures"
    CliRunner().invoke(main, [*asked.split(), f"--out={tmp_path / 'v'}"])
    found = ib.compare(tmp_path / "v", by="init", baseline="he").iloc[0]
    assert found["difference"] == pytest.approx(0.5, rel=1e-5)  # one draw, scaled: exact in every pair
    told = CliRunner().invoke(main, ["compare", f"{tmp_path / 'v'}", "--by=init", "--no-figures"]).output
    assert told.split("\n")[0].split()[2] == "ratio"
    assert f"xavier_normal lower (×{found['difference']:.4g}, " in told


def test_the_command_tells_tables_and_names_what_is_wrong(results):
    def run(*words):
        return CliRunner().invoke(main, ["compare", str(results.folder), *words])

    told = run("--by=init", "--baseline=xavier", "--where=depth=1", "--bound=0.5", f"--reports={results.folder.parent}")
    assert told.exit_code == 0
    assert "test_accuracy against xavier_normal, 3 seeds: he_normal" in told.output
    assert "tuned anew in each resample; assumes independent seeds, normal differences." in told.output
    assert (results.folder.parent / "out/differences_by_init.png").is_file()
    frame = pd.DataFrame(json.loads(run("--by=init", "--table=explained", "--format=json").output))
    assert set(frame["factor"]) == {"init", "depth", "lr", "seed"}
    for words, message in {
        ("--by=inti",): "no factor 'inti' varies here; did you mean 'init'?",
        ("--by=init", "--baseline=zeros"): "nothing has init = zeros; accepted: he_normal, xavier_normal",
        ("--by=init", "--baseline=xavir"): "unknown initializer 'xavir'; did you mean 'xavier'?",
        ("--by=init", "--where=depth=7"): "nothing has depth = 7; accepted: 1, 2",
        ("--by=lr", "--tune=lr"): "the factor 'lr' is either compared or tuned",
        ("--by=init", "--tune=foo"): "no factor 'foo' varies here",
        ("--by=init", "--test=wilcoxon"): "test 'wilcoxon': a tuned comparison is tested by t alone",
        ("--by=init", "--test=u", "--tune=lr"): "unknown test 'u'; accepted: t, wilcoxon, permutation",
        ("--by=init", "--metric=accuracy"): "no column 'accuracy'",
    }.items():
        found = run(*words)
        assert found.exit_code == 2, words
        assert message in found.output


def test_a_run_without_curves_takes_no_others_validation():
    """Of six runs the first was not made and has no curve: the others' validation still chooses their rate."""
    factors = [(init, lr) for init in "abc" for lr in (0.1, 0.01)]
    runs = pd.DataFrame(factors, columns=["init", "lr"]).assign(
        cell_id=range(6),
        seed=0,
        status=["impossible", *["finished"] * 5],
        val_accuracy=[np.nan, 0.9, 0.2, 0.8, 0.5, 0],
    )[["cell_id", "init", "lr", "seed", "status", "val_accuracy"]]
    curves = pd.DataFrame({"cell_id": range(1, 6), "step": 7, "train_loss": np.arange(1.0, 6.0)})
    folder = SimpleNamespace(study={"kind": "train", "tune": {"lr": []}}, runs=runs, table={"curves": curves}.get)
    found = scores(folder, "init", "recorded(of=train_loss)")
    assert found.frame[["init", "lr", "value", "val"]].to_numpy().tolist() == [
        ["a", 0.01, 1, 0.9], ["b", 0.1, 2, 0.2], ["b", 0.01, 3, 0.8], ["c", 0.1, 4, 0.5],
        ["c", 0.01, 5, 0]]  # fmt: skip
    assert found.tuned.frame["value"].tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("metric", "best"),
    [("test_loss", "low"), ("final(of=test_loss)", "low"), ("test_accuracy", "high"), ("gap", "low"),
     ("reached(value=0.3)", "high"), ("average(of=condition)", "low"), ("steps", None), ("average(of=q)", None)],
)  # fmt: skip
def test_ranks_know_which_end_of_a_metric_is_the_best(monkeypatch, metric, best):
    frame = table_of([[0.1] * 3, [0.2] * 3, [0.4] * 3]).frame.replace({"l0": "low", "l1": "middle", "l2": "high"})
    monkeypatch.setattr(comparison, "scores", lambda *_: Scores(frame, "init", metric))
    folder = Results.__new__(Results)
    if best is None:
        with pytest.raises(UsageError, match="neither more nor less is better"):
            comparison.compare(folder, "init", metric=metric, table="ranks")
    else:
        assert comparison.compare(folder, "init", metric=metric, table="ranks")["level"].iloc[0] == best


def test_levels_that_tie_everywhere_are_not_told_apart():
    tied = ranking.ranks(table_of(np.full((3, 4), 0.1)))
    assert tied[["rank", "p_friedman", "p_iman_davenport"]].drop_duplicates().to_numpy().tolist() == [[2, 1, 1]]
    assert "Friedman's p = 1." in rank_diagram.draw(rank_diagram.summary(tied)).texts[-1].get_text().replace("\n", " ")


@pytest.mark.parametrize(("levels", "blocks"), [(7, 33), (10, 5), (10, 20), (3, 2)])
def test_where_all_blocks_agree_iman_and_davenports_f_is_infinite(levels, blocks):
    found = ranking.ranks(table_of(np.tile(np.arange(levels, dtype=float)[:, None], blocks)))
    assert (found["p_iman_davenport"] == 0).all()


def test_equal_means_tie_whatever_their_rounding():
    rows = [(level, depth, seed, value) for depth in range(6) for level, values in TENTHS.items()
            for seed, value in enumerate(values)]  # fmt: skip
    assert len({sum(values) / 3 for values in TENTHS.values()}) > 1  # they do differ
    frame = pd.DataFrame(rows, columns=["init", "depth", "seed", "value"])
    found = ranking.ranks(Scores(frame, "init", "accuracy"))
    assert found[["rank", "p_friedman", "p_iman_davenport"]].drop_duplicates().to_numpy().tolist() == [[2, 1, 1]]


def test_explained_variance_says_which_cells_are_missing():
    rows = [(a, b, 0, float(a)) for a in range(3) for b in range(4) if (a, b) not in {(0, 2), (0, 3)}]
    found = anova.explained(Scores(pd.DataFrame(rows, columns=["a", "b", "seed", "value"]), "a", "metric"))
    assert found.set_index(["factor", "and"])["explained"]["b", ""] > 0.05  # and it has no effect
    assert (found["assumes"] == "a full grid, every cell once; 2 of 12 cells are missing: factors are mixed up").all()


@pytest.mark.parametrize("written", ["1e25", 1e25, "10000000000000000905969664", "1e+25"])
def test_a_level_may_be_written_as_any_number_is(results, written):
    table = comparison.compare(results, "init", "he_normal", where={"lr": written}, tune=())
    assert table["n"].tolist() == [3, 3]
    assert comparison.compare(results, "lr", written, tune=())["baseline"].tolist() == [1e25]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"metric": "name"}, "the column 'name' holds words"), ({"bound": np.nan}, "a number above 0, not nan"),
     ({"bound": np.inf}, "a number above 0, not inf"), ({"bound": 0}, "a number above 0, not 0")],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(results, options, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        comparison.compare(results, "init", **options)


def test_a_factor_that_is_tuned_twice_is_tuned_once(results):
    once, twice = (comparison.compare(results, "init", tune=["lr"] * times) for times in (1, 2))
    pd.testing.assert_frame_equal(once, twice)


def test_wins_are_missing_where_a_seed_is_lost():
    lost = difference([[1.0, 2.0, 3.0], [2.0, np.nan, 4.0]])
    assert np.isnan(lost["wins"])
    assert lost["lost"] == 1


def test_where_nothing_varies_nothing_is_explained():
    with pytest.raises(UsageError, match="no factor varies among the networks that have a number of metric"):
        anova.explained(table_of([[0.5], [np.nan]]))


def test_practically_no_difference_of_ratios_is_a_ratio():
    """The bound is of the logarithm: within ±0.1 is between exp(-0.1) and exp(0.1), around a ratio of 1."""
    logs = table_of([[0.0] * 5, [0.01, 0.02, 0.0, 0.01, 0.01]])
    numbers = forest.summary(paired.differences(replace(logs, ratio=True), "l0", bound=0.1))
    assert numbers["word"].tolist() == ["equivalent"]
    figure = forest.draw(numbers)
    band = figure.axes[0].patches[0].get_extents().transformed(figure.axes[0].transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((np.exp(-0.1), np.exp(0.1)))
    assert "Shaded: ×0.905 to ×1.11, practically" in figure.texts[-1].get_text().replace("\n", " ")


def test_scores_of_a_study_have_no_choice_where_one_level_is_tuned(results):
    assert scores(results, "init").tune == ("lr",)
    assert scores(results, "lr").tune == ()


def test_the_forest_plot_shows_every_interval_and_says_what_is_lost():
    table = paired.differences(table_of([*SLEEP, np.array(SLEEP[0]) + 0.001, [np.nan] * 10]), "l0", bound=0.1)
    numbers = forest.summary(table)
    assert numbers["level"].tolist() == ["l1", "l2", "l3"]
    axes = forest.draw(numbers).axes[0]
    lines = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][1:]  # the first is the baseline
    assert np.allclose(lines, numbers[["low", "high"]].dropna())
    assert [text.get_text() for text in axes.texts] == ["higher", "equivalent", "10 seeds without a number"]


def test_the_rank_diagram_joins_what_is_not_told_apart():
    numbers = rank_diagram.summary(ranking.ranks(table_of(AUC.T, block="data")))
    axes = rank_diagram.draw(numbers).axes[0]
    bars = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 3.5]
    assert np.allclose(bars, [[1.964 - 0.04, 3.143 + 0.04]], atol=1e-3)  # all four are within 1.25
    names = [text.get_text().strip() for text in axes.texts]
    assert names == ["l3 (1.96)", "l1 (2.00)", "l2 (2.89)", "l0 (3.14)", "critical difference 1.25"]


def test_figures_of_a_comparison_name_the_factor():
    differences = forest.draw(forest.summary(paired.differences(table_of(SLEEP), "l0"), "batch_size"))
    assert differences.get_suptitle().endswith(" by batch size, against l0")
    assert differences.axes[0].get_xlabel().endswith(", difference from l0")
    ranks = rank_diagram.draw(rank_diagram.summary(ranking.ranks(table_of(AUC.T, block="data")), "lr"))
    assert ranks.get_suptitle() == "Which learning rate is best, most of the time?"


@pytest.mark.parametrize(("p", "told"), [(0.0123, "p = 0.0123."), (0.0, "p < 0.001.")])
def test_no_p_is_told_to_be_zero(p, told):
    numbers = rank_diagram.summary(ranking.ranks(table_of(AUC.T, block="data"))).assign(p_friedman=p)
    assert f"Friedman's {told}" in rank_diagram.draw(numbers).texts[-1].get_text().replace("\n", " ")
