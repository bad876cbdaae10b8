"""A study of propagation: which pairings, on which network, with which input and how often."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from initbench.activations import ACTIVATIONS
from initbench.core.catalogue import Catalogue, did_you_mean
from initbench.core.errors import UsageError, require
from initbench.core.records import Network
from initbench.datasets import DATASETS, PREPARATIONS
from initbench.datasets.inputs import SYNTHETIC, Inputs, SampledInputs
from initbench.initializers import INITIALIZERS

DEPTH, WIDTH = 20, 512
DEEPEST, WIDEST = 100_000, 10**12
MOST_SEEDS = 1_000_000


@dataclass(frozen=True)
class VarianceStudy:
    """All that decides the numbers, in canonical form; `resolve` makes it from what a user gives."""

    init: tuple[str, ...]
    activation: tuple[str, ...]
    widths: tuple[int, ...]
    bias_variance: float
    input: str
    normalization: str
    seeds: int
    batch: int

    @property
    def network(self) -> Network:
        """The shape that all pairings share."""
        return Network(self.widths, self.bias_variance)

    @property
    def pairings(self) -> list[tuple[str, str]]:
        """Initializer and activation, in the order of the tables."""
        return [(init, activation) for init in self.init for activation in self.activation]

    def as_toml(self) -> dict[str, Any]:
        """What study.toml holds."""
        return {"kind": "variance", **{name: _listed(value) for name, value in asdict(self).items()}}


def resolve(
    *,
    init: str | Sequence[str] = (),
    activation: str | Sequence[str] = (),
    depth: int | None = None,
    width: int | None = None,
    widths: Sequence[int] | None = None,
    bias_variance: float = 0.0,
    input: str = "gaussian",  # noqa: A002  (the name of the option and of the column)
    input_second_moment: float | None = None,
    input_cosine: float | None = None,
    normalization: str = "standardize",
    seeds: int = 10,
    batch: int = 128,
) -> VarianceStudy:
    """The study that these options mean, nothing read yet. Raises `UsageError` for any that cannot be."""
    require_kinds(locals())
    require(seeds >= 1, f"seeds must be at least 1, not {seeds}")
    require(seeds <= MOST_SEEDS, f"seeds must be at most {MOST_SEEDS:,}, not {seeds:,}")
    require(batch >= 1, f"batch must be at least 1, not {batch}")
    require(0 <= bias_variance < math.inf, f"bias variance must be 0 or more, not {bias_variance:g}")
    chosen = {"second_moment": input_second_moment, "cosine": input_cosine}
    synthetic = _is_synthetic(input)
    source = _synthetic(input, chosen) if synthetic else _data_set(input, chosen)
    prepared = PREPARATIONS.canonical(normalization)
    shape = _shape(depth, width, widths, None if synthetic else DATASETS.make(input).features)
    require(max(shape) <= WIDEST, f"every width must be at most {WIDEST:,}, not {reprlib.repr(max(shape))}")
    return VarianceStudy(
        init=_canonical(INITIALIZERS, init),
        activation=_canonical(ACTIVATIONS, activation),
        widths=tuple(int(units) for units in shape),
        bias_variance=float(bias_variance),
        input=source,
        normalization="none" if synthetic else prepared,
        seeds=int(seeds),
        batch=int(batch),
    )


def resolve_sweep(widths_sweep: Sequence[int], **options: Any) -> dict[int, VarianceStudy]:
    """The study of `options` at each width. Raises `UsageError` for what cannot be."""
    require_kinds({"widths_sweep": widths_sweep})
    require(
        options.get("width") is None and options.get("widths") is None,
        "a sweep of widths goes without a width, or widths, of its own",
    )
    require(len(set(widths_sweep)) > 1, "a sweep of widths needs two widths or more")
    return {int(width): resolve(**{**options, "width": width}) for width in dict.fromkeys(widths_sweep)}


def open_inputs(study: VarianceStudy, data_root: Path | None = None, download: bool = False) -> Inputs:
    """The study's input, read from `data_root` where it is a data set.

    Raises `UsageError` for data that cannot be prepared, or whose moments need more memory than there is.
    """
    if _is_synthetic(study.input):
        return SYNTHETIC.make(study.input)
    images = DATASETS.make(study.input).load(data_root, download).train_images
    inputs = SampledInputs(PREPARATIONS.make(study.normalization).fit(images)(images))
    inputs.require_room(study.seeds, study.batch)
    return inputs


def _canonical(catalogue: Catalogue[Any], given: str | Sequence[str]) -> tuple[str, ...]:
    """Canonical specs without repetition, in the order given; the catalogue's defaults if none is."""
    specs = [given] if isinstance(given, str) else list(given) or catalogue.defaults
    for spec in specs:
        catalogue.make(spec)  # parameters out of range are told now
    return tuple(dict.fromkeys(catalogue.canonical(spec) for spec in specs))


