"""Jacobians against autograd, numpy, torch.func and what is exactly known of linear networks and rectifiers."""

import io
import json
import math

import mpmath
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

import initbench
from initbench.activations import ACTIVATIONS
from initbench.analysis.figures import jacobian_spectrum
from initbench.cli import main
from initbench.core.errors import UsageError
from initbench.core.records import Network
from initbench.engine import jacobian as engine
from initbench.grid.jacobians import COLUMNS, QUANTILES, jacobians
from initbench.grid.variance_study import open_inputs, resolve
from initbench.initializers import INITIALIZERS

CPU = torch.device("cpu")
SHAPES = [(6, 6, 6, 6), (9, 7, 5, 4), (4, 6, 8)]


def network(init="lecun_normal", activation="tanh", widths=(9, 7, 5, 4), seed=0, bias_variance=0.0):
    initializer, phi = INITIALIZERS.make(init), ACTIVATIONS.make(activation)
    promises = initializer.promises(phi, Network(widths, bias_variance))
    return engine.draw(initializer, promises, phi, seed, CPU)


def batch(features, size=3, seed=0):
    return torch.randn(size, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def call(net, x, weights=None, biases=None):
    """The network as a plain function, for autograd."""
    for weight, bias in zip(weights or net.weights, biases or net.biases, strict=True):
        x = net.activation.function(weight @ x + bias)
    return x


@pytest.mark.parametrize("widths", SHAPES)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "identity"])
class TestAgainstAutograd:
    def test_the_jacobian(self, activation, widths):
        net, x = network(activation=activation, widths=widths, bias_variance=0.3), batch(widths[0])
        found = engine.jacobian(net, engine.forward(net, x))
        for one, row in zip(found, x, strict=True):
            truth = torch.autograd.functional.jacobian(lambda v: call(net, v), row)
            torch.testing.assert_close(one, truth, rtol=1e-12, atol=1e-14)

    def test_a_layers_jacobian_and_its_exact_square(self, activation, widths):
        net, x = network(activation=activation, widths=widths, bias_variance=0.3), batch(widths[0])
        passage = engine.forward(net, x)
        arrivals = (x, *passage.a[:-1])
        for number, square in enumerate(engine.layer_squares(net, passage)):
            truth = [torch.autograd.functional.jacobian(
                lambda v, n=number: net.activation.function(net.weights[n] @ v + net.biases[n]), row)
                for row in arrivals[number]]  # fmt: skip
            torch.testing.assert_close(engine.layer_jacobian(net, passage, number), torch.stack(truth), rtol=1e-12,
                                       atol=1e-14)  # fmt: skip
            norms = [np.linalg.norm(one.numpy()) ** 2 / widths[number] for one in truth]
            assert square == pytest.approx(np.mean(norms), rel=1e-12)

    def test_the_tangent_kernel(self, activation, widths):
        net, x = network(activation=activation, widths=widths, bias_variance=0.3), batch(widths[0], 4)
        readout = batch(widths[-1], 1, seed=9)[0]

        def output(parameters, row):
            return readout @ call(net, row, *parameters)

        gradients = torch.func.vmap(torch.func.grad(output), (None, 0))((list(net.weights), list(net.biases)), x)
        flat = torch.cat([part.flatten(1) for parts in gradients for part in parts], dim=1)
        found = engine.tangent_kernel(net, engine.forward(net, x), readout)
        torch.testing.assert_close(found, flat @ flat.t(), rtol=1e-11, atol=1e-12)


