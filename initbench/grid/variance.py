"""A variance study carried out: what theory predicts, and what networks do, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from initbench.activations import ACTIVATIONS
from initbench.core.errors import UsageError
from initbench.core.records import InputMoments, Network
from initbench.datasets.inputs import Inputs
from initbench.engine import device as devices
from initbench.engine.propagate import propagate
from initbench.engine.signals import subnormals_flushed
from initbench.engine.stack import Draws, LayerDraw, Source, Stack, draw_weights
from initbench.grid.beside import Beside
from initbench.grid.plan import Plan, Planned, require_rows
from initbench.grid.variance_study import VarianceStudy
from initbench.initializers import INITIALIZERS, Basis
from initbench.theory.laws import LAWS, predicted
from initbench.theory.rows import PREDICTED, SPREADS, blank

Progress = Callable[[int], None]
Rows = list[dict[str, Any]]

LAYERS = ("init", "activation", "seed", "layer", "fan_in", "fan_out", "weight_variance", "z_second_moment", "z_mean",
          "z_variance", "z_variance_batch", "z_variance_units", "a_second_moment", "a_mean", "a_variance",
          "a_variance_batch", "cosine", "grad_z_second_moment", "grad_a_second_moment", "grad_w_second_moment",
          "update_ratio", "saturated_fraction", "dead_fraction")  # fmt: skip
HISTOGRAMS = ("init", "activation", "layer", "quantity", "low", "high", "density")
BINS, REACH = 81, 4.0
PREDICTIONS = ("init", "activation", "law", "layer", "fan_in", "fan_out", "weight_variance", *PREDICTED, *SPREADS,
               "note")  # fmt: skip


def predictions(study: VarianceStudy, moments: InputMoments, laws: str | Sequence[str] = ()) -> pd.DataFrame:
    """The table `predictions`: a row per init, activation, law, layer. No sampling.

    A pairing that cannot be has rows without values and a note that says why; raises `UsageError` if none can be.
    """
    chosen = [*dict.fromkeys(LAWS.make(law) for law in ([laws] if isinstance(laws, str) else laws or LAWS.defaults))]
    require_rows(study, len(chosen))
    network, promised, refused = study.network, {}, {}
    for init, name in study.pairings:
        try:
            promised[init, name] = INITIALIZERS.make(init).promises(
                ACTIVATIONS.make(name), network, moments.mean_square
            )
        except UsageError as reason:
            refused[init, name] = str(reason)
    if not promised:
        raise UsageError(next(iter(refused.values())))
    place = {pairing: number for number, pairing in enumerate(study.pairings)}
    several = [(ACTIVATIONS.make(name), promises) for (_, name), promises in promised.items()]
    shape = len(place), len(chosen), network.depth
    table = {"weight_variance": np.full(shape, np.nan), **blank(*shape)}
    for name, values in predicted(chosen, several, moments).items():
        table[name][[place[pairing] for pairing in promised]] = values
    for pairing, why in refused.items():
        table["note"][place[pairing]] = why
    who = [(init, name, law.spec) for init, name in study.pairings for law in chosen]
    columns: dict[str, Any] = {
        name: pd.Series(each).repeat(network.depth).array
        for name, each in zip(PREDICTIONS, zip(*who, strict=True), strict=False)
    }
    for name, each in zip(PREDICTIONS[3:], zip(*map(astuple, network.layers), strict=True), strict=False):
        columns[name] = np.tile(each, len(who))
    columns |= {name: values.ravel() for name, values in table.items()}
    return pd.DataFrame({name: columns[name] for name in PREDICTIONS}, copy=False)  # each column as it is here


def measure(
    plan: Plan, inputs: Inputs, seeds: range, device: torch.device, progress: Progress = lambda _: None
) -> dict[str, pd.DataFrame]:
    """These seeds' rows of the table `layers`, and those of `histograms`, which has seed 0 alone.

    `progress` is called with the number of networks just done.
    """
    study = plan.study
    batches = {seed: inputs.batch(seed, study.batch, study.widths[0]).to(device) for seed in seeds}
    layers: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    rounds = list(plan.rounds(seeds))
    with Beside(min(devices.workers(device), max(len(stacks) for _, stacks in rounds))) as beside:
        for held, stacks in rounds:
            draws = dict(beside.results(lambda draw: _drawn(*draw, study.network, device), held))
            for networks, found, seen in beside.results(partial(_measured, draws=draws, inputs=batches), stacks):
                layers += found
                shapes += seen
                progress(networks)
    order = {pairing: place for place, pairing in enumerate(study.pairings)}
    layers.sort(key=lambda row: (order[row["init"], row["activation"]], row["seed"], row["layer"]))
    shapes.sort(key=lambda row: order[row["init"], row["activation"]])
    return {
        "layers": pd.DataFrame(layers, columns=list(LAYERS)),
        "histograms": pd.DataFrame(shapes, columns=list(HISTOGRAMS)),
    }


def _drawn(basis: Basis, seed: int, network: Network, device: torch.device) -> tuple[Source, Sequence[LayerDraw]]:
    return (basis.name, seed), draw_weights(basis, network, seed, device)


@subnormals_flushed()
def _measured(planned: Planned, draws: Draws, inputs: Mapping[int, Tensor]) -> tuple[int, Rows, Rows]:
    """A stack's number of networks, and its rows of `layers` and of `histograms`."""
    stack, layers, shapes = planned.stack, [], []
    seen = Histograms(stack)
    for number, rows in enumerate(propagate(stack, draws, inputs, seen)):
        for init, activation in planned.answers[number]:
            who = {"init": init, "activation": activation}
            seed = stack.members[number].seed
            layers += [{**who, "seed": seed, **asdict(layer), "layer": layer.index, **row}
                       for layer, row in zip(stack.network.layers, rows, strict=True)]  # fmt: skip
            shapes += [{**who, **row} for row in seen.rows(number)]
    return len(stack.members), layers, shapes


class Histograms:
    """Densities of activations and gradients at a few layers, for figures like Glorot & Bengio's 6 and 7.

    Bins are in units of each tensor's root mean square, so that they fit at any scale; rows are in true units.
    """

    def __init__(self, stack: Stack) -> None:
        self._layers = {round(number) for number in np.linspace(0, stack.network.depth - 1, 5)}
        self._seeds = [member.seed for member in stack.members]
        self._densities: dict[tuple[int, int, str], tuple[Tensor, float]] = {}

    def __call__(self, member: int, number: int, quantity: str, tensor: Tensor) -> None:
        if number in self._layers and self._seeds[member] == 0:
            size = float(tensor.double().square().mean().sqrt())
            shape = torch.histc(tensor.double() / size, bins=BINS, min=-REACH, max=REACH) if 0 < size < np.inf else None
            if shape is not None:
                self._densities[member, number, quantity] = (shape.cpu() / tensor.numel(), size)

    def rows(self, member: int) -> Iterator[dict[str, Any]]:
        """The rows of one member of the stack."""
        edges = np.linspace(-REACH, REACH, BINS + 1)
        for (who, number, quantity), (share, size) in self._densities.items():
            if who == member:
                for low, high, part in zip(edges[:-1] * size, edges[1:] * size, share.tolist(), strict=True):
                    yield {"layer": number + 1, "quantity": quantity, "low": low, "high": high,
                           "density": part / (high - low)}  # fmt: skip
