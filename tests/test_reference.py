"""The plain loop on its own: what the lecture's code should do, checked without the engine."""

import itertools

import pytest
import torch
from torch import nn

from initbench import reference
from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.records import Network
from initbench.datasets import DATASETS
from initbench.initializers import INITIALIZERS
from initbench.recipe.samples import Samples, split


def digits(normalization="standardize"):
    return split(DATASETS.make("digits").load(None, False), normalization, 0.2, 0)


def test_a_layer_is_torchs_linear_with_the_promised_variance():
    network = Network((300, 200))
    initializer = INITIALIZERS.make("he_normal")
    (promise,) = initializer.promises(ACTIVATIONS.make("relu"), network)
    layer, twin = reference.LinearLayer(initializer, promise, seed=1), nn.Linear(300, 200)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(layer(x), twin(x), atol=1e-5)
    assert float(layer.weight.detach().var()) == pytest.approx(2 / 300, rel=5 * (2 / 60_000) ** 0.5)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_evaluation_is_exact_whatever_the_last_batch(rows):
    data = digits()
    model = reference.MLP(Cell(batch_norm=True), 64, 10)
    model.train()
    samples = Samples(data.test.images[:353], data.test.labels[:353])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(samples.images, samples.labels), rows)
    loss, accuracy = reference.evaluate(model, loader)
    assert model.training
    model.eval()
    with torch.no_grad():
        outputs = model(samples.images)
    assert loss == pytest.approx(float(nn.functional.cross_entropy(outputs.double(), samples.labels)), rel=1e-6)
    assert accuracy == pytest.approx(float((outputs.argmax(1) == samples.labels).double().mean()))


def test_the_loader_shuffles_each_epoch_and_leaves_the_global_generator_alone():
    data = digits()
    state = torch.get_rng_state()
    first, second = ([labels for _, labels in reference.training_loader(Cell(), data.train, e)] for e in (0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert torch.equal(torch.cat(first).sort().values, data.train.labels.sort().values)
    assert [len(labels) for labels in first[:2]] == [64, 64]


def test_full_batch_gradient_descent_with_a_small_step_always_descends():
    outcome = reference.train(Cell(batch_size=0, lr=0.05, steps=30, record_every=1, depth=1), digits())
    losses = [row["train_loss"] for row in outcome["curves"]]
    assert all(after < before for before, after in itertools.pairwise(losses))


def test_single_sample_updates_learn_too():
    outcome = reference.train(Cell(batch_size=1, lr=0.01, steps=1500, depth=1), digits())
    assert outcome["test_accuracy"] > 0.7


def test_it_learns_the_digits_as_scikit_learns_mlp_does():
    from sklearn.neural_network import MLPClassifier

    data = digits()
    outcome = reference.train(Cell(depth=1, width=50, optimizer="adam", lr=1e-3, epochs=20, batch_size=64), data)
    rival = MLPClassifier((50,), alpha=0, batch_size=64, max_iter=20, random_state=0, n_iter_no_change=100, tol=0)
    with pytest.warns(match="Maximum iterations"):
        rival.fit(data.train.images.numpy(), data.train.labels.numpy())
    theirs = rival.score(data.test.images.numpy(), data.test.labels.numpy())
    n = len(data.test)
    standard_error = (2 * theirs * (1 - theirs) / n) ** 0.5
    assert outcome["test_accuracy"] == pytest.approx(theirs, abs=4 * standard_error)


def test_zeros_stay_zero_and_equal_units_stay_equal():
    model = reference.MLP(Cell(init="zeros"), 64, 10)
    assert all(not layer.weight.any() for layer in (*model.hidden, model.output))
    data = digits()
    run = reference._Run(Cell(init="constant(0.1)", depth=2, steps=20), data)
    run.train()
    weight = run.model.hidden[0].weight
    assert torch.allclose(weight, weight[:1].expand_as(weight))
    assert not torch.allclose(weight, torch.full_like(weight, 0.1))
