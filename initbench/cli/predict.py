"""`initbench predict`."""

from __future__ import annotations

from typing import Any

import click

from initbench.cli import options, output


@click.command("predict")
@options.network
@click.option("--law", "laws", multiple=True, type=options.Spec("laws"), help="A law; may be repeated. Default: all.")
@options.output_format
def predict_command(form: str, laws: tuple[str, ...], **given: Any) -> None:
    """What theory says of every layer of every pairing, by each law; no sampling.

    A row per initializer, activation, law and layer. `initbench list columns` says what each column is.
    """
    from initbench.api import predict

    output.echo(predict(laws=laws, **given), form, pager=True)
