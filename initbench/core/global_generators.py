"""The global generators, which code of a user's may draw from: lent with a known state, and given back as found."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def lent(seed: int) -> Iterator[None]:
    """In the block torch's (of the CPU), numpy's and Python's global generators start from `seed`."""
    import torch  # here, so that the analysis half can import `core` where torch is not installed

    generator = torch.default_generator
    with _ONE_AT_A_TIME:
        before = generator.get_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            generator.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            with torch.device("cpu"):
                yield
        finally:
            generator.set_state(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
            random.setstate(before[2])
