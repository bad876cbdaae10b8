"""Learning curves of deep linear networks: closed forms, the differential equation, gradient descent, the engine."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.integrate import quad, solve_ivp

import initbench as ib
from initbench import studies
from initbench.cli import main
from initbench.core.errors import UsageError
from initbench.datasets import DATASETS
from initbench.recipe.samples import split
from initbench.theory import deep_linear

MATRICES = (1, 2, 3, 5, 16, 65)


def loaded(spec="orthogonal_patterns"):
    """Images, and targets as 0 and 1."""
    data = DATASETS.make(spec).load(None, False)
    return data.train_images.numpy().astype(float), np.eye(data.classes)[data.train_labels.numpy()]


def descend(images, targets, matrices, lr, steps, weights=None, biases=None):
    """Gradient descent on the mean square of W_m(...(W_1 x + b_1)...) + b_m, by the chain rule: losses, biases."""
    size, losses = images.shape[1], []
    weights = weights or [np.eye(size)] * matrices
    biases = biases or [np.zeros(size)] * matrices
    for _ in range(steps + 1):
        signals = [images]
        for w, b in zip(weights, biases, strict=True):
            signals.append(signals[-1] @ w.T + b)
        losses.append(((signals[-1] - targets) ** 2).mean())
        delta, turns = 2 * (signals.pop() - targets) / targets.size, []
        for w, h in zip(weights[::-1], signals[::-1], strict=True):
            turns.append((delta.T @ h, delta.sum(0)))
            delta = delta @ w
        weights = [w - lr * turn[0] for w, turn in zip(weights, turns[::-1], strict=True)]
        biases = [b - lr * turn[1] for b, turn in zip(biases, turns[::-1], strict=True)]
    return np.array(losses), np.array(biases)


@pytest.mark.parametrize("matrices", MATRICES)
@pytest.mark.parametrize("start", [1e-3, 0.2, 1.0])
def test_strengths_solve_their_differential_equation(matrices, start):
    target, times = np.array([1.5, 3.0]), np.linspace(0, 20 / start if matrices > 2 else 20, 40)
    truth = solve_ivp(lambda _, u: matrices * u ** (2 - 2 / matrices) * (target - u), (0, times[-1]), [start, start],
                      t_eval=times, method="LSODA", rtol=1e-11, atol=1e-13)  # fmt: skip
    found = deep_linear.strength(times[:, None], start, target, matrices)
    np.testing.assert_allclose(found, truth.y.T, rtol=1e-8)


def test_one_hidden_layer_has_the_papers_closed_form():
    s, start, time = 2.0, 0.01, np.linspace(0, 5, 11)
    paper = s * np.exp(2 * s * time) / (np.exp(2 * s * time) - 1 + s / start)
    np.testing.assert_allclose(deep_linear.strength(time[:, None], start, np.array([s]), 2)[:, 0], paper, rtol=1e-12)
    took = np.log(1.5 * (s - start) / (start * (s - 1.5))) / (2 * s)
    assert deep_linear.learning_time(1.5, start, s, 2) == pytest.approx(took, rel=1e-12)


@pytest.mark.parametrize("matrices", MATRICES)
def test_learning_time_is_the_integral_of_one_over_the_speed(matrices):
    for s, start, end in [(1.0, 1e-3, 0.5), (4.0, 1.0, 3.9), (1.0, 0.1, 1 - 1e-6)]:
        speed = lambda x, s=s: matrices * (s / (1 + np.exp(-x))) ** (1 - 2 / matrices) * s  # noqa: E731 of the log-odds
        ends = [np.log(u / (s - u)) for u in (start, end)]
        took = quad(lambda x: 1 / speed(x), *ends, epsabs=0, epsrel=1e-12, limit=200)[0]  # noqa: B023
        assert deep_linear.learning_time(end, start, s, matrices) == pytest.approx(took, rel=1e-9)


def test_the_delay_of_depth_is_bounded_at_a_learning_rate_of_one_over_it():
    s, start, end = 1.0, 0.01, 0.9
    limit = (1 / start - 1 / end) / s + np.log(end * (s - start) / (start * (s - end))) / s**2
    off = [m * deep_linear.learning_time(end, start, s, m) / limit - 1 for m in (1_000, 2_000)]
    assert abs(off[1]) < 0.02
    assert off[1] / off[0] == pytest.approx(0.5, rel=0.02)  # of order 1/m


@pytest.mark.parametrize("matrices", [1, 2, 4, 16])
def test_the_recursion_is_gradient_descent_on_all_weights_and_biases(matrices):
    images, targets = loaded()
    task = deep_linear.task(images, targets)
    task.require_decoupled(1.0)
    losses, biases = descend(images, targets, matrices, 0.4 / matrices, 60)
    found = task.loss(deep_linear.gradient_descent(task, 1.0, matrices, 0.4 / matrices, 60))
    np.testing.assert_allclose(found, losses, rtol=1e-5)  # images are float32
    assert np.abs(biases).max() < 1e-6


def test_what_no_linear_map_can_reach_is_in_the_loss():
    # two classes of one direction, and a fault on half of the targets: the best map leaves a quarter of their square
    images = np.repeat(np.eye(2), 2, axis=0)
    targets = images * np.array([[1.5], [0.5], [1.5], [0.5]])
    task = deep_linear.task(images, targets)
    assert task.loss(task.target) == pytest.approx(0.5**2 / 2)
    assert task.loss(np.zeros(2)) == pytest.approx((targets**2).mean())


def test_continuous_time_is_off_by_the_order_of_the_learning_rate():
    task = deep_linear.task(*loaded())
    off = []
    for lr in (0.02, 0.01):
        steps = np.arange(0, 1 + round(4 / lr))
        flow = deep_linear.gradient_flow(task, 1.0, 8, lr, steps)
        off.append(np.abs(flow - deep_linear.gradient_descent(task, 1.0, 8, lr, len(steps) - 1)).max())
    assert off[0] < 0.1
    assert off[1] / off[0] == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("matrices", [2, 8])
def test_beyond_the_largest_learning_rate_rounding_grows(matrices):
    images, targets = loaded()
    task = deep_linear.task(images, targets)
    learnt = np.linalg.pinv(images) @ targets  # symmetric, and its root too
    values, vectors = np.linalg.eigh(learnt)
    root = (vectors * values ** (1 / matrices)) @ vectors.T
    nudged = [1e-9 * np.array([1.0, 2.0, 4.0, 8.0])] * matrices  # a part of every mode
    most = {}
    for share in (0.97, 1.03):
        lr = share * task.largest_lr(matrices)
        most[share] = descend(images, targets, matrices, lr, 600, [root] * matrices, nudged)[0].max()
    assert most[0.97] < 1e-13
    assert most[1.03] > 1e-4


def test_tasks_that_do_not_decouple_are_refused():
    images, targets = loaded()
    with pytest.raises(UsageError, match="coupled"):
        deep_linear.task(images * [1, 2, 3, 4], targets)
    with pytest.raises(UsageError, match="as many outputs as inputs, not 3 and 4"):
        deep_linear.task(images, targets[:, :3])
    task = deep_linear.task(images, targets)
    with pytest.raises(UsageError, match="biases would learn"):
        task.require_decoupled(0.9)
    with pytest.raises(UsageError, match="beyond its target"):
        deep_linear.task(np.eye(2) - 0.5, np.eye(2) - 0.5).require_decoupled(2.0)


@pytest.mark.parametrize("classes", [4, 8])
def test_orthogonal_patterns_are_labels_with_less_contrast(classes):
    images, targets = loaded(f"orthogonal_patterns(classes={classes}, strongest=0.5, weakest=0.1)")
    seen = np.linalg.lstsq(targets, images, rcond=None)[0]  # image = label times this
    np.testing.assert_allclose(targets @ seen, images, atol=1e-6)
    np.testing.assert_allclose(images.sum(1), 1, rtol=1e-6)
    contrasts = np.sort(np.linalg.eigvalsh(seen))[::-1]
    np.testing.assert_allclose(contrasts, [1, *np.geomspace(0.5, 0.1, classes - 1)], rtol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("orthogonal_patterns(classes=6)", "classes must be a power of 2, at least 4, not 6"),
        ("orthogonal_patterns(strongest=0.1, weakest=0.2)", "0 < weakest <= strongest <= 1 is needed, not 0.2 and 0.1"),
    ],
)
def test_impossible_patterns_are_refused(spec, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        DATASETS.make(spec)


STUDY = """
question = "?"

