"""Phases: closed forms, plain iteration with an independent integrator, whole messages, and the figure's artists."""

import io
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from initbench.activations import ACTIVATIONS, Activation
from initbench.analysis.figures import phase_diagram as figure
from initbench.cli import main
from initbench.core.errors import UsageError
from initbench.grid.phases import phase_diagram
from initbench.theory.expectation import FINE, kernel
from initbench.theory.phase import COLUMNS, LINE_COLUMNS, critical_line, phase, xi

EXACT = {"rel": 1e-10, "abs": 1e-10}


def point(name, w, b):
    (row,) = phase(ACTIVATIONS.make(name), [w], [b])
    return row


def expect(function, marks=()):
    """E[f(x)], x ~ N(0, 1), by adaptive quadrature; wrong by less than 1e-12."""
    cuts = [-12, *sorted({-3, -1, 0, 1, 3, *(mark for mark in marks if abs(mark) < 12)}), 12]
    parts = [quad(lambda x: function(x) * math.exp(-x * x / 2), low, high, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
             for low, high in pairwise(cuts)]  # fmt: skip
    return sum(parts) / math.sqrt(2 * math.pi)


# --- closed forms


@pytest.mark.parametrize(("w", "b"), [(0.5, 0.1), (1.0, 1.0), (1.9, 0.3)])
def test_relu_is_a_line(w, b):
    row = point("relu", w, b)
    assert row["q_star"] == pytest.approx(b / (1 - w / 2), **EXACT)
    assert (row["chi_1"], row["chi_parallel"], row["chi_c"]) == pytest.approx((w / 2,) * 3, **EXACT)
    assert (row["xi_q"], row["xi_c"]) == pytest.approx((-1 / math.log(w / 2),) * 2, rel=1e-9)
    assert (row["c_star"], row["phase"], row["note"]) == (1.0, "ordered", "")


@pytest.mark.parametrize(("w", "b"), [(1.0, 0.3), (2.0, 0.0), (2.5, 0.05), (4.0, 0.3), (30.0, 0.1)])
def test_erf_is_the_arcsine_kernel(w, b):
    def passed(q, c):
        return w * 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)) + b

    def slope(q, c):
        return w * 4 / math.pi / math.sqrt((1 + 2 * q) ** 2 - (2 * q * c) ** 2)

    row = point("erf", w, b)
    q = brentq(lambda q: passed(q, 1) - q, 1e-3, w + b, xtol=1e-15, rtol=1e-15)
    assert row["q_star"] == pytest.approx(q, **EXACT)
    assert row["chi_1"] == pytest.approx(slope(q, 1), **EXACT)
    parallel = w * 4 / math.pi / ((1 + 2 * q) * math.sqrt(1 + 4 * q))  # d/dq of 2/pi asin(2q / (1 + 2q))
    assert row["chi_parallel"] == pytest.approx(parallel, **EXACT)
    c = 1.0
    if slope(q, 1) > 1:
        c = brentq(lambda c: (passed(q, c) / q - c) / (1 - c), 0, 1 - 1e-6, xtol=1e-15)
    assert row["phase"] == ("chaotic" if c < 1 else "ordered")
    assert (row["c_star"], row["chi_c"]) == pytest.approx((c, slope(q, c)), **EXACT)


def test_a_tiny_excess_over_criticality_is_chaotic_with_a_deep_scale():
    w = math.pi / 4 * 1.001  # erf without bias is critical at pi / 4
    row = point("erf", w, 0.0)
    assert (row["phase"], row["c_star"]) == ("chaotic", 0.0)
    assert row["xi_c"] > 1000


# --- plain iteration, with another integrator


@pytest.mark.parametrize(("name", "w", "b"), [("tanh", 2.0, 0.0), ("tanh", 2.5, 0.1), ("sigmoid", 30.0, 0.5),
                                             ("gelu", 1.5, 0.2), ("elu", 1.2, 0.1),
                                             ("hardtanh", 2.0, 0.3)])  # fmt: skip
