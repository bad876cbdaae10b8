"""The stacked engine against its twin: the plain reference loop, one network at a time, float64, 100 updates."""

import dataclasses
import math

import pytest
import torch

from initbench import reference
from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.datasets import Data
from initbench.engine.training import updates
from initbench.engine.training.trainer import METRICS, train
from initbench.recipe import LOSSES, OPTIMIZERS, REGULARIZERS, SCHEDULES
from initbench.recipe.samples import split

TOLERANCE = 1e-9
BASE = Cell(depth=2, width=12, batch_size=16, steps=100, record_every=25, lr=0.05, seed=3)
INITS = ["he_normal", "torch_default", "zeros"]


def some_data(images=150, features=20, classes=4):
    """Labels that depend on the images, and noise."""
    drawn = torch.Generator().manual_seed(0)
    x = torch.rand(2 * images, features, generator=drawn)
    noise = torch.randn(2 * images, classes, generator=drawn) / 2
    y = (x @ torch.randn(features, classes, generator=drawn) + noise).argmax(1)
    return Data(x[:images], y[:images], x[images:], y[images:], shape=(1, 4, 5), classes=classes)


def prepared(cell, dtype=torch.float64):
    data = split(some_data(), cell.normalization, cell.validation, cell.order_seed)
    return data.to(torch.device("cpu"), dtype)


def check(*cells):
    """The stack of `cells` equals each of them trained alone by the reference."""
    data = prepared(cells[0])
    for cell, outcome in zip(cells, train(cells, data), strict=True):
        twin = reference.train(cell, data)
        assert (outcome.status, outcome.diverged_at, outcome.stopped_at) == (
            twin["status"], twin["diverged_at"], twin["stopped_at"])  # fmt: skip
        assert [outcome.metrics[name] for name in METRICS] == pytest.approx(
            [twin[name] for name in METRICS], rel=TOLERANCE, abs=TOLERANCE, nan_ok=True)  # fmt: skip
        assert len(outcome.curves) == len(twin["curves"])
        for row, other in zip(outcome.curves, twin["curves"], strict=True):
            assert row == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE)


def variants(cell, *changes):
    """A stack: `cell` under several initializers, then with each of the changes."""
    return [
        *(dataclasses.replace(cell, init=init) for init in INITS),
        *(dataclasses.replace(cell, **change) for change in changes),
    ]


def scaled(cell):
    """A stack of networks whose residual branches have trained scalars."""
    inits = ["rezero", "skipinit(start=0.3)", *(["fixup"] if cell.residual == 2 else [])]
    return [dataclasses.replace(cell, init=init) for init in inits]


@pytest.mark.parametrize("optimizer", [entry.name for entry in OPTIMIZERS])
def test_every_optimizer(optimizer):
    cell = dataclasses.replace(BASE, optimizer=optimizer, lr=0.01)
    check(*variants(cell, {"lr": 0.001}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1},
                    {"clip_norm": 0.1}, {"seed": 4, "data_seed": 3}))  # fmt: skip


@pytest.mark.parametrize("optimizer", [entry.name for entry in OPTIMIZERS])
def test_every_optimizer_with_batch_norm(optimizer):
    """The gradient of a bias before a normalization is rounding alone: a larger eps keeps it from being made a step."""
    spec = f"{optimizer}(eps=0.001)" if "eps" in OPTIMIZERS.arguments(optimizer) else optimizer
    cell = dataclasses.replace(BASE, optimizer=spec, lr=0.01, batch_norm=True)
    check(
        *variants(cell, {"lr": 0.001}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}, {"clip_norm": 0.1})
    )


@pytest.mark.parametrize("residual", [True, 2])
@pytest.mark.parametrize("optimizer", [entry.name for entry in OPTIMIZERS])
def test_trained_scalars_on_branches(optimizer, residual):
    cell = dataclasses.replace(BASE, depth=3, residual=residual, optimizer=optimizer, lr=0.01)
    check(*scaled(cell), dataclasses.replace(cell, init="skipinit", momentum=0.9, weight_decay=0.1, clip_norm=0.1,
                                             early_stopping=1))  # fmt: skip


@pytest.mark.parametrize("activation", [entry.name for entry in ACTIVATIONS])
def test_every_activation(activation):
    check(*variants(dataclasses.replace(BASE, activation=activation)))


