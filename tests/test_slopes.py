"""Slopes against width and depth: known ones found, intervals that cover, words."""

import json
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import t as student

import initbench
from initbench.analysis.figures import width_slopes
from initbench.analysis.slopes import (
    BOUND,
    LAW,
    STATISTICS,
    Slope,
    chance,
    failures,
    slope_of_means,
    slopes,
    summary,
    weighted_slope,
)
from initbench.cli import main
from initbench.grid.variance import LAYERS

WIDTHS, DEPTH, SEEDS = (64, 128, 256, 512), 5, 10


def layers_of(rng, width, power=0.0, growth=0.0):
    """Moments width^power 10^(growth·layer), times the log-normal spread of a rectifier's network."""
    spread = math.sqrt(5 * DEPTH / width)
    rows = []
    for seed in range(SEEDS):
        noise = math.exp(spread * rng.normal() - spread**2 / 2)
        for layer in range(1, DEPTH + 1):
            forward = width**power * 10 ** (growth * layer) * noise
            moments = dict.fromkeys(STATISTICS, forward) | {"grad_z_second_moment": noise}
            rows.append({"init": "he", "activation": "relu", "seed": seed, "layer": layer, **moments})
    return pd.DataFrame(rows)


def test_weighted_least_squares_by_hand():
    """Weights 1, 1, 4 at x = 0, 1, 2 with y = 0, 2, 2: centre 1.5, slope (0 + (-0.5)(2) + 4(0.5)(2))/3.5 = 6/7."""
    fit = weighted_slope(np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 2.0]), np.array([1.0, 1.0, 0.25]))
    assert fit.value == pytest.approx(6 / 7)
    assert fit.high - fit.value == pytest.approx(1.959964 / math.sqrt(3.5), rel=1e-6)


def test_intervals_cover_the_slope_of_the_mean_and_not_that_of_the_logarithm():
    """E log of these moments has slope 5 depth/(2 n) against log n; the mean has the power alone. 95 % within error."""
    rng, widths, tries = np.random.default_rng(0), np.array(WIDTHS, float), 1000
    spread = np.sqrt(5 * DEPTH / widths)
    for power in (0.0, 1.0):
        covered = 0
        for _ in range(tries):
            seeds = widths**power * np.exp(spread * rng.normal(size=(SEEDS, len(widths))) - spread**2 / 2)
            fit = slope_of_means(widths, seeds.mean(axis=0), seeds.std(axis=0, ddof=1) / math.sqrt(SEEDS), SEEDS)
            covered += fit.low <= power <= fit.high
        assert 0.90 <= covered / tries <= 0.99


@pytest.mark.parametrize(("seeds", "widths"), [(2, (64, 128)), (2, (64, 128, 256)), (3, (64, 512)), (10, (64, 256))])
def test_intervals_of_few_seeds_cover_as_often(seeds, widths):
    """95 %, to four standard errors, where only the common factor of the variances is unknown: means of Gaussians."""
    rng, widths, tries = np.random.default_rng(seeds), np.array(widths, float), 4000
    covered = 0
    for _ in range(tries):
        found = 1 + 0.01 * rng.normal(size=(seeds, len(widths))) * np.sqrt(64 / widths)
        fit = slope_of_means(widths, found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(seeds), seeds)
        covered += fit.low <= 0 <= fit.high
    assert covered / tries == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / tries))


def rectifiers(rng, width, depth, shape):
    """z_second_moment of layers 1 and `depth` of plain networks of He with ReLU, by their exact law at one input."""
    level, found = np.ones(shape), []
    for layer in range(1, depth + 1):
        if layer in (1, depth):
            found.append(level * rng.chisquare(width, shape) / width)
        on = rng.binomial(width, 0.5, shape)
        level = level * 2 * rng.chisquare(on) / width
    return found


@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_of_deep_rectifiers_cover(seeds):
    """He's expectations stand still. Each pairing is a repetition: 95 %, to four standard errors, or more."""
    rng, depth, tries, by_width = np.random.default_rng(seeds), 40, 300, {}
    for width in (64, 128, 256):
        first, last = (moments.ravel() for moments in rectifiers(rng, width, depth, (tries, seeds)))
        keys = pd.MultiIndex.from_product([map(str, range(tries)), range(seeds)], names=["init", "seed"]).to_frame(
            False
        )
        ends = [keys.assign(activation="relu", layer=layer, **dict.fromkeys(STATISTICS, 1.0)).assign(z_second_moment=z)
                for layer, z in ((1, first), (depth, last))]  # fmt: skip
        by_width[width] = pd.concat(ends)
    table = slopes(by_width).query("statistic == 'z_second_moment' and layer != 1")
    covered = ((table.low <= 0) & (table.high >= 0)).groupby([table.against, table.width.fillna(0)]).mean()
    assert len(covered) == 4
    assert covered.between(0.95 - 4 * math.sqrt(0.95 * 0.05 / tries), 0.995).all(), covered
    assert abs(table[table.against == "width"].slope.mean()) < 4 * table[table.against == "width"].slope.sem()


