"""Batches have the moments that the theory is told."""

import numpy as np
import pytest
import torch

from initbench.core.errors import UsageError
from initbench.datasets.inputs import SYNTHETIC, SampledInputs


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.9, 1.0])
def test_gaussian_input_has_its_second_moment_and_cosine(cosine):
    source = SYNTHETIC.make(f"gaussian(second_moment=2.5, cosine={cosine})")
    features = 40_000
    x = source.batch(0, 4, features).double()
    error = 5 * (2 / features) ** 0.5  # of a mean of squares of unit normals
    assert x.square().mean(dim=1) / 2.5 == pytest.approx(torch.ones(4), abs=error)
    pairs = torch.nn.functional.cosine_similarity(x[:1], x[1:])
    assert pairs == pytest.approx(torch.full((3,), cosine), abs=5 * features**-0.5)


def test_seeds_have_their_own_batches():
    source = SYNTHETIC.make("gaussian")
    assert torch.equal(source.batch(1, 3, 7), source.batch(1, 3, 7))
    assert not torch.equal(source.batch(1, 3, 7), source.batch(2, 3, 7))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gaussian(second_moment=0)", "the input's second moment must be above 0, not 0"),
        ("gaussian(cosine=1.5)", "the input's cosine must be from 0 to 1, not 1.5"),
    ],
)
def test_moments_that_no_batch_has(spec, message):
    with pytest.raises(UsageError) as caught:
        SYNTHETIC.make(spec)
    assert str(caught.value) == message


def test_sampled_moments_are_those_of_the_very_batches():
    images = torch.rand(50, 9, generator=torch.Generator().manual_seed(0))
    source = SampledInputs(images)
    batches = [source.batch(seed, 6, 9) for seed in range(2)]
    assert all(len({tuple(row.tolist()) for row in batch}) == 6 for batch in batches)
    moments = source.moments(2, 6)
    squares = torch.cat(batches).double().square().mean(dim=1)
    assert moments.second_moment == pytest.approx(squares.tolist())
    cosines = [torch.nn.functional.cosine_similarity(batch[i], batch[j], dim=0)
               for batch in batches for i in range(6) for j in range(i)]  # fmt: skip
    assert moments.cosine == pytest.approx(float(torch.stack(cosines).mean()), rel=1e-6)
    assert not moments.gaussian


def test_many_lengths_are_summed_up_by_groups():
    images = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    whole = images.double().square().mean(dim=1)
    summed = torch.tensor(SampledInputs(images).moments(1, 400).second_moment, dtype=torch.float64)
    assert len(summed) == 64
    assert summed.mean() == pytest.approx(float(whole.mean()), rel=1e-12)
    assert summed.square().mean() == pytest.approx(float(whole.square().mean()), rel=2e-3)


def test_data_that_does_not_fit():
    source = SampledInputs(torch.rand(5, 3))
    with pytest.raises(UsageError, match="a batch of 6 is more than the 5 inputs of the data set"):
        source.batch(0, 6, 3)
    with pytest.raises(UsageError, match="a network with 4 inputs cannot take data of 3 features"):
        source.batch(0, 2, 4)


def test_cosines_of_a_batchs_pairs_have_the_mean_and_variance_of_the_pairs():
    """All pairs of all batches, by numpy; within a batch alone."""
    images = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)) - 0.3
    source = SampledInputs(images)
    moments = source.moments(seeds=3, size=8)
    cosines = []
    for seed in range(3):
        batch = source.batch(seed, 8, 6).double().numpy()
        unit = batch / np.linalg.norm(batch, axis=1, keepdims=True)
        cosines += [unit[i] @ unit[j] for i in range(8) for j in range(i)]
    assert moments.cosine == pytest.approx(np.mean(cosines), rel=1e-6)
    assert moments.cosine_variance == pytest.approx(np.var(cosines), rel=1e-6)
    assert moments.batch == 8
    assert source.moments(seeds=2, size=1).cosine_variance == 0


def test_a_sample_of_the_pairs_cosines_stands_for_all():
    """Of 28 pairs, eight groups of three and a half."""
    images = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)) - 0.3
    source = SampledInputs(images)
    moments = source.moments(seeds=1, size=8)
    batch = source.batch(0, 8, 6).double().numpy()
    unit = batch / np.linalg.norm(batch, axis=1, keepdims=True)
    cosines = np.sort([unit[i] @ unit[j] for i in range(8) for j in range(i)])
    halves = np.repeat(cosines, 2).reshape(8, 7).mean(axis=1)
    assert moments.cosines == pytest.approx(halves, rel=1e-6)
    assert np.mean(moments.cosines) == pytest.approx(moments.cosine, rel=1e-12)
    assert source.moments(seeds=2, size=1).cosines == ()
