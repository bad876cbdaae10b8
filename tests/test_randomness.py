"""Generators are keyed by purpose, the same everywhere, and leave the global one alone."""

import subprocess
import sys

import torch

from initbench.core.randomness import generator, key_to_seed


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
