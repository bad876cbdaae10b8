"""Carry out a study into a results folder, going on where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from initbench.engine import device as devices
from initbench.engine.signals import subnormals_flushed
from initbench.grid import provenance
from initbench.grid.plan import plan
from initbench.grid.store import Store, require_writable
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import VarianceStudy, open_inputs


@subnormals_flushed()
def run_variance(
    study: VarianceStudy,
    out: Path,
    *,
    data_root: Path | None = None,
    download: bool = False,
    device: str = "auto",
    beside: Sequence[Path] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Store:
    """The tables `layers`, `histograms` and `predictions` of `study` in `out`.

    Each part is kept as soon as it is done, and a finished one is not computed again. `progress` is called with the
    networks done and their number. Raises `UsageError` for what cannot be before anything is written; the folders
    `beside`, where the caller will write, are looked at too.
    """
    there = devices.resolve(device)
    planned = plan(study)
    inputs = open_inputs(study, data_root, download)
    inputs.batch(0, study.batch, study.widths[0])  # data that does not fit is told before the folder is made
    for folder in beside:
        require_writable(folder)
    store = Store(out, study.as_toml(), provenance.versions())
    if store.finished:
        return store
    started, clock = datetime.now(UTC), time.perf_counter()
    done = 0

    def count(just_done: int) -> None:
        nonlocal done
        done += just_done
        progress(done, planned.size)

    for seeds in planned.parts:
        part = f"seed{seeds.start:06d}"
        if store.has(part):
            count(len(seeds) * planned.size // study.seeds)
        else:
            store.write_part(part, measure(planned, inputs, seeds, there, count))
    predicted = predictions(study, inputs.moments(study.seeds, study.batch))
    store.finish(
        {"predictions": predicted},
        {
            "versions": provenance.versions(),
            "commit": provenance.commit(),
            "device": devices.describe(there),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 3),
        },
    )
    return store