def test_iterating_the_map_of_q_arrives_there(name, w, b):
    activation = ACTIVATIONS.make(name)

    def passed(q):
        marks = [kink / math.sqrt(q) for kink in activation.kinks]
        return w * expect(lambda x: activation.value(np.array(math.sqrt(q) * x)).item() ** 2, marks) + b

    row, q = point(name, w, b), w + b
    for _ in range(200):
        q, before = passed(q), q
        if abs(q - before) < 1e-13:
            break
    assert row["q_star"] == pytest.approx(q, rel=1e-10)
    step = 1e-4 * q
    assert row["chi_parallel"] == pytest.approx((passed(q + step) - passed(q - step)) / (2 * step), rel=1e-6)
    marks = [kink / math.sqrt(q) for kink in activation.kinks]
    chi = w * expect(lambda x: activation.slope(np.array(math.sqrt(q) * x)).item() ** 2, marks)
    assert row["chi_1"] == pytest.approx(chi, rel=1e-10)


@pytest.mark.parametrize(("name", "w", "b"), [("tanh", 2.5, 0.1), ("tanh", 2.0, 0.05), ("hardtanh", 2.0, 0.3),
                                             ("hardtanh", 1.25, 0.05), ("softsign", 6.0, 0.1), ("selu", 0.8, 0.0),
                                             ("relu6", 3.0, 0.4)])  # fmt: skip
def test_the_cosine_is_a_fixed_point_and_its_slope_that_of_the_map(name, w, b):
    activation, row = ACTIVATIONS.make(name), point(name, w, b)
    q, c = row["q_star"], row["c_star"]
    x = np.arange(-9, 9, 0.02)  # the trapezoidal rule: exact to rounding where phi is smooth
    weight = np.exp(-(x**2) / 2) * 0.02 / math.sqrt(2 * math.pi)
    u, v = math.sqrt(q) * x[:, None], math.sqrt(q) * (c * x[:, None] + math.sqrt(1 - c * c) * x)

    def over_pairs(function):
        if activation.kinks:  # u, and v given u: neither a power series nor Stein's lemma, as the code has
            return kernel(function, q, c, activation.kinks, FINE)
        return weight @ (function(u) * function(v)) @ weight

    assert row["phase"] == "chaotic"
    assert 0 <= c < 1
    assert (w * over_pairs(activation.value) + b) / q == pytest.approx(c, abs=1e-10 * (1 - row["chi_c"]) + 1e-12)
    assert row["chi_c"] == pytest.approx(w * over_pairs(activation.slope), rel=1e-9)
    assert 0 < row["chi_c"] < 1 < row["chi_1"]


def test_a_function_of_ones_own_with_the_same_values_as_erf_has_the_same_phases():
    """The closed form is not used by the one, and is by the other."""
    erf = ACTIVATIONS.make("erf")
    own = Activation(erf.function, spec="own")
    for given, found in zip(
        phase(erf, [0.5, 1.6, 3.0], [0.0, 0.2]), phase(own, [0.5, 1.6, 3.0], [0, 0.2]), strict=True
    ):
        numbers = COLUMNS[1:10]
        assert [found[name] for name in numbers] == pytest.approx(
            [given[name] for name in numbers], nan_ok=True, **EXACT
        )


@pytest.mark.parametrize(("name", "of_fall", "tolerance"), [("relu6", 1.5, 1e-6), ("hardtanh", 1.5, 1e-6),
                                                            ("elu", 2.0, 5e-3)])  # fmt: skip
def test_just_beyond_the_line_a_kink_does_not_hide_the_chaos(name, of_fall, tolerance):
    """There the power series converges so slowly that it may say c* = 1."""
    activation = ACTIVATIONS.make(name)
    (line,) = critical_line(activation, [0.12])
    rows = phase(activation, line["weight_variance"] * (1 + np.logspace(-5, -1.5, 15)), [0.12])
    assert {row["phase"] for row in rows} == {"chaotic"}
    for nearer, farther in pairwise(rows):
        assert 1 > nearer["c_star"] > farther["c_star"]
        assert 1 > nearer["chi_c"] > farther["chi_c"]
    for row in rows[:5]:  # with jump of phi': C' = chi_1 - 3/2 a theta and (1 - C) / theta² = chi_1 - a theta = 1
        assert (row["chi_1"] - row["chi_c"]) / (row["chi_1"] - 1) == pytest.approx(of_fall, rel=tolerance)


# --- no fixed point, more than one, and at the line