[parts.measured]
seeds = [2, 5]
compare = { depth = [1, 3] }
fix = { dataset = "orthogonal_patterns", normalization = "none", validation = 4, init = "identity", activation = "linear", loss = "mean_squared_error", width = 4, batch_size = 0, lr = 0.1, steps = 40, record_every = 5 }

[parts.theory]
kind = "curve"
time = "discrete"
dataset = "orthogonal_patterns"
depth = [1, 3]
lr = [0.1, 0.1]
steps = 40
record_every = 5
seeds = [2, 5]

[[expect]]
claim = "As predicted"
part = "measured"
table = "curves"
measure = "each(of=train_loss)"
versus = { part = "theory" }
between = [0.9999, 1.0001]

[[figure]]
part = ["measured", "theory"]
predicted = "theory"
table = "curves"
measure = "each(of=train_loss)"
x = "step"
panel = "depth"
"""  # noqa: E501


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(study=STUDY):
        Path("small.toml").write_text(study, encoding="utf-8")
        return CliRunner().invoke(main, ["run", "small.toml"])

    return run


def test_trained_networks_follow_the_predicted_curve(run):
    done = run()
    assert done.exit_code == 0, done.output
    assert "1 of 1 expectations held" in done.stdout
    curves, theory = (ib.load(f"results/small/{part}").curves for part in ("measured", "theory"))
    images, targets = loaded()
    for depth, rows in theory[theory.seed == 2].groupby("depth"):
        truth = descend(images, targets, depth + 1, 0.1, 40)[0][::5]
        np.testing.assert_allclose(rows.train_loss, truth, rtol=1e-5)
        np.testing.assert_allclose(sorted(curves.train_loss)[::-1][:4], truth[0], rtol=1e-5)  # before the first update
    drawn = pd.read_csv("reports/small/relation.csv")
    assert dict(drawn.groupby("source").size()) == {"measured": 18, "theory": 18}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr = [0.1, 0.1]", "lr = [0.1]", "lr: give one for each depth"),
        ("depth = [1, 3]\nlr = [0.1, 0.1]", "depth = []\nlr = []", "depth, seeds: one at least"),
        ("lr = [0.1, 0.1]", "lr = [0.1, 9.0]", "lr 9 is too large for depth 3"),
        (
            'time = "discrete"',
            'init = "orthogonal"',
            "for weights on the diagonal alone, as of identity, not orthogonal",
        ),
        ('time = "discrete"', 'init = "identity(gain=0.5)"', "biases would learn"),
        ('time = "discrete"', "moment = 1", "moment: Extra inputs are not permitted"),
    ],
)
def test_curves_that_cannot_be_predicted_are_refused(run, old, new, message):
    done = run(STUDY.replace(old, new))
    assert done.exit_code == 2
    assert message in done.stderr
    assert not Path("results").exists()


def test_the_study_holds_out_one_image_of_each_class():
    measured = studies.read(Path(__file__).parents[1] / "studies/saxe_2014.toml", full=True).parts["measured"]
    data = DATASETS.make(measured["fix"]["dataset"]).load(None, False)
    for seed in measured["seeds"]:
        kept = split(data, "none", measured["fix"]["validation"], seed)
        assert sorted(kept.train.labels.tolist()) == sorted(kept.validation.labels.tolist()) == [0, 1, 2, 3]
