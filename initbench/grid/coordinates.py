"""The coordinate check carried out: one module at several widths, each trained for a few steps from several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from torch import nn

from initbench.core.catalogue import did_you_mean, require_known
from initbench.core.errors import UsageError, WorkError, require
from initbench.core.global_generators import lent
from initbench.core.plugins import told
from initbench.core.randomness import key_to_seed
from initbench.engine.probe.coordinates import MUP, STANDARD, Build, Training, powers_of, trained
from initbench.grid.variance_study import MOST_SEEDS
from initbench.recipe import OPTIMIZERS

PARAMETRIZATIONS = ("standard", "mup")
COORDINATES = ("parametrization", "width", "seed", "step", "layer", "module", "call", "kind", "elements",
               "activation_rms", "update_rms", "gradient_rms")  # fmt: skip
MOST_STEPS = 1000


def coordinates(
    build: Build,
    batch: Any,
    widths: Sequence[int],
    *,
    steps: int = 3,
    seeds: int = 10,
    parametrization: str = "standard",
    optimizer: str = "adam",
    lr: float = 1e-2,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> pd.DataFrame:
    """A row per width, seed, step and call of a part with parameters: `trained`'s numbers.

    `build(width)` makes the module, initialized for its width. ``standard`` takes it as it is, with one learning rate;
    ``mup`` scales weights and learning rates by the maximal update parametrization's rules, which leave the smallest
    width as it is. Raises `UsageError` for what cannot be, `WorkError` where a module does not run.
    """
    require_known([parametrization], PARAMETRIZATIONS, "parametrization")
    OPTIMIZERS.entry(optimizer)
    mup = parametrization == "mup"
    rules = f"muP's rules are known for {' and '.join(MUP)}, not for {optimizer}{did_you_mean(optimizer, MUP)}"
    require(not mup or optimizer in MUP, rules)
    widths = sorted(set(widths))
    require(len(widths) > 1, "a slope needs two widths or more")
    require(widths[0] >= 1, f"a width must be at least 1, not {widths[0]}")
    require(1 <= steps <= MOST_STEPS, f"steps must be from 1 to {MOST_STEPS:,}, not {steps}")
    require(seeds >= 2, f"an interval needs two seeds or more, not {seeds}")
    require(seeds <= MOST_SEEDS, f"seeds must be at most {MOST_SEEDS:,}, not {seeds:,}")
    require(0 < lr < float("inf"), f"lr must be above 0, not {lr:g}")
    training = Training(optimizer, lr, steps, MUP[optimizer] if mup else STANDARD)
    grown = powers_of(_built(build, widths[0], 0), _built(build, widths[1], 0), training.powers)
    frames = []
    for place, (width, seed) in enumerate((width, seed) for width in widths for seed in range(seeds)):
        module = _built(build, width, seed)
        with lent(key_to_seed(seed, "coordinates", "train")):
            rows = trained(module, batch, seed, grown, width / widths[0], training)
        frame = pd.DataFrame(rows)
        frames.append(frame.assign(width=width, seed=seed, layer=frame.groupby("step").cumcount() + 1))
        progress(place + 1, len(widths) * seeds)
    table = pd.concat(frames, ignore_index=True).assign(parametrization=parametrization)
    counts = table.groupby(["width", "seed", "step"]).size()
    if len(counts.unique()) > 1:
        raise WorkError("not every width runs the same layers: slopes are between layers of one place")
    return table[list(COORDINATES)]


def _built(build: Build, width: int, seed: int) -> nn.Module:
    """The module of a width, its weights drawn for the seed whatever the global generators are."""
    with lent(key_to_seed(seed, "coordinates", "build", width)):
        try:
            module = build(width)
        except Exception as error:
            raise UsageError(f"the builder fails for width {width}: {told(error)}") from None
    require(isinstance(module, nn.Module), f"the builder returned {type(module).__name__}, not a torch.nn.Module")
    return module.train()
