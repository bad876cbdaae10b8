"""Verdicts with an error rate: from tables made by hand, and on the command line."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.stats import binomtest

from initbench import studies
from initbench.analysis.agreement import LEVEL, against, agreement, differences
from initbench.analysis.figures import calibration
from initbench.analysis.verdicts import failures
from initbench.cli import main
from initbench.core.errors import UsageError
from initbench.grid.calibration import calibration_of
from initbench.grid.plan import plan
from initbench.grid.residuals import residuals as measured_residuals
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import open_inputs, resolve

DEPTH, SEEDS = 12, 10


def residuals_of(rng, shift=0.0, start=1, error=0.0, inits=("he",), bias=0.0):
    """Standard normal residuals, forward ones shifted from layer `start` on."""
    tables = []
    for init in inits:
        seed, layer = (grid.ravel() for grid in np.meshgrid(range(SEEDS), range(1, DEPTH + 1), indexing="ij"))
        z, grad = rng.normal(size=(2, len(seed)))
        tables.append(pd.DataFrame({
            "init": init, "activation": "relu", "seed": seed, "layer": layer,
            "z_residual": z + shift * (layer >= start),
            "grad_residual": grad, "z_residual_error": error, "grad_residual_error": 0.0,
            "z_bias": bias + rng.normal(size=len(seed)), "grad_bias": rng.normal(size=len(seed))}))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def theory_of(shift=0.0, inits=("he",)):
    """Predictions of which finite width's forward mean is exp(shift) of infinite width's."""
    rows = [{"init": init, "activation": "relu", "law": law, "layer": layer, "grad_z_second_moment": 1.0,
             "z_second_moment": math.exp(shift * (law == "finite_width"))}
            for init in inits for law in ("mean_field", "finite_width") for layer in range(1, DEPTH + 1)]  # fmt: skip
    return pd.DataFrame(rows)


def word(residuals, theory=None, direction="forward"):
    table = agreement(residuals, theory_of() if theory is None else theory).set_index("direction")
    return table.loc[direction]


def test_false_alarms_of_a_whole_table_are_nominal():
    """Independent standard normal residuals of three pairings: in 5 % of the tables something is called wrong."""
    rng, tables, inits = np.random.default_rng(5), 400, ("he", "xavier", "lecun")
    theory = theory_of(inits=inits)
    alarms = sum((agreement(residuals_of(rng, inits=inits), theory).agreement == "wrong").any() for _ in range(tables))
    low, high = binomtest(int(alarms), tables).proportion_ci(0.999)
    assert low < LEVEL < high


def test_a_drift_too_small_for_any_layer_is_found_and_a_start_told():
    rng = np.random.default_rng(1)
    found = [word(residuals_of(rng, shift=0.6)) for _ in range(20)]  # 1.9 standard errors a layer, 6.6 in all
    assert [row.agreement for row in found] == ["wrong"] * 20
    starts = [word(residuals_of(rng, shift=2.0, start=7)).starts_at for _ in range(20)]
    assert starts.count(7) >= 18
    assert "deviates from layer 7 on" in word(residuals_of(rng, shift=3.0, start=7)).agreement_cause


def test_backward_starts_in_the_direction_of_travel():
    rng = np.random.default_rng(2)
    table = residuals_of(rng)
    table["grad_residual"] += 3.0 * (table.layer <= 4)  # the gradient comes from above
    assert word(table, direction="backward").starts_at == 4
    assert word(table).agreement == "consistent"


def test_what_theory_may_be_off_by_is_no_alarm():
    rng = np.random.default_rng(3)
    assert word(residuals_of(rng, shift=1.5)).agreement == "wrong"
    assert word(residuals_of(rng, shift=1.5, error=1.5)).agreement == "consistent"


def test_a_finite_width_bias_is_told_where_theory_has_one_and_the_measurement_too():
    rng = np.random.default_rng(4)
    assert word(residuals_of(rng, bias=2.0), theory_of(0.3)).agreement == "finite-width bias"
    assert word(residuals_of(rng, bias=2.0), theory_of(0.3)).agreement_cause == "the mean is ×1.35 of infinite width's"
    assert word(residuals_of(rng, bias=0.0), theory_of(0.3)).agreement == "consistent"
    assert word(residuals_of(rng, bias=2.0), theory_of(0.0)).agreement == "consistent"


@pytest.mark.parametrize("width", [32, 64])
def test_where_first_order_breaks_down_honest_networks_are_not_called_wrong(width):
    """GELU's gradient at small width: the law's own spread is many times its mean."""
    study = resolve(init=["he_normal"], activation=["gelu"], depth=20, width=width, batch=32, seeds=10)
    inputs = open_inputs(study)
    moments = inputs.moments(study.seeds, study.batch)
    layers = measure(plan(study), inputs, range(study.seeds), torch.device("cpu"))["layers"]
    found = measured_residuals(study, moments, layers)
    assert "wrong" not in set(agreement(found, predictions(study, moments, ["mean_field", "finite_width"])).agreement)
    deviations = found[["z_residual", "grad_residual"]].to_numpy()
    assert np.isnan(deviations).any()  # nothing is told where nothing is known
    assert np.nanmax(np.abs(deviations)) < 6


def test_no_residuals_are_no_word():
    table = residuals_of(np.random.default_rng(6))
    table["z_residual"] = np.nan
    assert word(table).agreement == "untested"
    assert math.isnan(word(table).p_value)


def layers_of(rng, factor=1.0, depth=DEPTH, init="he"):
    rows = [{"init": init, "activation": "relu", "seed": seed, "layer": layer, "grad_z_second_moment": 1.0,
             "z_second_moment": factor * math.exp(0.2 * rng.normal())}
            for seed in range(SEEDS) for layer in range(1, depth + 1)]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_baseline_is_compared_with_seeds_as_replicates():
    rng = np.random.default_rng(8)
    before = layers_of(rng)
    assert differences(before, before) == []
    assert differences(layers_of(rng), before) == []
    (line,) = differences(layers_of(rng, 1.6), before)
    assert line.startswith("he with relu, forward: ×1.")
    assert "of the baseline at layer" in line
    assert against(before, before).baseline_p.tolist() == [1.0, 1.0]
    for other in (layers_of(rng, depth=5), layers_of(rng, init="xavier")):
        with pytest.raises(UsageError, match="nothing to compare"):
            differences(other, before)


def test_a_signal_that_died_differs_from_the_baselines():
    rng = np.random.default_rng(9)
    alive, dead = layers_of(rng), layers_of(rng).assign(z_second_moment=0.0)
    (gone,), (come,) = differences(dead, alive), differences(alive, dead)
    told = (
        "he with relu, forward: {} of 10 networks are 0 or beyond float64 at layer 1, in the baseline {} of 10 (p = 0)"
    )
    assert (gone, come) == (told.format(10, 0), told.format(0, 10))
    assert differences(dead, dead) == []


@pytest.mark.parametrize("gone", [0.0, np.nan])
def test_networks_that_lost_their_signal_are_counted_against_the_baselines(gone):
    """Nine of ten from layer 3 on, and none there: Fisher's p is 2·C(10, 9)/C(20, 9)."""
    rng = np.random.default_rng(10)
    before, now = layers_of(rng), layers_of(rng)
    assert differences(now, before) == []
    lost = (now.layer >= 3) & (now.seed < 0.9 * SEEDS)
    now.loc[lost, "z_second_moment"] = gone
    (line,) = differences(now, before)
    assert "forward: 9 of 10 networks are 0 or beyond float64 at layer 3, in the baseline 0 of 10 (p = 0.0" in line
    # Simes: 12 tests are known, two of them Welch's; corrected for two directions
    assert against(now, before).baseline_p.min() == pytest.approx(2 * 12 / 10 * 2 * 10 / math.comb(20, 9))
    (back,) = differences(before, now)
    assert "0 of 10 networks are 0 or beyond float64 at layer 3, in the baseline 9 of 10" in back
    few = now.copy()
    few.loc[few.seed > 1, "z_second_moment"] = before.z_second_moment
    assert differences(few, before) == []  # two of ten may be chance


