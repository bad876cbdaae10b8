"""The audit of the frameworks' variances, against numbers known from elsewhere and scipy's distributions."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

from initbench.cli import main
from initbench.core.errors import UsageError
from initbench.core.records import Layer
from initbench.grid.audit import COLUMNS, CONFIDENCE, audit, spread
from initbench.grid.conventions import CONVENTIONS
from initbench.initializers import INITIALIZERS

FAN_IN, FAN_OUT = 512, 256


@pytest.fixture(scope="module")
def table():
    return audit(seeds=4).set_index("convention")


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, ["audit", *(str(argument) for argument in arguments)])


SMALL = ["--fan-in", 48, "--fan-out", 32]

# FIELD.md, the papers and scipy: what each convention really draws
TRUTHS = {
    "torch.nn.Linear": 1 / (3 * FAN_IN),
    "torch.nn.Linear(bias=False), taken for He's": 1 / (3 * FAN_IN),
    "torch.nn.init.kaiming_normal_": 2 / FAN_IN,
    "torch.nn.init.kaiming_normal_(mode=fan_out)": 2 / FAN_OUT,
    "torch.nn.init.kaiming_normal_, used as x @ w": 2 / FAN_OUT,
    "torch.nn.init.xavier_uniform_": 2 / (FAN_IN + FAN_OUT),
    "torch.nn.init.orthogonal_": 1 / FAN_IN,
    "torch.nn.init.trunc_normal_(std=1)": stats.truncnorm(-2, 2).var(),
    "torch.nn.init.trunc_normal_(std=0.02)": 0.02**2,
    "torch.nn.init.sparse_(sparsity=0.1)": 1e-4 * (1 - 26 / 256),
    "keras Dense": 2 / (FAN_IN + FAN_OUT),
    "keras VarianceScaling": 1 / FAN_IN,
    "keras VarianceScaling(mode=fan_out)": 1 / FAN_OUT,
    "keras VarianceScaling(mode=fan_avg)": 2 / (FAN_IN + FAN_OUT),
    "keras TruncatedNormal(stddev=0.05)": stats.truncnorm(-2, 2, scale=0.05).var(),
    "tf variance_scaling before #18706, tfjs": 0.7737 / FAN_IN,
    "flax Dense": 1 / FAN_IN,
    "jax he_normal": 2 / FAN_IN,
    "jax truncated_normal(stddev=0.01)": 0.7737e-4,
    "jax uniform(scale=0.01)": stats.uniform(0, 0.01).var(),
    "lecture's He": 4 / (FAN_IN + FAN_OUT),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_the_interval_holds_what_the_convention_draws(table, name):
    row = table.loc[name]
    assert row.variance_low < TRUTHS[name] < row.variance_high
    assert row.variance == pytest.approx(TRUTHS[name], rel=0.01)


def test_what_agrees_and_what_does_not(table):
    wrong = table[~table.agrees].ratio
    known = {"torch.nn.Linear(bias=False), taken for He's": 1 / 6, "torch.nn.init.kaiming_normal_, used as x @ w": 2,
             "torch.nn.init.trunc_normal_(std=1)": 0.7737, "torch.nn.init.sparse_(sparsity=0.1)": 0.01,
             "keras TruncatedNormal(stddev=0.05)": 0.7737, "tf variance_scaling before #18706, tfjs": 0.7737,
             "jax truncated_normal(stddev=0.01)": 0.7737, "jax uniform(scale=0.01), taken for U(±scale)": 1 / 4,
             "lecture's He, taken for He's own": 2 * FAN_IN / (FAN_IN + FAN_OUT)}  # fmt: skip
    assert dict(wrong) == pytest.approx(known, rel=0.01)


def test_the_lectures_he_is_hes_own_on_a_square_layer():
    assert audit(fan_in=128, fan_out=128, seeds=2).set_index("convention").agrees["lecture's He, taken for He's own"]


def test_the_catalogue_draws_what_the_framework_draws(table):
    """The entry named beside a convention has the variance that torch's own function gave."""
    from initbench.activations import ACTIVATIONS
    from initbench.initializers import Setting

    setting = Setting(Layer(1, FAN_IN, FAN_OUT), ACTIVATIONS.make("relu"))
    for name, row in table[table.init != ""].iterrows():
        promised = INITIALIZERS.make(row.init).promise(setting).variance
        assert row.variance_low < promised < row.variance_high, name


