"""The templates of the page: all text in them is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from initbench.analysis.page import words
from initbench.analysis.page.tables import Grid

ASSETS = Path(__file__).parent / "assets"


@cache
def environment() -> Environment:
    """Where ``*.html.j2`` are, and what they call."""
    made = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    made.filters.update(markup=Markup, unbroken=words.unbroken)
    made.globals.update(number=words.number, is_grid=lambda table: isinstance(table, Grid), tones=words.TONES)
    return made