def test_a_baseline_of_one_seed_is_refused_before_the_work(tmp_path, monkeypatch):
    run = CliRunner().invoke
    few = ["variance", "--depth=2", "--width=8", "--batch=4", "--init=he", "--activation=relu", "--no-figures"]
    assert run(main, [*few, "--seeds=1", f"--out={tmp_path / 'one'}"]).exit_code == 0
    for seeds, out in ((2, "two"), (1, "again")):
        found = run(main, [*few, f"--seeds={seeds}", f"--out={tmp_path / out}", f"--baseline={tmp_path / 'one'}"])
        assert (found.exit_code, found.output) == (2, "Error: --baseline needs two seeds or more, here and there\n")
        assert not (tmp_path / out).exists()


def test_failures_name_what_is_not_healthy_and_what_is_not_as_predicted():
    row = {"init": "he", "activation": "relu", "direction": "forward", "word": "stable", "cause": "",
           "agreement": "consistent", "p_value": 0.5, "agreement_cause": ""}  # fmt: skip
    wrong = {**row, "agreement": "wrong", "p_value": 1e-7, "agreement_cause": "deviates"}
    table = pd.DataFrame([row, {**row, "word": "dead", "cause": "z is 0"}, wrong])
    assert failures(table) == ["he with relu, forward: dead: z is 0",
                               "he with relu, forward: not as predicted (p = 1e-07): deviates"]  # fmt: skip


