"""On a GPU the same numbers as on the CPU: the draws bit for bit, the columns to float32's resolution."""

import pandas as pd
import pytest
import torch

from initbench.api import propagate
from initbench.core.records import Network
from initbench.engine.stack import draw_weights
from initbench.initializers import INITIALIZERS

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("init", ["he_normal", "orthogonal", "xavier_uniform"])
def test_draws_do_not_depend_on_the_device(init):
    basis, network = INITIALIZERS.make(init).basis, Network((64, 64, 64))
    here = draw_weights(basis, network, 0, torch.device("cpu"))
    there = draw_weights(basis, network, 0, torch.device("cuda"))
    assert all(torch.equal(a.weight, b.weight.cpu()) for a, b in zip(here, there, strict=True))


def test_columns_agree():
    options = {"init": ["he", "torch_default", "normal", "ones"], "activation": ["relu", "tanh", "sigmoid"],
               "depth": 12, "width": 128, "seeds": 2, "batch": 32}  # fmt: skip
    here, there = propagate(device="cpu", **options), propagate(device="cuda", **options)
    pd.testing.assert_frame_equal(here, there, rtol=1e-3, atol=1e-6)
