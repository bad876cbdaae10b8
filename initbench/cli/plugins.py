"""The option ``--plugin`` of every command that reads a catalogue."""

from __future__ import annotations

from pathlib import Path

import click

from initbench.core.plugins import load

NAME = "plugin"


def with_plugins(command: click.Command) -> click.Command:
    """`command` with the option, given once however often it is asked for."""
    if not any(parameter.name == NAME for parameter in command.params):
        command.params.append(
            click.Option(
                [f"--{NAME}"],
                type=click.Path(path_type=Path),
                metavar="FILE",
                multiple=True,
                is_eager=True,  # before specs are read
                expose_value=False,
                callback=_loaded,
                help="Run this Python file first: what it registers is in the catalogues; may be repeated.",
            )
        )
    return command


def _loaded(ctx: click.Context, parameter: click.Parameter, paths: tuple[Path, ...]) -> None:
    for path in paths:
        load(path)
