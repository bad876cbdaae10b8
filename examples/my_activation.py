"""Half the slope below 1: the kink is found, and theory integrates up to it."""

import torch

import initbench as ib


@ib.activation(formula="z if z > 1 else slope·z")
def shifted_leak(z, slope=0.5):
    """Leaks below 1."""
    return torch.where(z > 1, z, slope * z)
