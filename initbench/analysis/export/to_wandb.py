"""Weights & Biases: a run a network, written on this machine; nothing is sent unless WANDB_MODE says so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal, get_args

from initbench.analysis.export.catalogue import Progress, Target, register
from initbench.analysis.export.parts import Export
from initbench.analysis.export.runs import Run, runs_of
from initbench.core.errors import UsageError, WorkError
from initbench.core.files import make_folder

Mode = Literal["offline", "online"]
MODES: tuple[Mode, ...] = get_args(Mode)
PROJECT = "initbench"
LONGEST = 128
"""Letters of a run's name, and of a group's, that its server takes."""


@register("wandb", summary="Runs of Weights & Biases in DIR/wandb, offline: `wandb sync` sends them.",
          source="https://docs.wandb.ai")  # fmt: skip
def wandb() -> Target:
    return Target(_write, needs=("wandb",))


def _write(export: Export, progress: Progress) -> list[str]:
    """Each run is logged in a folder of its own, which takes its place when it is whole."""
    mode = _mode()
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before it is imported
    os.environ.setdefault("WANDB_SILENT", "true")
    from wandb.errors import Error

    folder, unfinished, runs = export.into / "wandb", export.into / ".unfinished", runs_of(export)
    make_folder(folder)
    there = {path.name.rpartition("-")[2] for path in folder.iterdir()}
    try:
        for done, run in enumerate(runs, 1):
            if run.id not in there:
                shutil.rmtree(unfinished, ignore_errors=True)
                made = _log(run, unfinished, mode)
                made.rename(folder / made.name)
            progress(done, len(runs))
    except Error as error:
        raise WorkError(f"wandb: {str(error).partition(chr(10))[0]}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    sent = [f"Send:    wandb sync {folder}/offline-run-*"] if mode == "offline" else []
    return [f"Runs:    {folder}/ ({len(runs):,}, {mode})", *sent]


def _mode() -> Mode:
    """What the user's WANDB_MODE says; offline if nothing."""
    told = os.environ.get("WANDB_MODE", "offline")
    for mode in MODES:
        if mode == told:
            return mode
    raise UsageError(f"WANDB_MODE is {told}, which keeps nothing here; accepted: {', '.join(MODES)}")


def _log(run: Run, folder: Path, mode: Mode) -> Path:
    """The folder in which wandb keeps the run."""
    import wandb

    folder.mkdir()
    # what wandb finds out of itself is of this machine now, and not of the one that trained: none of it is kept
    settings = wandb.Settings(mode=mode, console="off", silent=True, save_code=False, disable_git=True,
                              disable_code=True, disable_job_creation=True, x_disable_meta=True, x_disable_stats=True,
                              x_disable_machine_info=True, x_save_requirements=False)  # fmt: skip
    manifest = run.part.results.manifest
    logged = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT), group=run.part.study[:LONGEST], id=run.id,
        name=run.name[:LONGEST], notes=run.part.question, tags=[str(manifest["kind"]), run.status],
        config={**run.config, "initbench": manifest}, dir=folder, settings=settings, reinit="create_new",
    )  # fmt: skip
    for step, values in run.steps():
        logged.log(values, step=step)
    logged.summary.update({"status": run.status, **run.numbers, **run.words})
    logged.finish(exit_code=0 if run.done else 1)
    return Path(logged.settings.sync_dir)