def _is_synthetic(spec: str) -> bool:
    return spec.partition("(")[0].strip() in SYNTHETIC


def _synthetic(spec: str, chosen: dict[str, float | None]) -> str:
    """The canonical spec of a synthetic input with the options' moments put in."""
    told = ", ".join(f"{key}={value!r}" for key, value in chosen.items() if value is not None)
    if told and "(" in spec:
        raise UsageError(f"the input '{spec}' already says its moments; give them there or as options, not both")
    full = f"{spec}({told})" if told else spec
    SYNTHETIC.make(full)
    return SYNTHETIC.canonical(full)


def _data_set(spec: str, chosen: dict[str, float | None]) -> str:
    known = [entry.name for entry in (*SYNTHETIC, *DATASETS)]
    if spec.partition("(")[0].strip() not in DATASETS:
        raise UsageError(f"unknown input '{spec}'{did_you_mean(spec, known)}")
    if any(value is not None for value in chosen.values()):
        raise UsageError(f"the input '{spec}' has a second moment and a cosine of its own; choose them for gaussian")
    return DATASETS.canonical(spec)


def _shape(depth: int | None, width: int | None, widths: Sequence[int] | None, features: int | None) -> tuple[int, ...]:
    """The widths from the input to the last hidden layer. `features` is what the data has, None where it adapts."""
    if widths is None:
        depth, width = DEPTH if depth is None else depth, WIDTH if width is None else width
        require(depth >= 1, f"depth must be at least 1, not {depth}")
        require(width >= 1, f"width must be at least 1, not {width}")
        require(depth <= DEEPEST, f"depth must be at most {DEEPEST}, not {depth}")
        return (width if features is None else features, *[width] * depth)
    require(width is None, "give --width or --widths, not both")
    require(len(widths) >= 2, "widths need at least two numbers: the input's and one hidden layer's")
    require(min(widths) >= 1, f"every width must be at least 1, not {min(widths)}")
    require(
        depth in (None, len(widths) - 1),
        f"{len(widths)} widths make {len(widths) - 1} hidden layers, not the depth {depth} that was given",
    )
    require(
        features in (None, widths[0]),
        f"the first width is the input's: the data has {features} features, not {widths[0]}",
    )
    return tuple(widths)


Kind = Callable[[Any], bool]


def _one(kind: type) -> Kind:
    return lambda value: isinstance(value, kind) and not isinstance(value, bool)


def _several(kind: Kind) -> Kind:
    return lambda value: isinstance(value, Collection) and not isinstance(value, str) and all(map(kind, value))


def _either(*kinds: Kind) -> Kind:
    return lambda value: any(kind(value) for kind in kinds)


_whole, _number, _name, _left_out = _one(Integral), _one(Real), _one(str), _one(type(None))
_KINDS: dict[str, tuple[Kind, str]] = {
    **dict.fromkeys(["init", "activation"], (_either(_name, _several(_name)), "a name or a list of names")),
    **dict.fromkeys(["input", "normalization"], (_name, "a name")),
    **dict.fromkeys(["depth", "width"], (_either(_whole, _left_out), "a whole number")),
    **dict.fromkeys(["seeds", "batch", "fan_in", "fan_out", "at", "probes"], (_whole, "a whole number")),
    **dict.fromkeys(["input_second_moment", "input_cosine"], (_either(_number, _left_out), "a number")),
    "widths": (_either(_several(_whole), _left_out), "a list of whole numbers"),
    "widths_sweep": (_several(_whole), "a list of whole numbers"),
    "bias_variance": (_number, "a number"),
}
"""What each option takes: the command line has seen to it, Python's callers may have not."""


def require_kinds(options: dict[str, Any]) -> None:
    """Raises `UsageError` for the first option whose value is of another kind than it takes."""
    for name, value in options.items():
        is_kind, kind = _KINDS[name]
        require(is_kind(value), f"{name} must be {kind}, not {reprlib.repr(value)}")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