SMALL = ["variance", "--depth=12", "--width=96", "--seeds=8", "--batch=16", "--activation=relu", "--no-figures"]


def test_check_exits_with_3_where_a_pairing_is_not_healthy_or_differs_from_the_baseline(tmp_path):
    run = CliRunner().invoke
    good = run(main, [*SMALL, "--init=he_normal", "--check", f"--out={tmp_path / 'good'}"])
    assert good.exit_code == 0, good.output
    assert "consistent" in good.output
    bad = run(main, [*SMALL, "--init=xavier", "--check", f"--out={tmp_path / 'bad'}"])
    assert bad.exit_code == 3
    assert "xavier_normal with relu, forward: vanishing" in bad.stderr
    same = run(main, [*SMALL, "--init=he_normal", "--check", f"--out={tmp_path / 'again'}",
                      f"--baseline={tmp_path / 'good'}"])  # fmt: skip
    assert same.exit_code == 0, same.output
    none = run(main, [*SMALL, "--init=he_normal", f"--out={tmp_path / 'third'}", f"--baseline={tmp_path / 'no'}"])
    assert (none.exit_code, none.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "third").exists()  # told before the work


def test_a_calibration_counts_alarms_of_honest_and_wrong_networks_and_goes_on(tmp_path):
    (tmp_path / "small.toml").write_text("""
        kind = "calibration"
        question = "Does it work?"
        [[cases]]
        init = ["he_normal"]
        activation = ["relu"]
        width = 64
        batch = 8
        depth = 10
        repetitions = 8
        [[cases]]
        init = ["he_normal"]
        drawn = "variance_scaling(scale=1.5)"
        activation = ["relu"]
        width = 64
        batch = 8
        depth = 10
        repetitions = 8
    """)
    command = ["run", str(tmp_path / "small.toml"), f"--out={tmp_path / 'out'}", f"--reports={tmp_path / 'reports'}"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    alarms = pd.read_parquet(tmp_path / "out/alarms.parquet")
    assert alarms.groupby("honest").alarm.sum().to_dict() == {True: 0, False: 8}
    assert (tmp_path / "reports/out/calibration.png").is_file()
    assert CliRunner().invoke(main, command).output == done.output
    drawn = calibration.draw(calibration.summary(alarms))
    points = [line for axes in drawn.axes for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in points] == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [('kind = "calibration"', "cases: Field required"),
     ('kind = "calibration"\ncases = [{init = ["he"], activation = ["relu"], width = 0, batch = 1}]', "cases.0.width"),
     ('kind = "calibration"\ncases = [{init = ["hee"], activation = ["relu"], width = 9, batch = 1}]', "unknown"),
     ('kind = "calibraton"', "unknown kind 'calibraton'; did you mean 'calibration'?"), ("=", "is not TOML")],
)  # fmt: skip
def test_a_study_that_cannot_be_gets_one_line(tmp_path, text, message):
    (tmp_path / "bad.toml").write_text(text)
    done = CliRunner().invoke(main, ["run", str(tmp_path / "bad.toml"), f"--out={tmp_path / 'out'}"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_committed_calibration_is_a_thousand_honest_repetitions(request):
    options = studies.read(request.config.rootpath / "studies/calibration.toml").parts[""]
    study = calibration_of({name: options[name] for name in ("cases", "question")})
    honest = [case for case in study.cases if case.drawn is None and case.width >= 128]
    assert {case.width for case in honest} == {128, 256, 512, 1024}
    assert {case.repetitions for case in honest} == {1000}
