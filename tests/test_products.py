"""Routines for the product of a stack's first layers are equal but for rounding; where one cannot be, another is."""

import pytest
import torch

from initbench.engine.products import ROUTINES, available, routine

MODELS, UNITS, FEATURES, BATCH = 5, 7, 33, 12
DRAWN = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(MODELS, UNITS, FEATURES, generator=DRAWN)
BIAS = torch.randn(MODELS, UNITS, generator=DRAWN)
X = torch.randn(BATCH, FEATURES, generator=DRAWN)
DELTA = torch.randn(MODELS, UNITS, BATCH, generator=DRAWN)
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("name", ROUTINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_is_a_linear_layer_of_each_model(name, dtype):
    weight, bias, x = (tensor.to(dtype) for tensor in (WEIGHT, BIAS, X))
    found = routine(name, name, weight).forward(weight, bias, x)
    assert (found.shape, found.dtype) == ((MODELS, UNITS, BATCH), dtype)
    for model in range(MODELS):
        alone = torch.nn.functional.linear(X.double(), WEIGHT[model].double(), BIAS[model].double()).t()
        assert (found[model] - alone).abs().max() < 64 * FEATURES * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", ROUTINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_a_sum_over_the_batch(name, dtype):
    delta, x, out = DELTA.to(dtype), X.to(dtype), torch.full((MODELS, UNITS, FEATURES), torch.nan, dtype=dtype)
    routine(name, name, out).gradient(delta, x, out)
    exact = torch.einsum("mub,bf->muf", DELTA.double(), X.double())
    assert (out - exact).abs().max() < 64 * BATCH * torch.finfo(dtype).eps


def test_a_routine_that_this_torch_lacks_is_replaced(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert "onednn" not in available()
    assert routine("onednn", "onednn", WEIGHT) == ROUTINES["batched"]


def test_onednn_does_not_take_float64():
    assert routine("onednn", "joined", WEIGHT.double()).forward is ROUTINES["batched"].forward
    assert routine("onednn", "joined", WEIGHT.double()).gradient is ROUTINES["joined"].gradient
