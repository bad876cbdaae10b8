"""Exports: a results folder in the formats and trackers that others use, one target a file.

A new target is one registered function that returns a `Target`; the command and its messages take it from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from initbench.analysis.comparison.scores import Canonical
from initbench.analysis.export.catalogue import TARGETS, Progress, Target
from initbench.analysis.export.parts import Export, chosen_parts
from initbench.core.errors import UsageError, WorkError
from initbench.core.files import make_folder, require_writable

__all__ = ["TARGETS", "Target", "export"]

for _target in ("files", "to_wandb", "to_mlflow", "to_tensorboard"):
    import_module(f"initbench.analysis.export.{_target}")


def export(
    out: Path,
    to: str,
    into: Path | None = None,
    where: Mapping[str, Sequence[str]] | None = None,
    *,
    canonical: Canonical = lambda _, level: level,
    progress: Progress = lambda done, of: None,
) -> list[str]:
    """Write the results in the folder `out` for the target `to`, a spec of `TARGETS`, into the folder `into`.

    `into` is ``exports/NAME`` if None; `where` keeps levels of factors, written as `canonical` reads them. What an
    earlier export left there is gone on with, and nothing is there twice. Returns lines that say what is there, and
    how to look at it. Raises `UsageError` where the target's extra is not installed, the results are not finished, or
    are of a kind that the target cannot take; `WorkError` where another export is at work in `into`.
    """
    target = TARGETS.make(to)
    _require_installed(target)
    name, parts, without = chosen_parts(out, where or {}, canonical)
    into = into or Path("exports") / name
    require_writable(into)
    make_folder(into)
    try:
        with FileLock(into / ".lock", timeout=0):
            lines = target.write(Export(name, into, parts), progress)
            return [*lines, *(f"Without: {told}" for told in without)]
    except Timeout:
        raise WorkError(f"another export is at work in {into}; wait for it, or give another --into") from None


def _require_installed(target: Target) -> None:
    name = TARGETS.arguments(target.spec)["name"]
    for module in target.needs:
        found = find_spec(module)
        if found is None or found.origin is None:  # a folder of that name, as trackers leave them, is no package
            raise UsageError(f'{name} needs a package that is not installed: pip install "initbench[{name}]"')
