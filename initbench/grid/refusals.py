"""Why a cell cannot be trained, told before anything is."""

from __future__ import annotations

import os

from initbench.activations import ACTIVATIONS
from initbench.core.cell import Cell
from initbench.core.errors import UsageError
from initbench.core.records import Network, shape_of
from initbench.datasets import PREPARATIONS, Data
from initbench.grid.costs import bytes_of
from initbench.initializers import INITIALIZERS
from initbench.recipe import OPTIMIZERS, REGULARIZERS, SCHEDULES
from initbench.recipe.samples import batch_length, training_images


def refusal(cell: Cell, data: Data) -> str:
    """Why this training cannot be; empty where it can."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if (needed := bytes_of(cell, data)) > there:  # first: naming the layers of such a network takes long itself
        what = "one network and its curves need" if cell.record_every else "one network needs"
        return f"{what} about {needed / 2**30:.3g} GiB; this machine has {there / 2**30:.3g}"
    network = shape_of(cell, data.features, data.classes)
    try:
        images = training_images(cell, data)
        if images < (fewest := PREPARATIONS.make(cell.normalization).fewest):
            return f"{cell.normalization} needs {fewest} training images or more; {images} is left"
        initializer, activation = INITIALIZERS.make(cell.init), ACTIVATIONS.make(cell.activation)
        initializer.promises(activation, network)
        if initializer.rates:
            initializer.learning_rates(activation, network, OPTIMIZERS.make(cell.optimizer).normalizes)
    except UsageError as reason:
        return str(reason)
    if missing := _misses_branches(cell, network):
        return missing
    watched = SCHEDULES.make(cell.schedule).watches_validation or cell.early_stopping
    if watched and not cell.record_every:
        return "early stopping and the schedule plateau look at the validation loss every record_every steps; give it"
    if cell.batch_norm and 1 in (size := batch_length(cell, images), images % size or size):
        return f"batch normalization needs 2 images or more in a minibatch; {images} by {size} leaves one with 1"
    reasons = (_idle(name, strength, cell, data, network) for name, strength in cell.regularizers)
    return next(filter(None, reasons), "")


def _idle(name: str, strength: float, cell: Cell, data: Data, network: Network) -> str:
    """Why a regularizer would change nothing, and its levels be one training under several names."""
    regularizer = REGULARIZERS.make(name)
    if regularizer.branches and not network.branches:
        lacks = f"depth {cell.depth} has none" if cell.residual or not cell.depth else "set residual"
        return f"stochastic depth skips residual branches; {lacks}"
    if regularizer.units and not cell.depth:
        return f"{name} acts on hidden units; depth 0 has none"
    return regularizer.idle(strength, batch_length(cell, training_images(cell, data)), data.shape)


def _misses_branches(cell: Cell, network: Network) -> str:
    """Why residual branches do not come out even, or are not what the initializer is for; empty where they serve."""
    branch, length = INITIALIZERS.make(cell.init).branch, network.residual
    if length > 1 and cell.depth and (left := (cell.depth - 1) % length):
        fits = cell.depth - left
        return (f"branches of {length} layers follow the first layer: depth {cell.depth} leaves {left} over; give"
                f" {fits} or {fits + length}")  # fmt: skip
    if branch and length < branch.layers and cell.depth:
        many = f" of {branch.layers} layers; set residual = {branch.layers}" if branch.layers > 1 else "; set residual"
        return f"{cell.init} needs residual branches{many}"
    if branch and not network.branches:
        return f"{cell.init} needs residual branches; depth {cell.depth} has none"
    return ""
