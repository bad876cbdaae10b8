"""Between LeCun's 1/fan_in and He's 2/fan_in."""

import torch

import initbench as ib


@ib.initializer(formula="w ~ N(0, 1.5/fan_in)")
def mine(tensor):
    return torch.nn.init.normal_(tensor, 0, (1.5 / tensor.shape[1]) ** 0.5)
