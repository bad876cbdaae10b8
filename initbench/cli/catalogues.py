"""`initbench list` and `initbench show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from initbench.cli import kinds, output
from initbench.cli.options import output_format
from initbench.core.catalogue import Entry, did_you_mean
from initbench.core.errors import UsageError


@click.command("list")
@click.argument("kind", metavar="KIND")
@output_format
def list_command(kind: str, form: str) -> None:
    """List the entries of a KIND: initializers, activations, inputs, datasets, preparations, optimizers, schedules,
    losses, regularizers, laws, measures, columns, words, agreements, targets; or the study files in studies/."""
    import pandas as pd

    if kind == "studies":
        from initbench.grid.study_files import listed

        output.echo(listed(Path("studies")), form)
        return
    catalogue, more = kinds.catalogue(kind), DETAILS.get(kind) if kind == "columns" else None
    rows = [_row(entry) | (more(catalogue, entry.name) if more else {}) for entry in catalogue]
    frame = pd.DataFrame(rows).fillna("")
    output.echo(frame.loc[:, (frame != "").any()], form)


def _row(entry: Entry[Any]) -> dict[str, str]:
    return {"name": entry.name, "also": ", ".join(entry.aliases), "formula": entry.formula, "what": entry.summary}


@click.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Show what NAME is: formula, source, when to use it; for an activation its gains, each under its own name."""
    found = [kind for kind in kinds.KINDS if name.partition("(")[0].strip() in kinds.catalogue(kind)]
    if not found:
        known = [entry.name for kind in kinds.KINDS for entry in kinds.catalogue(kind)]
        raise UsageError(f"nothing is called '{name}'{did_you_mean(name, known, 'see initbench list KIND')}")
    with output.reader_may_leave():
        click.echo("\n\n".join("\n".join(_lines(kind, name)) for kind in found))


def _lines(kind: str, name: str) -> Iterator[str]:
    catalogue = kinds.catalogue(kind)
    entry = catalogue.entry(name.partition("(")[0].strip())
    yield f"{entry.name}, {catalogue.kind}"
    told = {"what": entry.summary, "formula": entry.formula, "source": entry.source, "written": entry.signature,
            "also": ", ".join(entry.aliases), "from": str(entry.origin or "")}  # fmt: skip
    yield from (f"  {label:<10} {text}" for label, text in told.items() if text and text != "-")
    for label, text in DETAILS.get(kind, lambda *_: {})(catalogue, name).items():
        yield f"  {label:<10} {text}"


def _gains(catalogue: Any, name: str) -> dict[str, str]:
    from initbench.theory.critical import critical, gains

    activation = catalogue.make(name)
    found = gains(activation)
    try:
        point = critical(activation)
        where = f"at q* = {point.q:.6g}, {'attracting' if point.attracting else 'repelling'}"
        at = f"{point.weight_variance:.10g} = fan_in·Var(w), {'at any q: E[z²] stays' if point.every_q else where}"
    except UsageError as reason:
        at = f"none: {reason}"
    return {
        "kinks": ", ".join(f"{kink:g}" for kink in activation.kinks) or "none",
        "gains": "gain²/fan_in is a weight variance; four things are called so",
        "  torch": "none" if found.torch is None else f"{found.torch:<12.10g} torch.nn.init.calculate_gain",
        "  moment": f"{found.moment:<12.10g} 1/sqrt(E[phi(z)²]), z ~ N(0, 1)",
        "  backward": f"{found.backward:<12.10g} 1/sqrt(E[phi'(z)²]), z ~ N(0, 1)",
        "critical": at,
    }


def _promises(catalogue: Any, name: str) -> dict[str, str]:
    """The promised variance on a square layer and on a tapered first one, for the rectifier where it asks for one."""
    from initbench.activations import ACTIVATIONS
    from initbench.core.records import Layer
    from initbench.initializers import Setting
    from initbench.initializers.adaptation import IMAGES

    if not ("(" in name or catalogue.entry(name).complete):
        return {}  # a name without the values that it needs
    layers = [Layer(2, 512, 512), Layer(1, 784, 256)]
    made = catalogue.make(name)
    promised = [made.promise(Setting(layer, ACTIVATIONS.make("relu"))) for layer in layers]
    shown = [f"{p.variance:.6g} ({p.layer.fan_in} -> {p.layer.fan_out})" for p in promised]
    told = {"Var(w)": ", ".join(shown) + ", for relu where it asks for the activation"}
    if made.adapt and made.looks:
        told["data"] = ("its weights adapt to the batch that is measured, in training to the first"
                        f" {IMAGES} images of the training split")  # fmt: skip
    return told


def _place(catalogue: Any, name: str) -> dict[str, str]:
    """Of a column: its unit, and the tables that have it."""
    column = catalogue.make(name)
    return {"unit": column.unit, "tables": column.tables}


DETAILS = {"columns": _place, "activations": _gains, "initializers": _promises}
