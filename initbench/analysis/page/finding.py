"""What a page tells first of a results folder."""

from __future__ import annotations

from dataclasses import dataclass, field

from initbench.analysis.page.comparisons import Comparison


@dataclass(frozen=True)
class Fact:
    """A number that is seen from afar, what it is, and what it rests on."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """What was asked and found."""

    question: str
    lead: str
    """One sentence, with its interval."""
    facts: list[Fact] = field(default_factory=list)
    groups: list[tuple[str, int, str]] = field(default_factory=list)
    """What fails and where: word, how many, which."""
    comparison: Comparison | None = None
    """Of a study of training: the levels of a factor against its first."""
