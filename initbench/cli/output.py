"""Frames on standard output, and progress on a terminal."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """A reader that goes away (`| head -1`) has what it wanted: that is no failure."""
    try:
        yield
        if sys.stdout:  # a process may be started without one
            sys.stdout.flush()
    except BrokenPipeError:
        # what is left in the buffer would be tried again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@reader_may_leave()
def echo(frame: pd.DataFrame, form: str, pager: bool = False) -> None:
    """Print `frame` as a table (through a pager on a terminal, if `pager`), csv or json."""
    if form == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        click.echo(frame.to_json(orient="records", indent=1, double_precision=15))
    else:
        text = as_text(frame)
        (click.echo_via_pager if pager else click.echo)(text + "\n")


def printable(text: str) -> str:
    """`text` in one line that no terminal acts upon: control characters as Python writes them."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def drawn(out: Path, into: Path, formats: Sequence[str]) -> list[Path]:
    """The page and the figures of the results in `out`, written in each of the `formats`; without one none is made."""
    if not formats:
        return []
    from initbench.analysis import page  # no sooner, and for these alone: what draws takes seconds to load

    return page.write_all(out, into, formats)


def echo_paths(drawn: Iterable[Path]) -> None:
    """What was written to be looked at."""
    for path in drawn:
        click.echo(f"{'Report' if path.stem == 'report' else 'Figure'}:  {path}")


def as_text(frame: pd.DataFrame) -> str:
    """A table that reads in a monospaced font: numbers to four digits, missing ones as a dash, text to the left."""
    shown = frame.copy()
    text = [name for name in shown if shown[name].map(lambda value: isinstance(value, str)).any()]
    for name in text:
        shown[name] = shown[name].map(lambda value: printable(str(value)))
        wide = max([len(str(name)), *shown[name].str.len()])
        shown[name] = shown[name].str.ljust(wide)
        shown = shown.rename(columns={name: str(name).ljust(wide)})
    rendered = shown.to_string(index=False, na_rep="-", float_format=_number)
    return "\n".join(line.rstrip() for line in rendered.splitlines())


def _number(value: float) -> str:
    return f"{value:.4g}"


@contextmanager
def changes_told(*folders: Path) -> Iterator[None]:
    """A newer version's folder is refused; after the block it is told which tables are not as they were written."""
    from initbench.analysis.results import changes_of

    changes = [*itertools.chain(*map(changes_of, folders))]
    yield  # an error in it is one line alone
    for fault in changes:
        click.echo(f"Note: {fault.path} is {fault.why}", err=True)


class Count(Protocol):
    """Called with the work done and the whole of it."""

    def __call__(self, done: int, of: int) -> None: ...


@contextmanager
def progress(label: str) -> Iterator[Count]:
    """A bar with time left on standard error; nothing where that is no terminal."""
    if not (sys.stderr and sys.stderr.isatty()):  # a closed one is None
        yield lambda done, of: None
        return
    bars: list[Any] = []  # made when the whole is known

    def count(done: int, of: int) -> None:
        if not bars:
            bars.append(click.progressbar(length=of, label=label, file=sys.stderr, show_pos=True).__enter__())
        bars[0].update(done - bars[0].pos)

    try:
        yield count
    finally:
        for bar in bars:
            bar.render_finish()