@pytest.mark.parametrize(("name", "w", "b", "word", "q", "note"), [
    ("relu", 1.0, 0.0, "vanishing", 0.0, "E[z²] goes to 0"),
    ("relu", 2.0, 0.0, "critical", 2.0, "every q nearby is a fixed point"),
    ("relu", 3.0, 0.1, "unbounded", math.inf, "E[z²] grows without end"),
    ("relu", 2.0, 0.1, "unbounded", math.inf, "E[z²] grows without end, more slowly than any exponential"),
    ("identity", 1.0, 0.0, "critical", 1.0, "every q nearby is a fixed point; every cosine is kept"),
    ("tanh", 1.0, 0.0, "critical", 0.0, "E[z²] goes to 0, more slowly than any exponential; to first order the cosine"
     " stays as it is"),
    ("tanh", 0.5, 0.0, "vanishing", 0.0, "E[z²] goes to 0; to first order the cosine stays as it is"),
])  # fmt: skip
def test_what_has_no_fixed_point_above_0_is_told_in_words(name, w, b, word, q, note):
    row = point(name, w, b)
    assert (row["phase"], row["q_star"], row["note"]) == (word, q, note)


def test_gelu_has_two_more_fixed_points_that_are_told():
    row = point("gelu", 2.4, 0.0)
    assert row["phase"] == "unbounded"
    assert row["note"].startswith("E[z²] grows without end; other fixed points of q: 0 attracts, 0.87")
    assert row["note"].endswith(" repels")


@pytest.mark.parametrize("apart", [0.3, 0.03, 1e-3, 1e-4])
def test_two_fixed_points_that_are_about_to_meet_are_both_told(apart):
    """GELU whose variances put fixed points at 1 and 1 + apart, by another integrator: a tangent bifurcation."""
    gelu, levels = ACTIVATIONS.make("gelu"), (1.0, 1.0 + apart)
    low, high = (expect(lambda x, q=q: gelu.value(np.array(math.sqrt(q) * x)).item() ** 2) for q in levels)
    w = apart / (high - low)
    b = 1 - w * low
    assert b > 0
    told = ", ".join(f"{q:.4g} {word}" for q, word in zip(levels, ("attracts", "repels"), strict=True))
    assert point("gelu", w, b)["note"] == f"E[z²] grows without end; other fixed points of q: {told}"
    assert point("gelu", w, b * (1 + apart))["note"] == "E[z²] grows without end"


def test_of_two_close_fixed_points_the_nearer_one_stops_the_signal():
    """They are nearer than the grid: E[z²] from below them goes to the lower one and not to infinity."""
    gelu = ACTIVATIONS.make("gelu")
    levels = (2.2, 2.3)
    low, high = (expect(lambda x, q=q: gelu.value(np.array(math.sqrt(q) * x)).item() ** 2) for q in levels)
    w = (levels[1] - levels[0]) / (high - low)
    b = levels[0] - w * low
    assert w + b < levels[0]
    row = point("gelu", w, b)
    assert row["q_star"] == pytest.approx(levels[0], rel=1e-9)
    assert row["note"].startswith("other fixed points of q: 2.3 repels")


def test_selu_has_mean_0_and_variance_1_as_its_fixed_point():
    row = point("selu", 1.0, 0.0)
    assert row["q_star"] == pytest.approx(1, abs=1e-6)  # Klambauer et al. 2017 give their constants to that
    assert 0 < row["chi_parallel"] < 1


@pytest.mark.parametrize("name", ["tanh", "erf", "hardtanh"])
def test_on_the_critical_line_chi_is_1_and_beside_it_the_phases_lie(name):
    for line in critical_line(ACTIVATIONS.make(name), [0.05, 0.3]):
        w, b = line["weight_variance"], line["bias_variance"]
        words = [point(name, factor * w, b)["phase"] for factor in (0.99, 1, 1.01)]
        assert words == ["ordered", "critical", "chaotic"]
        assert point(name, w, b)["q_star"] == pytest.approx(line["q_star"], rel=1e-8)


def test_the_critical_line_says_who_has_none_or_an_unstable_one():
    rows = [critical_line(ACTIVATIONS.make(name), [b])[0]
            for name, b in (("tanh", 0.0), ("silu", 0.05), ("relu", 0.0), ("softplus", 0.1))]  # fmt: skip
    assert [tuple(row) for row in rows] == [LINE_COLUMNS] * 4
    assert [row["stability"] for row in rows] == ["attracting", "repelling", "neutral", "none"]
    assert [row["note"] for row in rows] == ["", "E[z²] leaves q* after a disturbance", "every q is a fixed point",
        "softplus has no critical weight variance at bias variance 0.1: wherever chi_1 = 1, E[z²] grows from layer to"
        " layer and has no fixed point"]  # fmt: skip


