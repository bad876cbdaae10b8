"""The command line: each command parses, calls one function, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

import click

from initbench.cli.interruption import terminated_as_interrupted
from initbench.cli.output import printable
from initbench.cli.plugins import with_plugins
from initbench.core.catalogue import did_you_mean
from initbench.core.errors import InitbenchError, UsageError, WorkError

# command -> the module that holds it, and its line in the help
COMMANDS = {
    "variance": ("variance", "Propagate through deep MLPs and hold every layer against theory."),
    "predict": ("predict", "What theory says of every layer; no sampling."),
    "audit": ("audit", "What variance the frameworks' conventions really give."),
    "run": ("run", "Answer the question of a study file."),
    "jacobian": ("jacobian", "Singular values of Jacobians, effective rank and tangent kernel of deep MLPs."),
    "probe": ("probe", "Measure any network layer by layer: where its signal is lost, and what would keep it."),
    "train-grid": ("train_grid", "Train every network of a grid, thousands at once."),
    "status": ("status", "How far a results folder is."),
    "compare": ("compare", "Compare the levels of a factor in a results folder, with honest statistics."),
    "report": ("report", "Any results folder as one HTML file: question, answer, figures, tables."),
    "export": ("export", "Results as csv or parquet, or in wandb, mlflow or tensorboard."),
    "reproduce": ("reproduce", "Make a results folder again, and hold every table against it."),
    "merge": ("merge", "Results from several machines as one folder; the same cells must agree."),
    "verify": ("verify", "Train a sample of stored runs again with the plain loop, and compare."),
    "list": ("catalogues", "List the entries of a kind: initializers, activations, ..."),
    "show": ("catalogues", "Show an entry: formula, source, when to use it."),
    "test-plugin": ("test_plugin", "Hold a plug-in's entries to the laws of their kind."),
}
WITHOUT_PLUGINS = frozenset({"status", "compare", "report", "export", "merge", "test-plugin"})
"""Commands that read tables alone, and no catalogue of entries that a plug-in may add to."""


os.environ.setdefault("GOMP_SPINCOUNT", "20000")
"""Before torch is loaded: its threads wait by spinning, and where another process shares the cores they spin against
each other (measured: 16 times as slow). A short spin and then sleep costs 2 % on a quiet machine."""


class Commands(click.Group):
    """Loads a command's module when the command is called, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"initbench.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command if cmd_name in WITHOUT_PLUGINS else with_plugins(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            raise UsageError(f"unknown command '{args[0]}'{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.exceptions.NoArgsIsHelpError:
            raise  # no error: the help
        except click.UsageError as error:
            _end(ctx, error.format_message(), UsageError.exit_code)
        except BrokenPipeError:
            raise  # the reader of --help went away
        except OSError as error:
            _end(ctx, _refused(error), WorkError.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _require_here()
            with terminated_as_interrupted():
                return super().invoke(ctx)
        except InitbenchError as error:
            _end(ctx, str(error), error.exit_code)
        except click.UsageError as error:
            _end(ctx, error.format_message(), UsageError.exit_code)
        except BrokenPipeError:
            raise  # the reader went away: click ends quietly
        except OSError as error:
            _end(ctx, _refused(error), WorkError.exit_code)
        except MemoryError as error:
            _end(ctx, f"not enough memory: {str(error) or 'smaller sizes take less'}", WorkError.exit_code)
        except KeyboardInterrupt:
            _end(ctx, "interrupted; what was finished is kept, and the same command goes on there", WorkError.exit_code)


def _require_here() -> None:
    """Raises `WorkError` where the current folder is gone: paths mean nothing there, and torch's libraries abort."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise WorkError("the current folder was removed; change to another") from None


def _refused(error: OSError) -> str:
    """Where, and why; what has no name is what was printed, or a full disk's file."""
    return f"{error.filename or 'standard output or a file'}: {error.strerror or error}"


def _end(ctx: click.Context, message: str, code: int) -> NoReturn:
    click.echo(f"Error: {printable(message)}", err=True)
    ctx.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("initbench"), prog_name="initbench")
def main() -> None:
    """Studies of neural-network weight initialization: predicted, measured, judged."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter gets a stand-in and not a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