def test_chance_is_students_of_the_bound():
    """Of a plain regression: twice the tail of (slope - bound)/error; 0 of an exact slope."""
    x, degrees = np.array([0.0, 1.0, 2.0]), 6
    for slope in (0.5, 1.0, 3.0):
        error = 0.1 / math.sqrt(2)  # of three values of variance 0.01 at -1, 0, 1 about their centre
        p = 2 * student.sf((slope - BOUND) / error, degrees)
        for sign in (1, -1):
            fit = partial(weighted_slope, x, sign * slope * x, np.full(3, 0.01), degrees)
            assert chance(fit, 0.0) == pytest.approx(p, rel=2e-3)
    assert chance(partial(weighted_slope, x, x, np.full(3, 1e-60), degrees), 0.0) == 0.0


def test_of_many_slopes_only_those_fail_that_stand_out_among_all():
    """100 honest pairings: each alone would fail by chance, some do, and the table tells of the wrong one only."""
    rng, tries, seeds, by_width = np.random.default_rng(0), 100, 5, {}
    for width in (32, 64, 128):
        z = np.ravel(rectifiers(rng, width, 10, (tries, seeds))[1])
        keys = pd.MultiIndex.from_product([range(tries), range(seeds)], names=["init", "seed"]).to_frame(False)
        table = keys.assign(activation="relu", layer=10, **dict.fromkeys(STATISTICS, 1.0)).assign(z_second_moment=z)
        table["weight_variance"] = 1 / width
        table["update_ratio"] = width**0.5
        table.loc[table.init == 0, "z_second_moment"] *= width**6
        by_width[width] = table
    found = slopes(by_width).query("against == 'width'")
    alone = [Slope(row.slope, row.low, row.high).word(row.expected) for row in found.itertuples()]
    assert alone.count("fail") > 1
    assert found[found.word == "fail"][["init", "statistic"]].to_numpy().tolist() == [[0, "z_second_moment"]]
    assert set(found.word[np.array(alone) != found.word]) == {"undecided"}


def test_where_a_seed_lost_its_signal_no_slope_is_told():
    rng = np.random.default_rng(5)
    by_width = {width: layers_of(rng, width) for width in WIDTHS}
    for table in by_width.values():
        table.loc[(table.seed == 0) & (table.layer == DEPTH), "z_second_moment"] = 0.0
    found = slopes(by_width, dict.fromkeys(WIDTHS, theory(0.0))).query("statistic == 'z_second_moment'")
    lost = (found.against == "depth") | (found.layer == DEPTH)
    assert set(found[lost].word) == {"undecided"}
    assert found[~lost].slope.notna().all()


def test_seeds_that_are_all_equal_have_an_exact_slope_and_one_seed_has_none():
    widths = np.array(WIDTHS, float)
    fit = slope_of_means(widths, 3 / widths, 0 * widths, SEEDS)
    assert (fit.value, fit.low, fit.high) == pytest.approx((-1, -1, -1), abs=1e-9)
    assert math.isnan(slope_of_means(widths, 3 / widths, np.full(4, np.nan), 1).value)


def test_words():
    assert Slope(0, -BOUND, BOUND).word(0) == "pass"
    assert Slope(-1, -1 - 0.99 * BOUND, -1 + 0.99 * BOUND).word(-1) == "pass"
    assert Slope(0, -BOUND, 2 * BOUND).word(0) == "undecided"
    assert Slope(3, 2, 4).word(0) == "fail"
    assert Slope(3, 2, 4).word(3 + 2 * BOUND) == "undecided"
    assert Slope(0, 0, 0).word(-1) == "fail"
    assert Slope(math.nan, math.nan, math.nan).word(0) == "undecided"
    assert Slope(3, 2, 4).word(math.nan) == "unpredicted"


def theory(growth):
    """A law that knows z and its gradient alone."""
    rows = [{"init": "he", "activation": "relu", "law": LAW, "layer": layer, "z_second_moment": 10 ** (growth * layer),
             "grad_z_second_moment": 1.0} for layer in range(1, DEPTH + 1)]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_depth_is_judged_by_its_prediction_and_a_width_by_the_power_of_stable_networks():
    rng = np.random.default_rng(1)
    by_width = {width: layers_of(rng, width, power=1.0, growth=0.5) for width in WIDTHS}
    right = slopes(by_width, dict.fromkeys(WIDTHS, theory(0.5)))
    worst = summary(right).set_index(["statistic", "against"])
    assert worst.loc[("z_second_moment", "width"), "word"] == "fail"
    assert worst.loc[("grad_z_second_moment", "width"), "word"] != "fail"
    z = worst.loc[("z_second_moment", "depth")]
    assert (z["slope"], z["expected"], z["word"]) == (pytest.approx(0.5), pytest.approx(0.5), "pass")
    assert ("a_second_moment", "depth") not in worst.index  # this law says nothing of it
    assert set(right[(right.statistic == "a_second_moment") & (right.against == "depth")].word) == {"unpredicted"}
    assert not [line for line in failures(right) if "against depth" in line]
    wrong = slopes(by_width, dict.fromkeys(WIDTHS, theory(0.2)))
    lines = [line for line in failures(wrong) if "against depth" in line]
    assert lines == ["he with relu: z_second_moment has slope 0.5 (0.5 to 0.5) against depth, not 0.2"]
    assert set(slopes(by_width).query("against == 'depth'").word) == {"unpredicted"}