class TestDepth:
    """log10 per layer of the mean-field map, which for a rectifier is fan·Var(w)/2."""

    @pytest.mark.parametrize("name", ["torch.nn.Linear(bias=False)", "keras Dense", "lecture's He"])
    def test_a_rectifier_multiplies(self, table, name):
        row = table.loc[name]
        assert row.growth_forward == pytest.approx(math.log10(FAN_IN * row.variance / 2), abs=1e-12)
        assert row.growth_backward == pytest.approx(math.log10(FAN_OUT * row.variance / 2), abs=1e-12)
        q = FAN_IN * row.variance * (FAN_IN * row.variance / 2) ** 19
        assert row.z_second_moment_20 == pytest.approx(q, rel=1e-10)

    def test_torchs_default_loses_a_factor_6_and_its_biases_stop_it(self, table):
        assert table.growth_forward["torch.nn.Linear(bias=False)"] == pytest.approx(-math.log10(6), abs=0.002)
        # the fixed point of q = q/6 + 1/(3 n) is 0.4/n
        assert table.z_second_moment_20["torch.nn.Linear"] == pytest.approx(0.4 / FAN_IN, rel=0.1)

    def test_weights_with_a_mean_have_no_growth_and_a_note(self, table):
        row = table.loc["jax uniform(scale=0.01)"]
        assert np.isnan(row[["growth_forward", "growth_backward", "z_second_moment_20"]].astype(float)).all()
        assert row.note.startswith("E[w] = 0.005")

    def test_another_activation(self):
        tanh = audit(seeds=1, activation="tanh").set_index("convention")
        # a linear layer multiplies by fan_in·Var(w) = 1; tanh takes from that, but less than a rectifier's half
        assert -math.log10(2) < tanh.growth_forward["flax Dense"] < 0


# distribution -> excess kurtosis: where chi-square is too wide, right and too narrow
SHAPES = {"uniform": stats.uniform(-1, 2), "normal": stats.norm(), "laplace": stats.laplace()}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_covers_at_its_level_whatever_the_kurtosis(shape):
    """Standardized by the stated error, log s² is N(0, 1): tested on 2,000 audits of 3 seeds of 400 weights."""
    truth, source = SHAPES[shape], np.random.default_rng(5)
    draws = torch.from_numpy(truth.rvs((2000, 3, 400), random_state=source))
    found = [spread((weight, torch.zeros(1)) for weight in seeds) for seeds in draws]
    z = np.array([math.log(one.variance / truth.var()) / one.relative_error for one in found])
    assert stats.binomtest(int((np.abs(z) < 1.96).sum()), len(z), 0.95).pvalue > 1e-3
    outside = sum(not one.interval[0] < truth.var() < one.interval[1] for one in found)
    assert stats.binom.sf(outside - 1, len(found), 2 * (1 - CONFIDENCE)) > 1e-3


def test_chi_square_would_be_wrong():
    """The stated error against chi-square's sqrt(2/n): (k - 1)/2 of its square, k = 1.8 for a uniform."""
    draws = torch.from_numpy(np.random.default_rng(6).uniform(-1, 1, (10, 20_000)))
    error = spread((weight, torch.zeros(1)) for weight in draws).relative_error
    assert error / math.sqrt(2 / draws.numel()) == pytest.approx(math.sqrt(0.4), rel=0.01)


def test_the_variance_is_that_of_numpy():
    weights = [torch.randn(7, 30, generator=torch.Generator().manual_seed(seed)) + 3 for seed in range(3)]
    found = spread((weight, torch.ones(2)) for weight in weights)
    assert found.variance == pytest.approx(np.mean([weight.double().numpy().var(ddof=1) for weight in weights]))
    assert found.mean == pytest.approx(np.mean([weight.double().numpy().mean() for weight in weights]))
    assert found.bias_variance == 1