class TestHutchinson:
    NET = network("he_normal", "relu", (12, 16, 20, 10))

    def estimate(self, seed, probes):
        passage = engine.forward(self.NET, batch(12))
        signs = torch.randint(0, 2, (3, probes, 12), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
        return engine.network_square(self.NET, passage, signs)

    def test_estimates_scatter_about_the_trace_as_their_error_says(self):
        formed = engine.jacobian(self.NET, engine.forward(self.NET, batch(12)))
        truth = float(formed.square().sum(dim=(1, 2)).mean()) / 12
        found = np.array([self.estimate(seed, 64) for seed in range(200)])
        z = (found[:, 0] - truth) / found[:, 1]
        assert abs(z.mean()) < 4 * z.std(ddof=1) / len(z) ** 0.5
        # Student's t with 63 degrees of freedom, for probes that are near to normal
        assert stats.binomtest(int((abs(z) < stats.t.ppf(0.975, 63)).sum()), len(z), 0.95).pvalue > 1e-3

    def test_one_probe_has_no_error(self):
        assert math.isnan(self.estimate(0, 1)[1])

    def test_all_unit_vectors_give_the_trace_itself(self):
        passage = engine.forward(self.NET, batch(12))
        square, _ = engine.network_square(
            self.NET, passage, torch.eye(12, dtype=torch.float64).expand(3, 12, 12) * 12**0.5
        )
        assert square == pytest.approx(float(engine.jacobian(self.NET, passage).square().sum()) / 3 / 12, rel=1e-12)


class TestSpectrum:
    def test_numpys_singular_values(self):
        matrices = batch(35, 4).view(4, 7, 5)
        found, truth = engine.spectrum(matrices), np.linalg.svd(matrices.numpy(), compute_uv=False)
        assert found.largest == pytest.approx(stats.gmean(truth[:, 0]))
        assert found.smallest == pytest.approx(stats.gmean(truth[:, -1]))
        assert found.mean == pytest.approx(stats.gmean(truth.mean(axis=1)))
        assert found.condition == pytest.approx(stats.gmean(truth[:, 0] / truth[:, -1]))
        assert found.rank == 5
        shares = np.quantile(truth, engine.SHARES, axis=1)
        assert found.quantiles == pytest.approx(stats.gmean(shares, axis=1))

    def test_an_orthogonal_linear_net_is_an_isometry(self):
        net = network("orthogonal", "identity", (32,) * 21)
        found = engine.spectrum(engine.jacobian(net, engine.forward(net, batch(32))), 20)
        # its draws are float32
        assert [found.largest, found.smallest, found.condition] == pytest.approx([1, 1, 1], abs=20 * 1e-6)

    def test_a_linear_net_is_the_product_of_its_weights(self):
        net = network("lecun_normal", "identity", (8, 8, 8, 8))
        product = np.linalg.multi_dot([weight.numpy() for weight in reversed(net.weights)])
        found = engine.spectrum(engine.jacobian(net, engine.forward(net, batch(8))))
        assert found.condition == pytest.approx(np.linalg.cond(product), rel=1e-9)

    def test_what_is_told_of_a_steep_product_is_true_to_fifty_digits(self):
        """Gaussian products lose their smallest singular value to rounding; it is told while it is right."""
        net = network("lecun_normal", "identity", (6,) * 41)
        passage, told = engine.forward(net, batch(6, 1)), []
        with mpmath.workdps(60):
            exact = mpmath.eye(6)
            formed = torch.eye(6, dtype=torch.float64)[None]
            for depth, weight in enumerate(net.weights, 1):
                exact, formed = mpmath.matrix(weight.tolist()) * exact, weight @ formed
                values = sorted(mpmath.svd_r(exact, compute_uv=False))
                found = engine.spectrum(formed, depth)
                if not math.isnan(found.condition):
                    told.append(abs(found.condition * float(values[0] / values[-1]) - 1))
        assert passage.held[-1]
        assert 5 < len(told) < 40  # from somewhere on, nothing is told
        assert max(told) < 0.3

    def test_a_rectifiers_dead_units_take_rank_and_leave_no_condition(self):
        net = network("he_normal", "relu", (10, 10))
        passage = engine.forward(net, batch(10, 1))
        found = engine.spectrum(engine.layer_jacobian(net, passage, 0))
        assert found.rank == int((passage.z[0] > 0).sum()) < 10
        assert math.isnan(found.condition)
        assert math.isnan(found.smallest)

    def test_an_input_whose_jacobian_is_0_is_counted_and_left_out(self):
        matrices = batch(35, 4).view(4, 7, 5)
        matrices[2] = 0
        found, others = engine.spectrum(matrices), engine.spectrum(matrices[[0, 1, 3]])
        assert (found.zero, others.zero) == (1, 0)
        truth = np.linalg.svd(matrices[[0, 1, 3]].numpy(), compute_uv=False)
        assert found.largest == others.largest == pytest.approx(stats.gmean(truth[:, 0]))
        assert found.mean == pytest.approx(stats.gmean(truth.mean(axis=1)))
        assert found.condition == pytest.approx(stats.gmean(truth[:, 0] / truth[:, -1]))
        assert found.quantiles == others.quantiles
        assert found.rank == 5 * 3 / 4
        none = engine.spectrum(torch.zeros(4, 7, 5, dtype=torch.float64))
        assert (none.zero, none.largest, none.mean, none.rank) == (4, 0, 0, 0)
        assert math.isnan(none.condition)


class TestRanks:
    def test_effective_rank(self):
        share = np.array([0.5, 0.3, 0.2])
        turn = torch.linalg.qr(batch(3)).Q
        assert engine.effective_rank(torch.diag(torch.tensor(share)) @ turn * 7) == pytest.approx(
            math.exp(stats.entropy(share))
        )
        assert engine.effective_rank(torch.linalg.qr(batch(6, 6)).Q) == pytest.approx(6)
        assert engine.effective_rank(torch.ones(4, 5, dtype=torch.float64)) == pytest.approx(1)
        assert math.isnan(engine.effective_rank(torch.zeros(4, 5)))

    def test_kernel_condition(self):
        rows = batch(9, 4)
        assert engine.kernel_condition(rows @ rows.t()) == pytest.approx(np.linalg.cond((rows @ rows.t()).numpy()))
        assert math.isnan(engine.kernel_condition(torch.ones(3, 3, dtype=torch.float64)))


def whole(frame):
    return frame[frame.scope == "network"]


@pytest.mark.parametrize(
    ("init", "activation", "widths"),
    [
        ("he_normal", "relu", (24,) * 6),
        ("torch_default(bias=false)", "relu", (24, 20, 16, 12)),
        ("xavier_uniform", "identity", (12, 24, 16)),
        ("orthogonal", "identity", (12, 24, 16)),
    ],
)
def test_the_mean_over_seeds_is_the_product_of_chi(init, activation, widths):
    """Exact at any width: linear nets, and rectifiers, whose gate is as likely on as off whatever |w·u|."""
    frame = whole(jacobians(init=init, activation=activation, widths=widths, seeds=100, batch=2, at=1, probes=8))
    fan = [fan_out * INITIALIZERS.make(init).promises(ACTIVATIONS.make(activation), Network(widths))[i].variance
           for i, fan_out in enumerate(widths[1:])]  # fmt: skip
    expected = math.prod(fan) * (0.5 if activation == "relu" else 1) ** len(fan)
    assert frame.predicted_squared_singular_value.tolist() == pytest.approx([expected] * 100)
    found = frame.squared_singular_value
    assert abs(found.mean() - expected) < 4 * found.sem() + 1e-6 * expected


def test_a_wide_tanh_net_is_near_mean_field():
    """A network's own spread at width 256 is about depth/n: the mean over seeds is held to its standard error."""
    frame = whole(jacobians(init="xavier", activation="tanh", depth=4, width=256, seeds=12, batch=8))
    error = frame.squared_singular_value - frame.predicted_squared_singular_value
    assert abs(error.mean()) < 4 * error.sem()
    assert error.abs().max() < 0.1


def test_dynamical_isometry():
    """Orthogonal tanh nets of small signals have all singular values near 1; Gaussian ones do not (Pennington 2017)."""
    frame = whole(jacobians(init=["orthogonal", "xavier"], activation="tanh", depth=6, width=48, seeds=2, batch=4,
                            input_second_moment=0.01, spectrum=True)).set_index(["init", "seed"])  # fmt: skip
    condition = frame.condition.unstack()
    assert (condition.loc["orthogonal"] < 1.5).all()
    assert (condition.loc["xavier_normal"] > 1e4).all()
    # and mean field cannot tell them apart
    predicted = frame.predicted_squared_singular_value
    assert (predicted == predicted.iloc[0]).all()


OPTIONS = {"init": "he", "activation": ["relu", "tanh"], "depth": 3, "width": 16, "seeds": 2, "batch": 8}


class TestTable:
    def test_a_row_a_layer_and_one_for_the_network(self):
        frame = jacobians(**OPTIONS)
        assert list(frame) == list(COLUMNS)
        groups = frame.groupby(["init", "activation", "seed"], sort=False)
        assert [list(zip(rows.scope, rows.layer, strict=True)) for _, rows in groups] == [
            [("layer", 1), ("layer", 2), ("layer", 3), ("network", 3)]
        ] * 4
        assert (
            frame[["singular_max", "singular_mean", "singular_min", *QUANTILES, "condition", "rank"]].isna().all().all()
        )

    def test_the_spectrum_changes_nothing_else_and_agrees_with_the_trace(self):
        with_it, without = jacobians(**OPTIONS, spectrum=True), jacobians(**OPTIONS)
        told = {"singular_max", "singular_mean", "singular_min", *QUANTILES, "condition", "rank", "note"}
        rest = [name for name in COLUMNS if name not in told]
        pd.testing.assert_frame_equal(with_it[rest], without[rest])
        assert (with_it.singular_max**2 >= with_it.squared_singular_value * 0.99).all()
        assert with_it.condition[with_it.activation == "tanh"].notna().all()
        unresolved = with_it.note == "the smallest singular values are 0 or below the rounding"
        assert (unresolved == with_it.condition.isna()).all()
        assert (unresolved == (with_it["rank"] < 16)).all()

    def test_the_network_is_the_one_that_propagate_measures(self):
        frame = jacobians(**OPTIONS)
        layers = initbench.propagate(**OPTIONS)
        ours = frame[frame.scope == "layer"].set_index(["activation", "seed", "layer"]).cosine
        theirs = layers.set_index(["activation", "seed", "layer"]).cosine
        np.testing.assert_allclose(ours.sort_index(), theirs.sort_index(), rtol=1e-4, atol=1e-6)
        predicted = initbench.predict(**OPTIONS, laws="mean_field")
        np.testing.assert_allclose(frame[(frame.scope == "layer") & (frame.seed == 0)].predicted_cosine,
                                   predicted.z_cosine)  # fmt: skip

    def test_a_result_does_not_depend_on_its_neighbours_nor_on_generators(self):
        torch.manual_seed(3)
        before = torch.random.get_rng_state()
        frame = jacobians(**OPTIONS)
        assert torch.equal(before, torch.random.get_rng_state())
        alone = jacobians(**{**OPTIONS, "activation": "tanh"})
        pd.testing.assert_frame_equal(frame[frame.activation == "tanh"].reset_index(drop=True), alone)

    def test_progress_counts_networks(self):
        seen = []
        jacobians(**OPTIONS, progress=lambda done, of: seen.append((done, of)))
        assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_what_leaves_float64_is_not_told_as_0(self):
        frame = jacobians(init=["normal(std=1e-20)", "zeros"], activation="tanh", depth=20, width=8, seeds=1, batch=4)
        lost, zeros = whole(frame).set_index("init").loc[["normal(std=1e-20)", "zeros"]].to_dict("records")
        assert math.isnan(lost["squared_singular_value"])
        assert lost["note"] == "beyond float64"
        assert (zeros["squared_singular_value"], zeros["note"]) == (0, "")

    def test_a_jacobian_of_0_is_told_apart_from_one_beyond_float64(self):
        """A bias keeps the signal, whatever the weights: of 20 factors of 1e-20 float64 holds none."""
        options = {"activation": "tanh", "width": 8, "seeds": 1, "batch": 4, "bias_variance": 1.0, "spectrum": True}
        lost = whole(jacobians(init="normal(std=1e-20)", depth=20, **options)).squeeze()
        assert math.isnan(lost.squared_singular_value)
        assert (math.isnan(lost.singular_max), lost.note) == (True, "beyond float64")
        held = whole(jacobians(init="normal(std=1e-20)", depth=6, **options)).squeeze()
        assert held.singular_max**2 / 8 < held.squared_singular_value < held.singular_max**2 * 1.5
        zeros = whole(jacobians(init="zeros", depth=20, **options)).squeeze()
        assert (zeros.squared_singular_value, zeros.singular_max, zeros.note) == (
            0, 0, "the Jacobian is 0 at 4 of 4 inputs: all")  # fmt: skip

    def test_a_network_that_is_off_at_some_inputs_says_at_how_many(self):
        options = {"init": "he_normal", "activation": "relu", "depth": 3, "width": 3, "seeds": 20, "batch": 4}
        frame, seen = whole(jacobians(**options, spectrum=True)), set()
        phi, shape = ACTIVATIONS.make("relu"), Network((3,) * 4)
        for seed, (_, row) in enumerate(frame.iterrows()):
            net = engine.draw(INITIALIZERS.make("he_normal"), INITIALIZERS.make("he_normal").promises(phi, shape), phi,
                              seed, CPU)  # fmt: skip
            x = open_inputs(resolve(**options), None, False).batch(seed, 4, 3)
            largest = [np.linalg.norm(one, 2) for one in engine.jacobian(net, engine.forward(net, x)).numpy()]
            on = [value for value in largest if value > 0]
            seen.add(len(on))
            told = [note for note in row.note.split("; ") if note.startswith("the Jacobian is 0")]
            if len(on) == 4:
                assert not told
            elif on:
                off = 4 - len(on)
                assert told == [f"the Jacobian is 0 at {off} of 4 inputs: the singular values told are of the others"]
            else:
                assert told == ["the Jacobian is 0 at 4 of 4 inputs: all"]
            assert row.singular_max == (pytest.approx(stats.gmean(on)) if on else 0)
        assert {0, 4} < seen
        drawn = jacobian_spectrum.summary(frame)  # a seed without any has no place on the log axis
        assert drawn.seeds.item() == (frame.singular_max > 0).sum() < 20
        expected = stats.gmean(frame.singular_max[frame.singular_max > 0])
        assert drawn.singular_max.item() == pytest.approx(expected)

    def test_weights_without_randomness_have_no_chi(self):
        frame = jacobians(init="identity", activation="tanh", depth=2, width=8, seeds=1, batch=4)
        assert frame.predicted_squared_singular_value.isna().all()
        assert frame.squared_singular_value.notna().all()

    def test_an_impossible_pairing_is_a_row_that_says_why(self):
        frame = jacobians(init="critical", activation=["softplus", "relu"], depth=2, width=8, seeds=1, batch=4)
        row = frame[frame.activation == "softplus"].squeeze()
        assert row.note.startswith("softplus has no critical weight variance")
        with pytest.raises(UsageError, match="softplus has no critical"):
            jacobians(init="critical", activation="softplus", depth=2, width=8, seeds=1, batch=4)


class TestFigure:
    @pytest.fixture(scope="class")
    @staticmethod
    def frame():
        return jacobians(init=["orthogonal", "xavier", "critical"], activation=["tanh", "softplus"], depth=4, width=16,
                         seeds=2, batch=4, input_second_moment=0.01, spectrum=True)  # fmt: skip

    def test_the_summary_is_the_geometric_mean_over_seeds(self, frame):
        summary = jacobian_spectrum.summary(frame)
        rows = frame[(frame.init == "xavier_normal") & (frame.activation == "tanh") & (frame.scope == "network")]
        told = summary[
            (summary.init == "xavier_normal") & (summary.activation == "tanh") & (summary.scope == "network")
        ]
        assert told.singular_95.item() == pytest.approx(math.sqrt(rows.singular_95.prod()))
        assert told.seeds.item() == 2
        assert "critical" not in set(summary[summary.activation == "softplus"].init)  # there is none: no spectrum
        assert len(summary) == 5 * 5

    def test_a_network_that_leaves_float64_has_its_layers_alone(self):
        frame = jacobians(init=["normal(std=1e40)", "he_normal"], activation="relu", depth=6, width=4, seeds=1, batch=2,
                          spectrum=True)  # fmt: skip
        summary = jacobian_spectrum.summary(frame)
        assert set(summary[summary.init != "he_normal"].scope) == {"layer"}
        assert len(jacobian_spectrum.draw(summary).axes[0].collections) == 2 + 2  # bands, and one network's bar

    def test_isometry_is_seen(self, frame):
        """Each panel's first curve is orthogonal's: at 1 in each layer, and the whole network's bar is short."""
        figure = jacobian_spectrum.draw(jacobian_spectrum.summary(frame))
        axes = figure.axes[0]
        assert axes.get_title() == "tanh"
        assert np.array(axes.lines[0].get_ydata()) == pytest.approx(1.0, abs=0.05)
        ((_, low), (_, high)) = axes.collections[1].get_segments()[0]
        assert 1 < high / low < 1.5
        assert figure.legends[0].get_texts()[0].get_text() == "orthogonal"


class TestCommand:
    SMALL = ("--init", "orthogonal", "--activation", "tanh", "--depth", 2, "--width", 8, "--seeds", 1, "--batch", 4)

    @staticmethod
    def run(*arguments):
        return CliRunner().invoke(main, ["jacobian", *(str(argument) for argument in arguments)])

    def test_csv_and_json_have_standard_output_to_themselves(self):
        table, told = (
            self.run(*self.SMALL, "--spectrum", "--no-figures", "--format", form) for form in ("csv", "json")
        )
        assert (table.exit_code, table.stderr, told.stderr) == (0, "", "")
        frame, rows = pd.read_csv(io.StringIO(table.stdout)), json.loads(told.stdout)
        assert list(frame) == list(rows[0]) == list(COLUMNS)
        expected = jacobians(init="orthogonal", activation="tanh", depth=2, width=8, seeds=1, batch=4, spectrum=True)
        assert frame.condition.tolist() == pytest.approx(expected.condition.tolist(), rel=1e-12)

    def test_the_spectrum_is_drawn(self, tmp_path):
        done = self.run(*self.SMALL, "--spectrum", "--reports", tmp_path)
        assert done.stdout.splitlines()[-1] == f"Figure:  {tmp_path / 'jacobian_spectrum.png'}"
        assert len(pd.read_csv(tmp_path / "jacobian_spectrum.csv")) == 3

    def test_a_table_for_the_terminal(self):
        done = self.run(*self.SMALL)
        assert done.exit_code == 0
        assert [line.split()[3] for line in done.stdout.splitlines()[1:4]] == ["layer", "layer", "network"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--init", "hee"], "unknown initializer 'hee'; did you mean 'he'?"),
            (["--at", 0], "the Jacobian is taken at 1 input or more, not 0"),
            (["--probes", 0], "probes must be at least 1, not 0"),
            (["--seeds", 0], "seeds must be at least 1, not 0"),
        ],
    )
    def test_a_wrong_request_is_one_line_and_exit_code_2(self, arguments, message):
        done = self.run(*arguments)
        assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: {message}\n")


def test_one_input_has_no_cosine():
    cosine = initbench.jacobian(init="he_normal", activation="relu", depth=3, width=64, batch=1, seeds=10).cosine
    assert cosine.isna().all()