@pytest.mark.parametrize(("w", "b"), [(1.0, 0.05), (0.3, 0.05), (4.0, 0.5)])
def test_where_phi_jumps_neighbours_part_however_near(w, b):
    """Of the sign E[phi(u) phi(v)] = 2/π arcsin(c), which is infinitely steep at 1; its gradient is 0."""
    sign = Activation(lambda z: z.sign() + 0 * z, kinks=(0.0,), spec="x")
    (row,) = phase(sign, [w], [b])
    c = brentq(lambda c: (w * 2 / math.pi * math.asin(c) + b) / (w + b) - c, 0, 1 - 1e-6, xtol=1e-14)
    assert (row["q_star"], row["c_star"]) == (pytest.approx(w + b, rel=1e-12), pytest.approx(c, rel=1e-9))
    assert row["chi_c"] == pytest.approx(w * 2 / math.pi / math.sqrt(1 - c**2) / (w + b), rel=1e-8)
    assert (row["phase"], row["chi_1"]) == ("chaotic", 0)
    assert "phi jumps: C'(1) is infinite" in row["note"]


def test_a_staircase_has_three_branches_and_each_its_stability():
    """Hard tanh with steps at |z| = d, whose slope autograd does not see: closed forms by the normal law."""
    height, d = 3.0, 5.0
    stairs = Activation(
        lambda z: z.clamp(-1, 1) + height * z.sign() * (z.abs() > d), kinks=(-d, -1.0, 1.0, d), spec="x"
    )

    def map_of_bias(q):
        """The bias variance at which q is critical, q - E[phi²] / E[phi'²]."""
        inner, outer = (norm.cdf(k / math.sqrt(q)) * 2 - 1 for k in (1, d))
        clipped = q * inner - 2 * math.sqrt(q) * norm.pdf(1 / math.sqrt(q)) + (outer - inner) + (1 - outer)
        return q - (clipped + ((1 + height) ** 2 - 1) * (1 - outer)) / inner

    grid = np.logspace(-2, 3, 2000)
    biases = np.array([map_of_bias(q) for q in grid])
    b = 1.0
    places = np.flatnonzero((biases[1:] - b) * (biases[:-1] - b) < 0)
    expected = [brentq(lambda q: map_of_bias(q) - b, *grid[[at, at + 1]], xtol=1e-13) for at in places]
    assert len(expected) == 3
    rows = critical_line(stairs, [b])
    assert [row["q_star"] for row in rows] == pytest.approx(expected, rel=1e-9)
    words = []
    for q, row in zip(expected, rows, strict=True):
        w = 1 / (2 * norm.cdf(1 / math.sqrt(q)) - 1)
        assert row["weight_variance"] == pytest.approx(w, rel=1e-9)
        q_next = [w * (near - map_of_bias(near)) * (2 * norm.cdf(1 / math.sqrt(near)) - 1) + b
                  for near in (q, q * 1.001)]  # fmt: skip
        words.append("attracting" if q_next[1] - q_next[0] < 0.001 * q else "repelling")
    assert [row["stability"] for row in rows] == words
    assert set(words) == {"attracting", "repelling"}


@pytest.mark.parametrize(
    ("chi", "depth"), [(0.0, 0.0), (1.0, math.inf), (math.exp(-0.1), 10.0), (-math.exp(-0.5), 2.0)]
)
def test_depth_scales(chi, depth):
    assert xi(chi) == pytest.approx(depth)
    assert math.isnan(xi(1.5))


@pytest.mark.parametrize(("w", "b", "message"), [
    (0.0, 0.1, "a weight variance is a number above 0, not 0"),
    (math.nan, 0.1, "a weight variance is a number above 0, not nan"),
    (1.0, -1.0, "a bias variance is a number of at least 0, not -1"),
])  # fmt: skip
def test_variances_that_cannot_be(w, b, message):
    with pytest.raises(UsageError) as told:
        point("tanh", w, b)
    assert str(told.value) == message


# --- the figure


@pytest.fixture(scope="module")
def gelu():
    return phase_diagram("gelu")


def test_the_grid_holds_every_point_once_and_reaches_past_the_line(gelu):
    assert not gelu.points.duplicated(["weight_variance", "bias_variance"]).any()
    assert 2.0 in set(gelu.points["weight_variance"])
    assert phase_diagram("erf").points["weight_variance"].max() == 4.0
    assert phase_diagram("sigmoid").points["weight_variance"].max() > 105


