"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
Command = Callable[..., Any]


class Spec(click.ParamType):
    """A spec string of a catalogue: checked by the catalogue, completed from its names."""

    name = "spec"

    def __init__(self, *kinds: str) -> None:
        """`kinds` are those of `initbench list`; their catalogues are imported when a name is to be completed."""
        self._kinds = kinds

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from initbench.cli.kinds import catalogue

        names = [entry.name for kind in self._kinds for entry in catalogue(kind)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Numbers(click.ParamType):
    """Whole numbers between commas."""

    name = "n,n,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"'{value}' is not a list of whole numbers between commas, such as 784,512,256", param, ctx)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in this order."""
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


class Folder(click.Path):
    """A folder's name; an empty one (of a shell variable that is not set) is not the current folder."""

    name = "folder"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the name of the folder is empty", param, ctx)
        return super().convert(value, param, ctx)


class Setting(click.ParamType):
    """``key=value``."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not (key.strip() and equals and text.strip()) or "\n" in value:
            self.fail(f"{value!r} is not KEY=VALUE, such as lr=0.1", param, ctx)
        return key.strip(), text


def levels(settings: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    """The levels given of each factor."""
    kept: dict[str, list[str]] = {}
    for factor, level in settings:
        kept.setdefault(factor, []).append(level)
    return kept


data = together(
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder with the data set's files."),
    click.option("--download", is_flag=True, help="Fetch missing files into --data-root."),
)
"""Where data sets are."""


hands = together(
    click.option("--executor", default="auto", show_default=True,
                 help="Who trains the stacks: threads of this process, processes of this machine (auto: where these"
                 " gain), or ray, tasks of a Ray cluster."),
    click.option("--address", metavar="HOST:PORT", help="Of a running Ray cluster, or auto. Default: RAY_ADDRESS, else"
                 " one is started on this machine."),
    click.option("--stack-timeout", type=float, metavar="SECONDS", help="A stack that takes longer counts as hanging:"
                 " it is tried once more, then its runs have failed. Default: none does."),
)  # fmt: skip
"""Who trains: the fields of `initbench.grid.executors.Hands`."""


def begin_ahead(executor: str, device: str) -> None:
    """The process that workers are copies of, where they may be wanted: it loads torch while this one does."""
    if executor in ("auto", "processes") and device in ("auto", "cpu") and (os.cpu_count() or 1) > 1:
        from initbench.grid import first_copy

        first_copy.begin()


def drawn(where: str, when: str = "") -> Callable[[Command], Command]:
    """Where to draw, whether, and as what: `reports`, and `figures`, the formats to draw in, none with --no-figures."""

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def told(*args: Any, figures: bool, figure_format: tuple[str, ...], **others: Any) -> Any:
            return command(*args, figures=tuple(dict.fromkeys(figure_format)) if figures else (), **others)

        return together(
            click.option("--reports", type=Folder(), default=Path("reports"), show_default=True,
                         help=f"{when}Folder for the figures{where}."),
            click.option("--figures/--no-figures", default=True, show_default=True, help=f"{when}Whether to draw."),
            click.option("--figure-format", type=click.Choice(["png", "pdf", "svg"]), multiple=True, default=["png"],
                         show_default=True, help=f"{when}Of the figures' files; may be repeated."),
        )(told)  # fmt: skip

    return add


figures = drawn(", in a folder named as --out's")
"""Of the commands whose results are a folder."""

network = together(
    click.option("--init", multiple=True, type=Spec("initializers"), help="An initializer; may be repeated."
                 " Default: the classical ones."),
    click.option("--activation", multiple=True, type=Spec("activations"), help="An activation; may be repeated."
                 " Default: the common ones."),
    click.option("--depth", type=int, help="Hidden layers. Default: 20."),
    click.option("--width", type=int, help="Units of every layer. Default: 512."),
    click.option("--widths", type=Numbers(), help="Every dimension from the input to the last hidden layer."),
    click.option("--bias-variance", type=float, default=0.0, show_default=True,
                 help="Variance of Gaussian biases, where the initializer sets none of its own."),
    click.option("--input", type=Spec("inputs", "datasets"), default="gaussian", show_default=True,
                 help="gaussian, or a data set."),
    click.option("--input-second-moment", type=float, help="E[x²] of Gaussian input. Default: 1."),
    click.option("--input-cosine", type=float, help="Cosine between two Gaussian inputs. Default: 0."),
    click.option("--normalization", type=Spec("preparations"), default="standardize", show_default=True,
                 help="What is done to a data set's images."),
    data,
    click.option("--seeds", type=int, default=10, show_default=True, help="Repetitions, with seeds 0, 1, ..."),
    click.option("--batch", type=int, default=128, show_default=True, help="Inputs for each seed."),
)  # fmt: skip
"""Which pairings, on which network, with which input: the options of `initbench.grid.variance_study.resolve`."""

output_format = click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table",
                             show_default=True, help="csv and json have standard output to themselves.")  # fmt: skip


def split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The study's own options, and those that say where its data is."""
    where = {name: options.pop(name) for name in ("data_root", "download")}
    return options, where