class TestGenerators:
    def test_no_global_generator_moves(self):
        before, numpy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        audit(fan_in=20, fan_out=10, seeds=2)
        assert torch.equal(before, torch.random.get_rng_state())
        assert (numpy == np.random.get_state()[1]).all()  # noqa: NPY002

    def test_no_global_generator_matters(self):
        torch.manual_seed(1)
        first = audit(fan_in=20, fan_out=10, seeds=2)
        torch.manual_seed(2)
        pd.testing.assert_frame_equal(first, audit(fan_in=20, fan_out=10, seeds=2))

    def test_seeds_differ(self):
        for convention in CONVENTIONS:
            if convention.draw:
                first, second = (convention.draw(Layer(1, 20, 10), seed)[0] for seed in (0, 1))
                assert first.shape == (10, 20), convention.name
                assert not torch.equal(first, second), convention.name


class TestAskedFor:
    def test_an_entry_of_the_catalogue_follows_the_conventions(self):
        frame = audit(init=["he", "truncated_normal(std=0.5)"], fan_in=40, fan_out=30, seeds=3)
        assert list(frame.convention[-2:]) == ["he_normal", "truncated_normal(std=0.5)"]
        assert list(frame.promised_variance[-2:]) == pytest.approx([2 / 40, 0.7737 / 4], rel=1e-4)
        assert frame.agrees[-2:].all()

    def test_every_entry_keeps_its_promise(self):
        entries = [entry.name for entry in INITIALIZERS if entry.complete]
        frame = audit(init=entries, fan_in=48, fan_out=32, seeds=3)
        assert list(frame.convention[frame.promised_by.str.startswith("initbench")]) == entries
        assert frame.agrees[len(CONVENTIONS) :].all()

    def test_an_impossible_one_is_a_row_that_says_why(self):
        row = audit(init="critical", activation="softplus", fan_in=20, fan_out=10, seeds=1).iloc[-1]
        assert row.note.startswith("softplus has no critical weight variance")
        assert row[["promised_variance", "variance", "agrees"]].isna().all()


class TestCommand:
    def test_a_table_for_the_terminal(self, run):
        done = run(*SMALL, "--seeds", 2)
        assert (done.exit_code, done.stderr) == (0, "")
        lines = done.stdout.rstrip().splitlines()
        assert lines[0].split()[:3] == ["convention", "promised_variance", "variance"]
        assert len(lines) == len(CONVENTIONS) + 1

    def test_csv_and_json_have_every_column(self, run):
        read = pd.read_csv(io.StringIO(run(*SMALL, "--seeds", 2, "--format", "csv").stdout))
        told = json.loads(run(*SMALL, "--seeds", 2, "--format", "json").stdout)
        assert list(read) == list(told[0]) == list(COLUMNS)
        assert read.variance.tolist() == pytest.approx([row["variance"] for row in told], rel=1e-14)
        assert read.agrees.tolist() == [row["agrees"] for row in told]

    def test_its_options_reach_the_work(self, run):
        done = run(
            "--fan-in", 40, "--fan-out", 30, "--activation", "tanh", "--seeds", 2, "--init", "he", "--format", "csv"
        )
        expected = audit(init="he_normal", fan_in=40, fan_out=30, activation="tanh", seeds=2)
        frame = pd.read_csv(io.StringIO(done.stdout), keep_default_na=True).fillna({"note": "", "init": ""})
        pd.testing.assert_frame_equal(frame, expected, check_dtype=False, rtol=1e-12)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--init", "hee"], "unknown initializer 'hee'; did you mean 'he'?"),
            (["--activation", "rellu"], "unknown activation 'rellu'; did you mean 'relu' or 'relu6'?"),
            (["--fan-in", 0], "fans must be at least 1, not 0 and 256"),
            (["--fan-in", 9, "--fan-out", 9], "the audit is for layers of 100 to 100,000,000 weights, not 81"),
            (["--seeds", 0], "seeds must be from 1 to 1,000,000, not 0"),
        ],
    )
    def test_a_wrong_request_is_one_line_and_exit_code_2(self, run, arguments, message):
        done = run(*arguments)
        assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: {message}\n")


def test_python_callers_get_the_same_error():
    with pytest.raises(UsageError, match="seeds must be from 1 to"):
        audit(seeds=0)