def test_each_scale_of_the_layers_has_its_power():
    """Var(w) falls as 1/n, |grad_w| / |w| rises as sqrt(n), all other scales stay: of a wide network of any kind."""
    table = initbench.slopes(init="he_normal", activation="relu", depth=3, widths_sweep=[64, 128, 256], batch=16)
    of_width = table[table.against == "width"]
    assert set(of_width.statistic) == set(STATISTICS)
    assert (of_width.word != "fail").all()
    assert ((of_width.low - 0.1 < of_width.expected) & (of_width.expected < of_width.high + 0.1)).all()
    powers = of_width[of_width.layer == 2].set_index("statistic").slope
    assert powers["weight_variance"] == pytest.approx(-1, abs=0.02)
    assert powers["update_ratio"] == pytest.approx(0.5, abs=0.1)


def test_every_scale_of_the_layers_is_covered_and_nothing_else():
    no_scale = {"init", "activation", "seed", "layer", "fan_in", "fan_out", "z_mean", "a_mean", "cosine"}
    shares = {"saturated_fraction", "dead_fraction"}
    assert set(LAYERS) - no_scale - shares == set(STATISTICS)


def test_the_figure_draws_the_fit_through_the_means():
    rng = np.random.default_rng(2)
    by_width = {width: layers_of(rng, width, power=1.0) for width in WIDTHS}
    table = slopes(by_width)
    drawn = width_slopes.summary(by_width, table)
    assert list(drawn.direction.unique()) == ["forward", "backward"]
    forward = drawn[drawn.direction == "forward"]
    slope = table.query("against == 'width' and statistic == 'z_second_moment' and layer == @DEPTH").slope.item()
    height, centre = (np.average(of, weights=WIDTHS) for of in (np.log(forward["mean"]), np.log(WIDTHS)))
    assert slope == pytest.approx(1, abs=0.2)
    assert np.log(forward.fit).to_numpy() == pytest.approx(height + slope * (np.log(WIDTHS) - centre))
    assert ((forward.fit_low <= forward.fit) & (forward.fit <= forward.fit_high)).all()
    axes = width_slopes.draw(drawn).axes
    line, marks = axes[0].lines
    assert line.get_ydata() == pytest.approx(forward.fit)
    assert marks.get_ydata() == pytest.approx(forward["mean"])
    assert (axes[0].get_xscale(), axes[0].get_yscale()) == ("log", "log")


def test_lost_numbers_and_one_seed_draw_without_a_warning(recwarn):
    rng = np.random.default_rng(3)
    by_width = {width: layers_of(rng, width).query("seed == 0").assign(z_second_moment=0.0) for width in WIDTHS}
    drawn = width_slopes.summary(by_width, slopes(by_width))
    width_slopes.draw(drawn)
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_the_command_sweeps_widths_and_checks(tmp_path):
    common = ["variance", "--widths-sweep=32,64,128", "--depth=3", "--activation=tanh", "--batch=8", "--format=json",
              f"--reports={tmp_path / 'reports'}"]  # fmt: skip
    done = CliRunner().invoke(main, [*common, "--init=he_normal", f"--out={tmp_path / 'he'}", "--check"])
    assert done.exit_code == 0, done.output
    rows = pd.DataFrame(json.loads(done.stdout))
    assert set(rows.against) == {"width", "depth"}
    assert (tmp_path / "he/width_128/layers.parquet").is_file()
    assert (tmp_path / "he/slopes.csv").is_file()
    assert {path.name for path in (tmp_path / "reports/he").iterdir()} == {"width_slopes.png", "width_slopes.csv"}
    fixed = CliRunner().invoke(main, [*common, "--init=normal(std=0.05)", f"--out={tmp_path / 'fixed'}", "--check"])
    assert fixed.exit_code == 3
    assert "normal(std=0.05) with tanh: weight_variance has slope" in fixed.stderr
    assert "against width, not -1" in fixed.stderr
    for extra, message in ((["--width=8"], "goes without"), (["--widths-sweep=64"], "two widths or more")):
        bad = CliRunner().invoke(main, [*common, *extra, f"--out={tmp_path / 'bad'}"])
        assert (bad.exit_code, bad.stderr.count("\n")) == (2, 1)
        assert message in bad.stderr
