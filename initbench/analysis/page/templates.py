"""The templates of the page: all text in them is escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from initbench.analysis.page import words
from initbench.analysis.page.tables import Grid


def asset(name: str) -> str:
    """The text of a file of the page's, which may lie in a zip."""
    return (files("initbench.analysis.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Where ``*.html.j2`` are, and what they call."""
    made = Environment(loader=FunctionLoader(asset), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    made.filters.update(markup=Markup, unbroken=words.unbroken)
    made.globals.update(number=words.number, is_grid=lambda table: isinstance(table, Grid), tones=words.TONES)
    return made
