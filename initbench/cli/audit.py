"""`initbench audit`."""

from __future__ import annotations

import click

from initbench.cli import options, output

TABLE = ["convention", "promised_variance", "variance", "variance_low", "variance_high", "ratio", "agrees",
         "growth_forward", "growth_backward", "z_second_moment_20", "note"]  # fmt: skip
"""What a terminal has room for; csv and json have all columns."""


@click.command("audit")
@click.option(
    "--init", multiple=True, type=options.Spec("initializers"), help="Audit this initializer as well; may be repeated."
)
@click.option("--fan-in", type=int, default=512, show_default=True, help="Inputs of the layer.")
@click.option("--fan-out", type=int, default=256, show_default=True, help="Units of the layer.")
@click.option(
    "--activation",
    type=options.Spec("activations"),
    default="relu",
    show_default=True,
    help="For what the variance does at depth 20.",
)
@click.option("--seeds", type=int, default=10, show_default=True, help="Draws, with seeds 0, 1, ...")
@options.output_format  # fmt: skip
def audit_command(form: str, init: tuple[str, ...], fan_in: int, fan_out: int, activation: str, seeds: int) -> None:
    """What variance do the frameworks' conventions really give, and is it what their documentation says?

    A row per convention: the variance promised (csv and json say by whom), the variance drawn over all seeds with its
    99.9 % interval (from the draws' own fourth moment), their ratio, and by the mean-field law what 20 layers of these
    fans make of it: log10 of the growth per layer of E[z²] (forward) and of the gradient's second moment (backward).
    """
    from initbench.grid.audit import audit

    frame = audit(init=init, fan_in=fan_in, fan_out=fan_out, activation=activation, seeds=seeds)
    output.echo(frame[TABLE] if form == "table" else frame, form)
