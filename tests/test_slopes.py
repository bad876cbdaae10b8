"""Slopes against width and depth: known ones found, intervals that cover, words."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from initbench.analysis.slopes import BOUND, STATISTICS, Slope, slopes, summary, weighted_slope
from initbench.cli import main

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
    rng, tries = np.random.default_rng(0), 300
    for power in (0.0, 1.0):
        covered = 0
        for _ in range(tries):
            table = slopes({width: layers_of(rng, width, power) for width in WIDTHS})
            row = table[(table.against == "width") & (table.statistic == "z_second_moment") & (table.layer == 1)].iloc[
                0
            ]
            covered += row.low <= power <= row.high
        assert 0.90 <= covered / tries <= 0.99


def test_words_and_the_summary():
    rng = np.random.default_rng(1)
    table = slopes({width: layers_of(rng, width, power=1.0, growth=0.5) for width in WIDTHS})
    worst = summary(table).set_index(["statistic", "against"])
    assert worst.loc[("z_second_moment", "width"), "word"] == "not flat"
    assert worst.loc[("z_second_moment", "depth"), "word"] == "not flat"
    assert worst.loc[("z_second_moment", "depth"), "slope"] == pytest.approx(0.5)
    assert worst.loc[("grad_z_second_moment", "width"), "word"] != "not flat"
    assert worst.loc[("grad_z_second_moment", "depth"), "word"] == "flat"
    assert Slope(0, -BOUND, BOUND).word == "flat"
    assert Slope(0, -BOUND, 2 * BOUND).word == "undecided"
    assert Slope(3, 2, 4).word == "not flat"
    assert Slope(math.nan, math.nan, math.nan).word == "undecided"


def test_the_command_sweeps_widths_and_checks(tmp_path):
    common = ["variance", "--widths-sweep=32,64,128", "--depth=3", "--activation=tanh", "--batch=8", "--format=json"]
    done = CliRunner().invoke(main, [*common, "--init=he_normal", f"--out={tmp_path / 'he'}", "--check"])
    assert done.exit_code == 0, done.output
    rows = pd.DataFrame(json.loads(done.stdout))
    assert set(rows.against) == {"width", "depth"}
    assert (tmp_path / "he/width_128/layers.parquet").is_file()
    assert (tmp_path / "he/slopes.csv").is_file()
    fixed = CliRunner().invoke(main, [*common, "--init=normal(std=0.05)", f"--out={tmp_path / 'fixed'}", "--check"])
    assert fixed.exit_code == 3
    for extra, message in ((["--width=8"], "goes without"), (["--widths-sweep=64"], "two widths or more")):
        bad = CliRunner().invoke(main, [*common, *extra, f"--out={tmp_path / 'bad'}"])
        assert (bad.exit_code, bad.stderr.count("\n")) == (2, 1)
        assert message in bad.stderr
