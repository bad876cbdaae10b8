"""A subclass of torch.optim.Optimizer: element by element, with the learning rate from its parameter group."""

import torch

import initbench as ib


@ib.optimizer(formula="w -= lr·sign(m), m = beta·m + (1 - beta)·g", source="Bernstein et al. 2018 (signSGD)")
class SignMomentum(torch.optim.Optimizer):
    """Steps of one size, in the direction of a running mean."""

    def __init__(self, params, lr=0.001, weight_decay=0.0, beta=0.9):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "beta": beta})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                mean = self.state[w].setdefault("mean", torch.zeros_like(w))
                mean.lerp_(w.grad, 1 - group["beta"])
                w.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * mean.sign())
