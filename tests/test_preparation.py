"""Preparations against numpy in float64, and what they promise of constants, ranges and images never seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from initbench.core.errors import UsageError
from initbench.datasets import PREPARATIONS

ROUNDING = 16 * np.finfo(np.float64).eps
"""A sum of a hundred numbers, a difference, a quotient: a few roundings of numbers near 1."""


@pytest.fixture
def training():
    return torch.rand(100, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.arange(1, 8)


@pytest.fixture
def others():
    return 5 + 10 * torch.rand(30, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_none_gives_the_images_themselves(training, others):
    assert PREPARATIONS.make("none").fit(training)(others) is others


@pytest.mark.parametrize(("per", "axis"), [("dataset", None), ("feature", 0)])
def test_standardize_is_that_of_numpy_with_statistics_of_training_alone(training, others, per, axis):
    prepare = PREPARATIONS.make(f"standardize(per={per})").fit(training)
    mean, std = training.numpy().mean(axis), training.numpy().std(axis, ddof=1)
    for images in (training, others):
        np.testing.assert_allclose(prepare(images), (images.numpy() - mean) / std, rtol=0, atol=10 * ROUNDING)


def test_standardized_training_images_have_mean_0_and_variance_1_with_n_minus_1(training):
    prepared = PREPARATIONS.make("standardize(per=feature)").fit(training)(training).numpy()
    np.testing.assert_allclose(prepared.mean(0), 0, atol=ROUNDING)
    np.testing.assert_allclose(prepared.var(0, ddof=1), 1, rtol=ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_feature_that_is_constant_in_training_becomes_zero_in_all_images(dtype):
    # 0.1 has no exact binary form, so its mean over 1,000 is off by a rounding and its std is tiny but not 0
    training = torch.full((1000, 2), 0.1, dtype=dtype)
    training[:500, 1] = 0.7
    prepare = PREPARATIONS.make("standardize(per=feature)").fit(training)
    images = torch.tensor([[0.1, 0.1], [0.9, 0.7]], dtype=dtype)
    assert prepare(training)[:, 0].eq(0).all()
    assert prepare(images)[:, 0].tolist() == [0, 0]
    assert prepare(images)[:, 1].abs().min() > 0.9


def test_training_images_that_are_all_the_same_pixel_become_zero_and_lower():
    training = torch.full((10, 3), 0.1)
    assert PREPARATIONS.make("standardize").fit(training)(training).eq(0).all()
    assert PREPARATIONS.make("min_max(lower=-1)").fit(training)(training).eq(-1).all()


def test_min_max_is_one_affine_map_of_all_pixels_onto_the_range(training):
    prepared = PREPARATIONS.make("min_max(lower=-1, upper=3)").fit(training)(training).numpy()
    assert prepared.min() == -1
    assert prepared.max() == 3
    slope, offset = np.polyfit(training.numpy().ravel(), prepared.ravel(), 1)
    reach = float(training.max() - training.min())
    np.testing.assert_allclose([slope, offset], [4 / reach, -1 - 4 / reach * float(training.min())], rtol=1e-12)


def test_min_max_does_not_clip_images_beyond_the_training_range():
    prepare = PREPARATIONS.make("min_max").fit(torch.tensor([[2.0, 3.0], [4.0, 2.0]]))
    assert prepare(torch.tensor([[1.0, 6.0]])).tolist() == [[-0.5, 2.0]]


def test_every_signature_that_is_shown_can_be_written():
    for entry in PREPARATIONS:
        assert PREPARATIONS.canonical(entry.signature) == entry.name


@pytest.mark.parametrize("spec", ["none", "min_max", "standardize", "standardize(per=feature)"])
def test_images_keep_their_dtype_and_the_training_images_their_values(training, spec):
    for dtype in (torch.float32, torch.float64):
        images = training.to(dtype)
        before = images.clone()
        assert PREPARATIONS.make(spec).fit(images)(images).dtype == dtype
        assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("min_max(lower=1, upper=1)", "preparation 'min_max': lower must be less than upper, not 1 and 1"),
        ("min_max(upper=-2)", "preparation 'min_max': lower must be less than upper, not 0 and -2"),
        (
            "standardize(per=features)",
            "preparation 'standardize': unknown per 'features'; did you mean 'feature'?",
        ),
        (
            "standardize(per=x)",
            "preparation 'standardize': unknown per 'x'; accepted: dataset, feature",
        ),
    ],
)
def test_what_cannot_be_asked_for(spec, message):
    with pytest.raises(UsageError) as caught:
        PREPARATIONS.make(spec)
    assert str(caught.value) == message


def test_one_image_has_no_standard_deviation():
    with pytest.raises(UsageError) as caught:
        PREPARATIONS.make("standardize(per=feature)").fit(torch.ones(1, 3))
    assert str(caught.value) == "preparation 'standardize' needs at least 2 training images, not 1"
