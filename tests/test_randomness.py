"""Generators are keyed by purpose, the same everywhere, and leave the global one alone."""

import subprocess
import sys

import pytest
import torch

from initbench.core.randomness import generator, key_to_seed
from initbench.core.records import Layer
from initbench.datasets.inputs import SYNTHETIC, SampledInputs
from initbench.engine.stack import draw_projection
from initbench.initializers import bases


def test_a_key_means_one_seed_in_every_process():
    code = "from initbench.core.randomness import key_to_seed; print(key_to_seed(3, 'weight', 1, 20, 12, 'normal'))"
    for hash_seed in ("0", "1"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              env={"PYTHONHASHSEED": hash_seed})  # fmt: skip
        assert int(done.stdout) == key_to_seed(3, "weight", 1, 20, 12, "normal")


def test_parts_of_a_key_do_not_run_together():
    keys = [(1, "a", 12, 3), (1, "a", 1, 23), (11, "a", 2, 3), (1, "a", "12", 3), (1, "a", 12), (1, "b", 12, 3)]
    assert len({key_to_seed(*key) for key in keys}) == len(keys)


def test_the_global_generator_neither_matters_nor_moves():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = torch.randn(5, generator=generator(1, "weight", 1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(one, torch.randn(5, generator=generator(1, "weight", 1)))
    assert not torch.equal(one, torch.randn(5, generator=generator(2, "weight", 1)))


@pytest.fixture
def another_default():
    """Of dtype and device: the caller's, for tensors that name none."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)


LAYER = Layer(1, 12, 20)
BASES = [
    bases.NORMAL,
    bases.UNIFORM,
    bases.TRUNCATED_NORMAL,
    bases.ORTHOGONAL,
    bases.ONES,
    bases.EYE,
    bases.sparse(0.5),
]
DRAWS = {basis.name: lambda basis=basis: basis.draw(LAYER, generator(1, "weight", 1)) for basis in BASES}
DRAWS |= {
    "gaussian": lambda: SYNTHETIC.make("gaussian").batch(1, 5, 12),
    "sampled": lambda: SampledInputs(torch.arange(90.0, dtype=torch.float32, device="cpu").view(30, 3)).batch(1, 5, 3),
    "projection": lambda: draw_projection(5, 12, 1),
}
PLAIN = {name: draw() for name, draw in DRAWS.items()}


@pytest.mark.parametrize("name", DRAWS)
def test_the_callers_default_dtype_and_device_do_not_matter(name, another_default):
    draw = DRAWS[name]()
    assert (draw.dtype, draw.device.type) == (torch.float32, "cpu")
    assert torch.equal(draw, PLAIN[name])
