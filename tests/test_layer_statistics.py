"""Statistics of layers that no other test holds against a plain network."""

import torch

from initbench.engine.statistics import distinct_units


def test_units_are_counted_as_often_as_they_differ():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, 100, 7, generator=generator)
    bias = torch.zeros(1, 100)
    assert distinct_units(weight, bias).tolist() == [100]
    weight[:, 50:] = weight[:, :50]
    assert distinct_units(weight, bias).tolist() == [50]
    assert distinct_units(weight * (1 + 1e-7 * torch.rand(weight.shape, generator=generator)), bias).tolist() == [50]
    bias[:, 99] = 1.0  # a bias of its own makes a unit another
    assert distinct_units(weight, bias).tolist() == [51]


def test_units_drawn_at_random_are_all_distinct():
    weight = torch.randn(20, 1000, 64, generator=torch.Generator().manual_seed(0))
    assert set(distinct_units(weight, torch.zeros(20, 1000)).tolist()) == {1000}


def test_models_are_counted_each_for_itself():
    weight = torch.stack([torch.ones(4, 3), torch.eye(4, 3), torch.zeros(4, 3)])
    assert distinct_units(weight, torch.zeros(3, 4)).tolist() == [1, 4, 1]
