"""The command line: each command parses, calls one function, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import click

from initbench.core.errors import InitbenchError

# command -> the module that holds it, and its line in the help
COMMANDS = {
    "variance": ("variance", "Propagate through deep MLPs and hold every layer against theory."),
    "predict": ("predict", "What theory says of every layer; no sampling."),
    "list": ("catalogues", "List the entries of a kind: initializers, activations, ..."),
    "show": ("catalogues", "Show an entry: formula, source, when to use it."),
}


class Commands(click.Group):
    """Loads a command's module when the command is called, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f"initbench.cli.{COMMANDS[cmd_name][0]}"), f"{cmd_name}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InitbenchError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("initbench"), prog_name="initbench")
def main() -> None:
    """Studies of neural-network weight initialization: predicted, measured, judged."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter gets a stand-in and not a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