def test_the_figure_draws_the_map_and_both_kinds_of_line(gelu):
    summary = figure.summary(gelu.points, gelu.line)
    assert list(summary["part"].unique()) == [figure.POINT, figure.LINE]
    axes = figure.draw(summary).axes[0]
    solid, dashed = axes.lines
    attracting = gelu.line[gelu.line["stability"] == "attracting"]
    drawn = np.array(solid.get_xdata(), float)
    assert drawn[~np.isnan(drawn)] == pytest.approx(attracting["weight_variance"].to_numpy())
    assert solid.get_linestyle() == "-"
    assert dashed.get_linestyle() == "--"
    words = {text.get_text() for text in axes.texts}
    assert {"ordered", "unbounded"} <= words
    unbounded, vanishing, depth = axes.collections
    counts = gelu.points["phase"].value_counts()
    assert unbounded.get_array().count() == counts["unbounded"]
    assert vanishing.get_array().count() == counts["vanishing"]
    assert depth.get_array().count() == len(gelu.points) - counts["unbounded"] - counts["vanishing"]


def test_branches_are_one_curve_and_a_gap_parts_it(gelu):
    """A made line: it rises to 0.2 and turns back there; another piece, that repels, comes down from 1."""
    line = pd.DataFrame({"bias_variance": [0.0, 0.1, 0.2, 0.3, 1.0, 0.2, 0.1, 1.0], "activation": "gelu",
                         "weight_variance": [1.0, 1.1, 1.2, math.nan, math.nan, 1.3, 1.4, 3.0],
                         "q_star": [0.0, 1.0, 2.0, math.nan, math.nan, 3.0, 4.0, 9.0],
                         "stability": [*["attracting"] * 3, "none", "none", "repelling", "repelling", "repelling"],
                         })  # fmt: skip
    summary = figure.summary(gelu.points, line)
    drawn = summary[summary["part"] == figure.LINE]
    assert drawn["piece"].tolist() == [0, 0, 0, 0, 0, 1]
    axes = figure.draw(summary).axes[0]
    runs = [np.array(curve.get_xdata(), float) for curve in axes.lines]
    assert [run[~np.isnan(run)].tolist() for run in runs] == [[1.0, 1.1, 1.2], [1.2, 1.3, 1.4], [3.0]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels.count(figure.WORDS["repelling"]) == 1


def test_an_activation_without_a_line_is_drawn_without_one():
    diagram = phase_diagram("softplus")
    summary = figure.summary(diagram.points, diagram.line)
    assert set(summary["part"]) == {figure.POINT}
    assert not figure.draw(summary).axes[0].lines


# --- the command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, ["predict", *arguments])


def test_csv_has_standard_output_to_itself_and_the_figure_is_there(run):
    done = run("--phase", "erf", "--phase", "relu", "--phase", "erf", "--format", "csv", "--reports", "drawn")
    frame = pd.read_csv(io.StringIO(done.stdout), keep_default_na=False)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["activation"].unique()) == ["erf", "relu"]
    assert done.stderr == ""
    names = {f"phase_diagram_{name}.{kind}" for name in ("erf", "relu") for kind in ("png", "csv")}
    assert {path.name for path in Path("drawn").iterdir()} == names


def test_a_table_gives_the_line_the_fixed_points_and_the_figure(run):
    done = run("--phase", "erf")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "Critical line, where chi_1 = 1 (a row for each branch):"
    assert lines[2].split() == ["erf", "0", "0.7854", "0", "attracting"]
    assert lines[-1] == "Figure:  reports/phase_diagram_erf.png"
    assert Path("reports/phase_diagram_erf.csv").exists()


def test_no_figures_writes_nothing(run):
    assert run("--phase", "relu", "--no-figures").exit_code == 0
    assert not list(Path().iterdir())


@pytest.mark.parametrize(("given", "message"), [
    (["--phase", "tanh", "--init", "he", "--depth", "3"],
     "--phase is of an activation alone, without a network: leave out --init, --depth"),
    (["--phase", "tanh", "--bias-variance", "0"],  # its default, but given
     "--phase is of an activation alone, without a network: leave out --bias-variance"),
    (["--no-figures"], "--figures/--no-figures: only with --phase ACTIVATION"),
    (["--phase", "gleu"], "unknown activation 'gleu'; did you mean 'gelu'?"),
])  # fmt: skip
def test_what_does_not_go_together_is_one_line(run, given, message):
    done = run(*given)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: {message}\n")
    assert not list(Path().iterdir())
