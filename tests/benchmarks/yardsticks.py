"""Fixed work that initbench is held against: torch, numpy, pandas and matplotlib as a user would call them.

Nothing of initbench is in here, and nothing may change: a yardstick of another length asks for a new baseline.
"""

import hashlib
import itertools
import json
import os
import timeit
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F


def best_product():
    """The float32 product that runs fastest here, whatever library and size, and its multiply-adds."""
    rates = {}
    for size in (512, 1024, 2048, 4096):
        one, other, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
        routines = {"torch": partial(torch.mm, one, other, out=out),
                    "numpy": partial(np.matmul, one.numpy(), other.numpy(), out=out.numpy())}  # fmt: skip
        if torch.backends.mkldnn.is_available():
            routines["oneDNN"] = partial(torch.ops.mkldnn._linear_pointwise, one, other, None, "none", [], "")
        turns = max(1, 1024**3 // size**3)
        for routine in routines.values():
            rates[routine, size**3] = turns * size**3 / min(timeit.repeat(routine, number=turns, repeat=5))
    return max(rates, key=rates.get)


def propagation(depth, width, batch):
    """One network, one seed, two variances: z forward and the gradient at z backward, by hooks."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False)
        nn.init.kaiming_normal_(linear.weight)
        layers += [linear, nn.ReLU()]
    found = []
    for layer in layers[::2]:
        layer.register_forward_hook(lambda _module, _inputs, z: found.append(float(z.detach().var())))
        layer.register_full_backward_hook(lambda _module, _inputs, grad: found.append(float(grad[0].var())))
    a = nn.Sequential(*layers)(torch.randn(batch, width, requires_grad=True))
    (a * torch.randn_like(a)).sum().backward()
    assert len(found) == 2 * depth


def training(widths, activation, optimizer, steps, images, held):
    """One run on tensors in memory, with nothing in the loop that need not be there.

    `images` and `held` have images and labels; `optimizer` makes one of torch's from parameters.
    """
    linears = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(widths)]
    model = nn.Sequential(*[layer for linear in linears for layer in (linear, activation())][:-1])
    stepper = optimizer(model.parameters())
    x, y = images
    order = torch.randperm(len(x))
    for step in range(steps):
        index = order[64 * step : 64 * step + 64]
        loss = F.cross_entropy(model(x[index]), y[index])
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    with torch.no_grad():
        for x, y in held:
            outputs = model(x)
            float(F.cross_entropy(outputs, y)), float((outputs.argmax(1) == y).float().mean())


@dataclass(frozen=True)
class Record:
    """About as many fields as a cell has."""

    name: str
    kind: str
    size: int
    rate: float
    seed: int
    place: int
    note: str = ""
    kept: bool = False
    pairs: tuple[tuple[str, float], ...] = ()


def bookkeeping(folder, files=100):
    """10,000 records of plain Python, hashed one by one, written to Parquet files, read again and joined."""
    grid = itertools.product("abcdefghij", "abcdefghij", range(10), range(10))
    records = [Record(name, kind, size, 1 / (1 + seed), seed, place)
               for place, (name, kind, size, seed) in enumerate(grid)]  # fmt: skip
    rows = [asdict(record) for record in records]
    told = [json.dumps(row, sort_keys=True) for row in rows]
    asked = pd.DataFrame(rows).drop(columns="pairs")
    asked["id"] = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in told]
    folder.mkdir()
    size = len(rows) // files
    for number in range(files):
        found = [{"id": name, "loss": 0.5, "status": "done"} for name in asked["id"][size * number :][:size]]
        with (folder / f"{number}.parquet").open("wb") as file:
            pd.DataFrame(found).to_parquet(file, index=False)
            file.flush()
            os.fsync(file.fileno())
    whole = pd.concat(pd.read_parquet(folder / f"{number}.parquet") for number in range(files))
    joined = asked.merge(whole, on="id", how="left")
    joined.to_parquet(folder / "whole.parquet", index=False)
    assert joined["status"].eq("done").all()


def quadrature(recursions=28, depth=8, points=330):
    """Mean-field recursions of tanh and ReLU by plain Gauss-Legendre, in one dimension and in two, and by autograd.

    Large arrays that are made and dropped, and many small ones.
    """
    abscissa, weight = np.polynomial.legendre.leggauss(points)
    x = 8 * abscissa
    weight = 8 * weight * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    for number in range(recursions):
        phi = np.tanh if number % 2 else lambda z: np.maximum(z, 0.0)
        scale, q, c = 1 + number / recursions, 1.0, 0.5
        for _ in range(depth):
            deviation, spread = np.sqrt(q), np.sqrt(1 - c**2)
            v = np.sort(deviation * (c * x[:, None] + spread * x), axis=-1)
            inner = np.where(v > 0, phi(v), 0.0) * np.exp(-((v / deviation - c * x[:, None]) ** 2) / 2 / spread**2)
            product = float((phi(deviation * x)[:, None] * inner * weight).sum())
            z = torch.tensor(deviation * x, requires_grad=True)
            (slope,) = torch.autograd.grad(torch.tanh(z).sum(), z)
            for sample in np.linspace(0.5, 1.5, 40):
                moments = np.broadcast_to(sample * q, (10,)) * np.ones(10)
                assert np.isfinite(moments.mean() + moments.var() + (slope.numpy() ** 2 * weight).sum())
            q = scale * float((phi(deviation * x) ** 2 * weight).sum())
            c = float(np.clip(product / q, -0.9, 0.9))


def million_rows():
    """A table like `curves`: 10,000 names, 100 steps each, four columns of numbers."""
    numbers = np.random.default_rng(0).random((1_000_000, 4))
    names = np.repeat([f"{number:016x}" for number in range(10_000)], 100)
    values = dict(zip(("train_loss", "train_accuracy", "val_loss", "val_accuracy"), numbers.T, strict=True))
    return pd.DataFrame({"cell_id": names, "step": np.tile(np.arange(100), 10_000), **values})


def figures(folder, number=1):
    """Plain matplotlib: panels of lines and of coloured squares, saved as PNG, their numbers as CSV."""
    values = pd.DataFrame(np.random.default_rng(0).random((400, 8)), columns=list("abcdefgh"))
    for page in range(number):
        figure = Figure(figsize=(9, 5), layout="constrained")
        for axes, column in zip(figure.subplots(2, 4, sharex=True).flat, values, strict=True):
            for start in range(0, 400, 50):
                axes.plot(values[column].iloc[start : start + 50].to_numpy(), marker="o", label=f"line {start}")
            axes.set(title=column, xlabel="place", ylabel="value", yscale="log")
        axes.legend()
        figure.savefig(folder / f"{page}.png", dpi=150)
        values.to_csv(folder / f"{page}.csv", index=False)
