"""One CPU generator per named purpose, keyed by what it is for and never by who asks.

Common random numbers: the key holds (seed, purpose, layer, shape, ...) and never the initializer's scale, the
activation, the learning rate or the device. So two initializers of one family get the same draw and differ by scale
alone, and every comparison within a seed is a paired one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def key_to_seed(*key: int | str) -> int:
    """A 63-bit seed from a key, the same on every machine and in every process."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, purpose: str, *key: int | str) -> torch.Generator:
    """A fresh CPU generator for `purpose`; draws made with it are moved to the device afterwards."""
    import torch  # here, so that the analysis half can import `core` where torch is not installed

    return torch.Generator(device="cpu").manual_seed(key_to_seed(seed, purpose, *key))
