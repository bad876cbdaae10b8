"""The module that a text names, and random inputs for it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from initbench.core.catalogue import did_you_mean
from initbench.core.errors import UsageError, require
from initbench.core.global_generators import lent
from initbench.core.plugins import told
from initbench.core.randomness import generator, key_to_seed
from initbench.engine.probe.coordinates import Build
from initbench.initializers.bases import DRAWN

WRITTEN = "write torchvision:NAME, FILE.py:NAME or package.module:NAME"
MOST_VALUES = 2**31


def load(target: str) -> nn.Module:
    """The module that ``torchvision:NAME``, ``FILE.py:NAME`` or ``package.module:NAME`` names; a builder is called.

    The code of the file runs. A builder is called without arguments, under a seed of its own, so that it builds the
    same every time. Raises `UsageError` for what is not there, or raises.
    """
    where, name = _parts(target)
    with _told(target):
        named = partial(_torchvision, name) if where == "torchvision" else _named(where, name)
        made = named if isinstance(named, nn.Module) or not callable(named) else named()
    require(isinstance(made, nn.Module), f"{target} is no torch.nn.Module and returns none, but {type(made).__name__}")
    return made


def builder(target: str) -> Build:
    """The function of the width that ``FILE.py:NAME`` or ``package.module:NAME`` names. Raises `UsageError`."""
    where, name = _parts(target)
    require(where != "torchvision", f"{target} has one width; name a function of yours that builds it for any")
    with _told(target):
        build: Build = _named(where, name)
    is_function = callable(build) and not isinstance(build, nn.Module)
    require(is_function, f"{target} is no function of the width, but {type(build).__name__}")
    return build


def _parts(target: str) -> tuple[str, str]:
    where, colon, name = target.rpartition(":")
    require(bool(colon and where and name), f"cannot read '{target}'; {WRITTEN}")
    return where, name


@contextmanager
def _told(target: str) -> Iterator[None]:
    """What code that is not ours raises in the block becomes one line; it has generators of its own."""
    with lent(key_to_seed(0, "probe", "build")):
        try:
            yield
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"{target}: {told(error)}") from None


def _torchvision(name: str) -> nn.Module:
    from torchvision import models  # here: it takes a second to import

    known = models.list_models()
    require(name in known, f"torchvision has no model '{name}'{did_you_mean(name, known, 'see its list_models()')}")
    return models.get_model(name, weights=None)


def _named(where: str, name: str) -> Any:
    thing: Any = _file(Path(where)) if where.endswith(".py") else _importable(where)
    for part in name.split("."):
        require(hasattr(thing, part), f"{where} has no '{part}'{did_you_mean(part, _public(thing), WRITTEN)}")
        thing = getattr(thing, part)
    return thing


def _file(path: Path) -> ModuleType:
    require(path.is_file(), f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.absolute()))  # as for a script: its neighbours can be imported
    sys.modules.setdefault(path.stem, module)  # data classes look there
    spec.loader.exec_module(module)
    return module


def _importable(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"there is no module '{error.name}'; {WRITTEN}") from None


def _public(thing: Any) -> list[str]:
    return [name for name in vars(thing) if not name.startswith("_")]


def draw_batch(shape: tuple[int, ...], batch: int, vocabulary: int | None = None, seed: int = 0) -> Tensor:
    """Random inputs `batch *shape`: i.i.d. N(0, 1), or tokens below `vocabulary`. Raises `UsageError` for bad sizes."""
    require(
        len(shape) > 0 and min(shape) >= 1, f"every size of an input is at least 1, not {','.join(map(str, shape))}"
    )
    require(batch >= 1, f"batch must be at least 1, not {batch}")
    require(vocabulary is None or vocabulary >= 1, f"vocabulary must be at least 1, not {vocabulary}")
    size = (batch, *shape)
    values = torch.Size(size).numel()
    require(values <= MOST_VALUES, f"a batch has at most {MOST_VALUES:,} numbers, not {values:,}")
    source = generator(seed, "probe input", *size)
    if vocabulary is None:
        return torch.randn(size, generator=source, **DRAWN)
    return torch.randint(vocabulary, size, generator=source, device="cpu")
