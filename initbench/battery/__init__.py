"""The laws that an entry of each kind has to keep, held against a plug-in's: what `initbench test-plugin` runs.

A kind is a file with its `LAWS`, by name: each is given the entry as it is made, says in words what it found, and
raises `BrokenError` where the law does not hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initbench.activations import ACTIVATIONS
from initbench.battery import activations, datasets, initializers, optimizers
from initbench.core.catalogue import Catalogue, Entry
from initbench.core.plain import NUMBER
from initbench.core.plugins import told
from initbench.datasets import DATASETS
from initbench.initializers import INITIALIZERS
from initbench.recipe import OPTIMIZERS

Laws = Mapping[str, Callable[[Any], str]]
KINDS: tuple[tuple[Catalogue[Any], Laws], ...] = (
    (INITIALIZERS, initializers.LAWS),
    (ACTIVATIONS, activations.LAWS),
    (DATASETS, datasets.LAWS),
    (OPTIMIZERS, optimizers.LAWS),
)
EXAMPLES: dict[Any, str] = {float: "0.5", NUMBER: "0.5", int: "2", bool: "true"}
"""For parameters without a default, by their kind."""
MADE = "can be made"
"""The law before all others."""


@dataclass(frozen=True)
class Outcome:
    """Of one law for one entry."""

    kind: str
    entry: str
    law: str
    outcome: str
    """pass or fail."""
    what: str
    """What was found, or why it fails."""


def outcomes(path: Path) -> list[Outcome]:
    """A row for each law and each entry that the plug-in `path`, loaded before, registered."""
    return [row for catalogue, laws in KINDS for entry in catalogue
            if entry.origin and entry.origin.path == str(path) for row in _of(catalogue, entry, laws)]  # fmt: skip


def _of(catalogue: Catalogue[Any], entry: Entry[Any], laws: Laws) -> Iterator[Outcome]:
    spec = example(entry)
    try:
        made = catalogue.make(spec)
    except Exception as error:
        yield Outcome(catalogue.kind, spec, MADE, "fail", told(error))
        return
    yield Outcome(catalogue.kind, spec, MADE, "pass", entry.signature)
    for name, law in laws.items():
        try:
            yield Outcome(catalogue.kind, spec, name, "pass", law(made))
        except Exception as error:  # a plug-in's code may raise whatever it likes
            yield Outcome(catalogue.kind, spec, name, "fail", told(error))


def example(entry: Entry[Any]) -> str:
    """The shortest spec of an entry, numbers put in where it asks for some."""
    kinds = inspect.get_annotations(entry.factory)
    required = [p.name for p in inspect.signature(entry.factory).parameters.values() if p.default is p.empty]
    given = [f"{name}={EXAMPLES[kinds[name]]}" for name in required if kinds.get(name) in EXAMPLES]
    return f"{entry.name}({', '.join(given)})" if given else entry.name
