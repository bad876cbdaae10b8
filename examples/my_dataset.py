"""Two rings of points, one around the other, as arrays; `npz(path='FILE.npz')` reads the same four from a file."""

import numpy as np

import initbench as ib


@ib.dataset(source="scikit-learn's make_circles is like it")
def rings(samples=400, noise=0.1):
    """Points on two rings, one around the other."""
    drawn = np.random.default_rng(0)
    label = drawn.integers(2, size=2 * samples)
    angle = drawn.uniform(0, 2 * np.pi, size=2 * samples)
    radius = 1 + label + noise * drawn.standard_normal(2 * samples)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return x[:samples], label[:samples], x[samples:], label[samples:]
