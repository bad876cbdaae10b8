"""Drawn data sets: what they promise of their points, and what is exactly known of networks trained on them."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import expit

import initbench as ib
from initbench import reference
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.datasets import DATASETS
from initbench.recipe.samples import split

SPECS = ["line", "line(classes=5, images=30)", "copies", "copies(features=7, images=9)"]


def load(spec):
    return DATASETS.make(spec).load(None, False)


@pytest.mark.parametrize("spec", SPECS)
def test_they_are_data_sets_like_all_others(spec):
    data, state = load(spec), torch.get_rng_state()
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert images.shape == (len(labels), data.features)
        assert 0 <= images.min() <= images.max() <= 1
        assert set(labels.tolist()) == set(range(data.classes))
    assert DATASETS.make(spec).features == data.features
    assert not DATASETS.make(spec).needs_root
    torch.manual_seed(123)
    drawn_again = load(spec)
    torch.set_rng_state(state)
    assert drawn_again.fingerprint == data.fingerprint
    assert not torch.isin(data.test_images, data.train_images).all()


def test_other_sizes_are_other_points():
    assert load("line").fingerprint != load("line(images=22)").fingerprint


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_points_on_a_line_are_separable_in_training_and_overlap_by_half_in_test(classes):
    data = load(f"line(classes={classes}, images={10 * classes})")
    assert data.train_labels.bincount().tolist() == [10] * classes
    stretches = [data.train_images[data.train_labels == k, 0].double() for k in range(classes)]
    for left, right in itertools.pairwise(stretches):
        assert right.min() - left.max() >= 0.2 / (classes + 1) - 1e-6
    for k in range(classes):
        place = data.test_images[data.test_labels == k, 0].double() * (classes + 1) - k  # 2u, u ~ U(0, 1)
        n, u = len(place), place / 2
        assert 0 <= u.min() <= u.max() <= 1
        assert float(u.mean()) == pytest.approx(0.5, abs=5 * (1 / 12 / n) ** 0.5)
        assert float((u > 0.5).double().mean()) == pytest.approx(0.5, abs=5 * 0.5 / n**0.5)


def logistic_slopes(x, y, steps, rate):
    """Gradient descent from 0 for two classes, y = ±1, by numpy: time (the sum of rates) and slope, w_1 - w_0.

    `rate` is given the mean residual: steps in proportion to its inverse follow the same path by ever longer strides.
    """
    slope, offset, time, told = 0.0, 0.0, 0.0, []
    for _ in range(steps):
        residual = expit(-y * (slope * x + offset))
        lr = rate(residual.mean())
        slope += 2 * lr * (residual * y * x).mean()
        offset += 2 * lr * (residual * y).mean()
        time += lr
        told.append((time, slope))
    return np.array(told).T


def test_on_separable_points_the_slope_grows_with_the_logarithm_of_time_over_half_the_gap(tmp_path):
    """Soudry et al. 2018, theorem 3: by the max-margin slope, 2/gap, times ln t; the engine's network is numpy's."""
    study = ib.Study(
        fix={"dataset": "line", "init": "zeros", "depth": 0, "validation": 4, "batch_size": 0, "lr": 0.5,
             "steps": 100, "record_every": 50})  # fmt: skip
    trained = ib.run(study, tmp_path / "line").layer_curves.set_index("step").weight_second_moment
    train = split(load("line"), "standardize", 4, 0).train
    x, y = train.images[:, 0].double().numpy(), 2 * train.labels.numpy() - 1
    _, slopes = logistic_slopes(x, y, 100, lambda residual: 0.5)
    for step in (50, 100):  # w_0 = -w_1
        assert trained[step] == pytest.approx(slopes[step - 1] ** 2 / 4, rel=1e-4)
    time, slopes = logistic_slopes(x, y, 5_000, lambda residual: 0.5 / residual)
    late = time > 1e40  # by then all but the two nearest points weigh nothing
    grown = np.ptp(slopes[late]) / np.ptp(np.log(time[late]))
    assert grown == pytest.approx(2 / (x[y > 0].min() - x[y < 0].max()), rel=1e-9)


def test_what_is_copied_is_one_number_and_its_class():
    data = load("copies(features=3)")
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert (images == images[:, :1]).all()
        assert torch.equal(labels, (images[:, 0] > 0.5).long())


def weights_after(init, **regularizers):
    """The weights, `classes features`, of a linear network on copies after 400 updates in float64."""
    cell = Cell(init=init, depth=0, dataset="copies", loss="mean_squared_error", batch_size=0, lr=0.2, steps=400,
                regularizers=tuple(regularizers.items()))  # fmt: skip
    found = []
    data = split(load("copies"), "none", 20, 0).to(torch.device("cpu"), torch.float64)
    reference.train(cell, data, lambda step, model: found.append(model.output.weight.detach().clone().numpy()))
    return found[0], found[-1], data.train


def test_without_a_penalty_copies_keep_their_differences_and_with_l2_they_lose_them():
    start, end, _ = weights_after("identity")
    np.testing.assert_allclose(end - end.mean(axis=1, keepdims=True), start - start.mean(axis=1, keepdims=True))
    start, end, _ = weights_after("identity", l2=0.01)
    left = (1 - 2 * 0.2 * 0.01) ** 400  # w -= lr (g + 2 l2 w), and g is the same for all copies
    np.testing.assert_allclose(
        end - end.mean(axis=1, keepdims=True), left * (start - start.mean(axis=1, keepdims=True)), rtol=1e-9
    )


def test_l2_ends_where_ridge_regression_does():
    _, end, train = weights_after("constant(value=0.25)", l2=0.01)
    t, targets = train.images[:, 0].numpy(), np.eye(2)[train.labels.numpy()]
    # d/ds of mean_c mean (s t + b - y)² + l2 s²/4, the square of a sum s that is spread over four
    slopes = np.cov(t, targets.T, bias=True)[0, 1:] / (t.var() + 2 * 0.01 / 4)
    np.testing.assert_allclose(end.sum(axis=1), slopes, rtol=1e-4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("line(classes=1)", "line: classes must be at least 2, not 1"),
        ("line(classes=4, images=7)", "line: images must be at least 8 for 4 classes, not 7"),
        ("copies(features=0)", "copies: features must be at least 1, not 0"),
        ("copies(images=1)", "copies: images must be at least 2, not 1"),
    ],
)
def test_sizes_that_cannot_be(spec, message):
    with pytest.raises(UsageError) as caught:
        DATASETS.make(spec)
    assert str(caught.value) == message