@pytest.mark.parametrize("schedule", [*(entry.name for entry in SCHEDULES), "plateau(patience=0, factor=0.5)"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_schedule(schedule, optimizer):
    cell = dataclasses.replace(BASE, schedule=schedule, optimizer=optimizer, record_every=5)
    check(*variants(cell, {"lr": 0.5}, {"momentum": 0.9}))


@pytest.mark.parametrize("name", [entry.name for entry in REGULARIZERS])
@pytest.mark.parametrize("residual", [False, True, 2])
def test_every_regularizer(name, residual):
    plain = dataclasses.replace(BASE, residual=residual, depth=3)
    strong, weak = (dataclasses.replace(plain, regularizers=((name, strength),)) for strength in (0.3, 0.01))
    check(*variants(strong), *([] if REGULARIZERS.make(name).batches else [weak, plain]))  # those share their images


@pytest.mark.parametrize("batch_size", [16, 20])  # 20: a square of images, which looks alike turned over
def test_layers_as_wide_as_the_images_add_the_images(batch_size):
    cell = dataclasses.replace(BASE, width=20, residual=True, batch_size=batch_size)
    check(*variants(cell, {"regularizers": (("stochastic_depth", 0.3),)}))


@pytest.mark.parametrize("residual", [True, 2])
def test_all_regularizers_together(residual):
    strengths = tuple((entry.name, 0.001 if entry.name in ("l1", "l2") else 0.2) for entry in REGULARIZERS)
    cell = dataclasses.replace(BASE, depth=3, residual=residual, regularizers=strengths, batch_norm=True)
    check(*variants(cell))
    check(*scaled(cell))


@pytest.mark.parametrize("loss", [entry.name for entry in LOSSES])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_loss_with_and_without_batch_norm(loss, batch_norm):
    check(*variants(dataclasses.replace(BASE, loss=loss, batch_norm=batch_norm), {"early_stopping": 1}))


@pytest.mark.parametrize("batch_size", [1, 7, 120, 0])
def test_every_batch_size(batch_size):
    check(*variants(dataclasses.replace(BASE, batch_size=batch_size)))


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_every_depth(depth):
    check(*variants(dataclasses.replace(BASE, depth=depth), {"bias_variance": 0.1}))


@pytest.mark.parametrize("small", [0, 12, 100])
def test_parameters_that_are_stepped_apart_or_as_one(small, monkeypatch):
    monkeypatch.setattr(updates, "SMALL", small)  # none, the biases, these and the output's weights
    check(*variants(dataclasses.replace(BASE, batch_norm=True, optimizer="adam", lr=0.01), {"lr": 0.003}))


def test_epochs():
    cell = dataclasses.replace(BASE, epochs=3, steps=1)
    assert train([cell], prepared(cell))[0].steps == 3 * math.ceil(120 / 16)
    check(*variants(cell))


def test_early_stopping_and_divergence_leave_neighbours_alone():
    cell = dataclasses.replace(BASE, record_every=2, lr=0.3)
    stack = variants(cell, {"early_stopping": 1}, {"early_stopping": 3, "lr": 0.5}, {"lr": 1e30, "activation": "relu"},
                     {"lr": 1e200})  # fmt: skip
    outcomes = train(stack, prepared(cell))
    assert outcomes[-1].status == "diverged"
    assert any(outcome.stopped_at for outcome in outcomes)
    check(*stack)


@pytest.mark.parametrize("patience", [1, 3])
def test_a_stop_without_any_validation_loss_that_is_a_number_is_the_same_in_a_stack_alone_and_in_the_reference(
    patience,
):
    cell = dataclasses.replace(BASE, record_every=1)
    lost = dataclasses.replace(cell, lr=1e200, early_stopping=patience)  # its first update leaves no numbers
    beyond = dataclasses.replace(cell, init="normal", lr=0.1, weight_decay=0.3, early_stopping=patience)
    data = prepared(cell)
    data.validation.images[:] *= 1e307  # outputs are beyond float64, until the weights have decayed
    found = []
    for one, outcome in zip([lost, beyond], train([lost, beyond, cell], data), strict=False):
        (alone,), twin = train([one], data), reference.train(one, data)
        assert outcome.layer_curves == alone.layer_curves
        curves = [outcome.curves, alone.curves, twin["curves"]]
        assert len({len(rows) for rows in curves}) == 1
        found.append({(outcome.status, outcome.diverged_at, outcome.stopped_at),
                      (alone.status, alone.diverged_at, alone.stopped_at),
                      (twin["status"], twin["diverged_at"], twin["stopped_at"])})  # fmt: skip
    assert found == [{("diverged", min(2, patience), None)}, {("diverged", patience, None)}]
    unstopped = dataclasses.replace(beyond, early_stopping=0)
    assert train([unstopped], data)[0].status == "finished"


def test_early_stopping_ends_with_the_weights_of_the_curves_least_validation_loss():
    cell = dataclasses.replace(BASE, record_every=2, lr=0.5, early_stopping=2)
    (outcome,) = train([cell], prepared(cell))
    losses = [row["val_loss"] for row in outcome.curves if row["step"] > 0]
    assert outcome.stopped_at == outcome.curves[-1]["step"] < cell.steps
    assert outcome.metrics["val_loss"] == pytest.approx(min(losses), rel=1e-12)
    assert losses.index(min(losses)) == len(losses) - 1 - 2


def test_float32_follows_float64_for_a_while():
    cell = dataclasses.replace(BASE, steps=20, activation="tanh")
    coarse, fine = (train([cell], prepared(cell, dtype))[0] for dtype in (torch.float32, torch.float64))
    assert coarse.metrics["test_loss"] == pytest.approx(fine.metrics["test_loss"], rel=1e-4)
