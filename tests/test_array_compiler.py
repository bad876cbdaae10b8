"""The rival of the benchmarks does the work that it is timed for: it trains as torch does from the same start."""

import numpy as np
import pytest
import torch
from torch import nn

compiled = pytest.importorskip("benchmarks.array_compiler", reason="needs jax")


def torchs(runs, number, data, held):
    """Accuracy of one of the runs, by torch's own Adam."""
    parameters = [torch.tensor(np.asarray(t[number])).requires_grad_() for layer in runs.start for t in layer]

    def outputs(x):
        for place in range(0, len(parameters), 2):
            x = (x.relu() if place else x) @ parameters[place] + parameters[place + 1]
        return x

    adam = torch.optim.Adam(parameters, lr=float(runs.rates[number]))
    for index in torch.tensor(np.array(runs.order)):
        adam.zero_grad()
        nn.functional.cross_entropy(outputs(data[0][index]), data[1][index]).backward()
        adam.step()
    return float((outputs(held[0]).argmax(1) == held[1]).float().mean())


def test_it_trains_as_torch_does():
    drawn = torch.Generator().manual_seed(0)
    images = torch.randn(3_000, 20, generator=drawn)
    labels = (images @ torch.randn(20, 4, generator=drawn)).argmax(1)
    data, held = (images[:1_000], labels[:1_000]), (images[1_000:], labels[1_000:])
    runs = compiled.Runs([20, 30, 30, 4], 3, 30, 32, data, held)
    found = runs()
    assert found == pytest.approx([torchs(runs, number, data, held) for number in range(3)], abs=2e-3)
    assert len(set(found)) == 3
    assert found.min() > 0.3
