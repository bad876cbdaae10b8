"""Optimizers, schedules, losses and regularizers against torch's own functions or the papers' formulas."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.randomness import generator
from initbench.datasets import Data
from initbench.engine.training.updates import clipped
from initbench.recipe import LOSSES, OPTIMIZERS, REGULARIZERS, SCHEDULES
from initbench.recipe.regularizers import Occasion
from initbench.recipe.samples import epoch_order, held_out, minibatches, split, steps_of

DRAWN = torch.Generator().manual_seed(0)
OUTPUTS, LABELS = torch.randn(7, 5, generator=DRAWN, dtype=torch.float64), torch.randint(5, (7,), generator=DRAWN)
TARGETS = F.one_hot(LABELS, 5).double()


def test_losses_are_torchs():
    assert torch.allclose(LOSSES.make("cross_entropy").of(OUTPUTS, TARGETS),
                          F.cross_entropy(OUTPUTS, LABELS, reduction="none"), rtol=1e-14)  # fmt: skip
    assert torch.allclose(LOSSES.make("mean_squared_error").of(OUTPUTS, TARGETS).mean(), F.mse_loss(OUTPUTS, TARGETS))


def test_label_smoothing_is_torchs():
    soft = REGULARIZERS.make("label_smoothing").targets(TARGETS, 0.3)
    ours = LOSSES.make("cross_entropy").of(OUTPUTS, soft).mean()
    assert float(ours) == pytest.approx(float(F.cross_entropy(OUTPUTS, LABELS, label_smoothing=0.3)), rel=1e-14)


@pytest.mark.parametrize("name", ["dropout", "stochastic_depth"])
def test_survival_keeps_the_mean(name):
    regularizer = REGULARIZERS.make(name)
    factor = (regularizer.units or regularizer.branches)(torch.rand(200_000, 1, generator=DRAWN), 0.3)
    assert factor.unique().tolist() == pytest.approx([0, 1 / 0.7])
    standard_error = math.sqrt(0.3 / 0.7 / len(factor))
    assert float(factor.mean()) == pytest.approx(1, abs=5 * standard_error)


def test_two_rates_of_dropout_share_their_noise():
    noise = torch.rand(1000, generator=DRAWN)
    low, high = (REGULARIZERS.make("dropout").units(noise, rate) > 0 for rate in (0.2, 0.5))
    assert bool((low | ~high).all())  # what survives the higher rate survives the lower


def test_mixup_mixes_images_and_targets_alike():
    images = torch.rand(6, 4, generator=DRAWN).double()
    occasion = Occasion(seed=1, step=3, shape=(1, 2, 2))
    mixed, targets = REGULARIZERS.make("mixup").batches((images, TARGETS[:6]), 0.4, occasion)
    both = torch.cat([images, TARGETS[:6]], dim=1)
    partner = both[torch.randperm(6, generator=generator(1, "mixup", 3))]
    share = ((torch.cat([mixed, targets], 1) - partner) / (both - partner))[(both - partner).abs() > 1e-6]
    assert 0 <= float(share.mean()) <= 1
    assert torch.allclose(share, share.mean())


def test_mixups_share_is_beta_distributed():
    occasions = [Occasion(0, step, (1, 1, 1)) for step in range(2000)]
    one, zero = torch.tensor([[1.0], [0.0]]), torch.zeros(2, 1)
    shares = [float(REGULARIZERS.make("mixup").batches((one, zero), 0.4, o)[0][0]) for o in occasions]
    shares = [share for share in shares if share != 1.0]  # paired with itself
    folded = np.minimum(shares, np.subtract(1, shares))
    from scipy import stats

    drawn = np.random.default_rng(0).beta(0.4, 0.4, 20_000)
    assert stats.ks_2samp(folded, np.minimum(drawn, 1 - drawn)).pvalue > 1e-3


def test_cutout_hides_a_square():
    images = torch.ones(500, 64)
    cut, _ = REGULARIZERS.make("cutout").batches((images, TARGETS), 0.5, Occasion(0, 1, (1, 8, 8)))
    hidden = (cut == 0).view(-1, 8, 8)
    rows, columns = hidden.any(dim=2).sum(dim=1), hidden.any(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, hidden.sum(dim=(1, 2)))  # a rectangle, cut off at the edge
    assert int(rows.max()) == int(columns.max()) == 4
    assert float(hidden.float().mean()) > 0.5 * 0.25 * 0.5


@pytest.mark.parametrize("name", [entry.name for entry in REGULARIZERS if REGULARIZERS.make(entry.name).batches])
@pytest.mark.parametrize("images", [1, 6])
@pytest.mark.parametrize("strength", [0.01, 0.0625, 0.0626, 0.5])
def test_what_changes_no_minibatch_says_so(name, images, strength):
    regularizer, shape = REGULARIZERS.make(name), (1, 8, 8)
    batch = (torch.rand(images, 64, generator=torch.Generator().manual_seed(0)), torch.eye(6)[:images])
    changed = [
        not torch.equal(regularizer.batches(batch, strength, Occasion(0, step, shape))[0], batch[0])
        for step in range(100)
    ]
    assert any(changed) == (regularizer.idle(strength, images, shape) == "")


@pytest.mark.parametrize("side", range(1, 9))
def test_cutout_has_the_side_it_says(side):
    cut, _ = REGULARIZERS.make("cutout").batches(
        (torch.ones(300, 64), TARGETS), side / 8 - 1e-9, Occasion(0, 1, (1, 8, 8))
    )
    assert int((cut == 0).view(-1, 8, 8).any(dim=2).sum(dim=1).max()) == side


def test_l2_with_sgd_is_weight_decay_of_twice_its_strength():
    weight, gradient = torch.randn(4, 3, generator=DRAWN), torch.randn(4, 3, generator=DRAWN)
    moved = []
    for decay, strength in ((0.2, 0.0), (0.0, 0.1)):
        parameter = weight.clone().requires_grad_()
        loss = (parameter * gradient).sum() + strength * REGULARIZERS.make("l2").penalty(parameter).sum()
        loss.backward()
        OPTIMIZERS.make("sgd").over([{"params": [parameter], "lr": 0.1, "weight_decay": decay}]).step()
        moved.append(parameter.detach())
    assert torch.allclose(*moved)


def rates(schedule, steps, validated=()):
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = SCHEDULES.make(schedule).make(optimizer, steps)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if validated:
            scheduler.step(validated[step])
        elif scheduler:
            scheduler.step()
    return found


def test_schedules_follow_their_formulas():
    assert rates("constant", 4) == [1.0] * 4
    assert rates("step(every=0.5, factor=0.1)", 4) == pytest.approx([1, 1, 0.1, 0.1])
    assert rates("cosine", 4) == pytest.approx([(1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)])
    assert rates("cosine(floor=0.5)", 2) == pytest.approx([1, 0.75])
    assert rates("warmup(share=0.5)", 6) == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 1])
    assert rates("plateau(patience=1, factor=0.5)", 5, [1.0, 1.0, 1.0, 1.0, 1.0]) == pytest.approx([1, 1, 1, 0.5, 0.5])


def test_clipping_is_torchs():
    gradients = [torch.randn(3, 4, 5, generator=DRAWN), torch.randn(3, 4, generator=DRAWN)]
    largest = torch.tensor([0.5, 100.0, 0.0])
    ours = clipped(gradients, largest)
    for model, limit in enumerate([0.5, 100.0, math.inf]):
        parameters = [torch.zeros_like(g[model], requires_grad=True) for g in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient[model].clone()
        torch.nn.utils.clip_grad_norm_(parameters, limit)
        for parameter, found in zip(parameters, ours, strict=True):
            assert torch.allclose(found[model], parameter.grad, rtol=1e-6)


@pytest.mark.parametrize(
    ("catalogue", "spec", "message"),
    [
        (OPTIMIZERS, "adam(beta1=1)", "adam: beta1 must be at least 0 and below 1, not 1"),
        (OPTIMIZERS, "rmsprop(alpha=-1)", "rmsprop: alpha must be at least 0 and below 1, not -1"),
        (SCHEDULES, "step(every=0)", "step: every is a share of the steps, above 0 and below 1, not 0"),
        (SCHEDULES, "warmup(share=2)", "warmup: share must be above 0 and at most 1, not 2"),
        (OPTIMIZERS, "adan", "unknown optimizer 'adan'; did you mean 'adam' or 'nadam'?"),
    ],
)
def test_parameters_out_of_range_are_told(catalogue, spec, message):
    with pytest.raises(UsageError) as told:
        catalogue.make(spec)
    assert str(told.value) == message


def some_data(images=50):
    drawn = torch.Generator().manual_seed(0)
    x = torch.rand(images, 6, generator=drawn)
    return Data(x, torch.arange(images) % 3, x[:9] + 5, torch.arange(9) % 3, shape=(1, 2, 3), classes=3)


def test_the_split_is_by_seed_and_fitted_on_training_images_alone():
    data = some_data()
    one, other = (split(data, "standardize", 0.2, seed) for seed in (0, 1))
    assert (len(one.train), len(one.validation), len(one.test)) == (40, 10, 9)
    assert not torch.equal(one.train.labels, other.train.labels)
    assert float(one.train.images.mean()) == pytest.approx(0, abs=1e-6)
    assert float(one.train.images.std()) == pytest.approx(1, abs=1e-6)
    raw = split(data, "none", 0.2, 0)
    kept = {tuple(row) for row in torch.cat([raw.train.images, raw.validation.images]).tolist()}
    assert kept == {tuple(row) for row in data.train_images.tolist()}
    mean, std = raw.train.images.mean(), raw.train.images.std()
    assert torch.allclose(one.test.images, (data.test_images - mean) / std, atol=1e-5)


@pytest.mark.parametrize(("validation", "held"), [(0.2, 10), (12, 12), (0.01, None), (50, None)])
def test_held_out_is_a_share_or_a_number(validation, held):
    if held:
        assert held_out(50, validation) == held
    else:
        with pytest.raises(UsageError, match=r"validation .* would hold out \d+ of 50 training images"):
            held_out(50, validation)


def test_each_epoch_sees_every_image_once_in_an_order_of_its_own():
    batches = minibatches(10, 4, seed=0)
    epochs = [torch.cat([next(batches) for _ in range(3)]) for _ in range(2)]
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(*epochs)
    assert torch.equal(epochs[1], epoch_order(10, 1, 0))
    assert steps_of(Cell(batch_size=4, epochs=3), 10) == 9
    assert steps_of(Cell(batch_size=0, epochs=3), 10) == 3
    assert steps_of(Cell(batch_size=4, steps=7), 10) == 7
