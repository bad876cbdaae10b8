"""`initbench probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from initbench.cli import coordinate_check, options, output
from initbench.core.errors import UsageError, require
from initbench.core.files import make_folder, require_writable, write_table, write_text

if TYPE_CHECKING:
    import pandas as pd

    from initbench.probing import Probe

TABLE = ["module", "call", "kind", "fan_in", "activation", "weight_variance", "kept_variance", "z_second_moment",
         "predicted_z_second_moment", "branch_to_trunk", "grad_z_second_moment", "update_ratio", "note"]  # fmt: skip
"""What a terminal has room for, means over seeds; csv and json have all columns and seeds."""
FILES = "probe.parquet", "diagnosis.parquet", "initialize.py"
"""What is kept in --out."""


@click.command("probe")
@click.argument("target")
@click.option("--input-shape", type=options.Numbers(), help="Sizes of one input: 3,224,224.  [required]")
@click.option("--batch", type=int, default=8, show_default=True, help="Inputs.")
@click.option("--input-kind", type=click.Choice(["gaussian", "tokens"]), default="gaussian", show_default=True,
              help="i.i.d. N(0, 1), or whole numbers below --vocabulary.")  # fmt: skip
@click.option("--vocabulary", type=int, default=1000, show_default=True, help="How many tokens there are.")
@click.option("--seeds", type=int, default=0, show_default=True,
              help="Initialize anew with seeds 0, 1, ..., by reset_parameters; 0: as it was built.")  # fmt: skip
@click.option("--init", "--apply", "init", type=options.Spec("initializers"), default="",
              help="Initialize by this initializer instead; what is measured is a copy.")  # fmt: skip
@click.option("--filter", "only", multiple=True, metavar="PATTERN",
              help="Only layers of such names, 'features.*'; may be repeated.")  # fmt: skip
@click.option("--train/--eval", "train", default=None, help="The mode. Default: as it was built.")
@click.option("--suggest", is_flag=True, help="Print Python code that initializes it so that the signal is kept.")
@click.option("--check", is_flag=True, help="Exit with 3 unless it is stable, forward and backward.")
@click.option("--out", type=options.Folder(), help="Folder for the table, the diagnosis and the suggestion.")
@coordinate_check.asked
@options.output_format
def probe_command(
    form: str, target: str, input_shape: tuple[int, ...] | None, batch: int, input_kind: str, vocabulary: int,
    seeds: int, init: str, only: tuple[str, ...], train: bool | None, suggest: bool, check: bool, out: Path | None,
    widths: tuple[int, ...] | None, **asked: Any,
) -> None:  # fmt: skip
    """Measure every layer of any network, forward and backward, and say where the signal is lost, and why.

    TARGET is torchvision:NAME, FILE.py:NAME or package.module:NAME, of a torch.nn.Module or of what builds one when it
    is called; the code of the file runs. A row a call of a layer and a sum of two activations, then the diagnosis: the
    layer from which on the signal is out of its band (two decades), the cause, and the variance that would keep it.

    With --widths the coordinate check: networks of these widths are trained for a few steps (from 10 seeds, unless
    --seeds says otherwise), and slopes tell whether outputs, updates and gradients change with the width.
    """
    require(not suggest or form == "table", "--suggest prints code: leave out --format")
    alone = widths is None or not (init or suggest or only or train is not None)
    require(alone, "--widths checks what is built: leave out --init, --suggest, --filter, --train and --eval")
    if out is not None:
        require_writable(out, *(FILES if widths is None else coordinate_check.FILES))  # told before the work
    from torch import nn

    from initbench.engine.probe.targets import builder, draw_batch, load
    from initbench.grid.probe import probe_layers
    from initbench.probing import Probe

    found = load(target) if widths is None else builder(target)  # first: without it no other option has a meaning
    if input_shape is None:
        raise UsageError("Missing option '--input-shape'.")
    given = draw_batch(input_shape, batch, vocabulary if input_kind == "tokens" else None)
    if not isinstance(found, nn.Module):
        counted = {"seeds": seeds} if seeds else {}
        coordinate_check.run(found, given, form, check, out, widths=widths, **counted, **asked)
        return
    with output.progress("seeds") as count:
        layers, notes = probe_layers(found, given, seeds=seeds, init=init, train=train, only=only, progress=count)
    probed = Probe(layers, tuple(notes))
    if suggest:
        click.echo(probed.suggestion, nl=False)
    else:
        output.echo(_short(layers) if form == "table" else layers, form)
    click.echo(str(probed), err=suggest or form != "table")
    if out is not None:
        _write(probed, out)
    if check and not probed.stable:
        raise SystemExit(3)


def _short(layers: pd.DataFrame) -> pd.DataFrame:
    """Without columns that say nothing."""
    from initbench.analysis.diagnosis import over_seeds

    shown = over_seeds(layers)[TABLE]
    silent = [name for name in TABLE[1:] if shown[name].isin(["", 1 if name == "call" else ""]).all()]
    return shown.drop(columns=silent).dropna(axis="columns", how="all")


def _write(probed: Probe, out: Path) -> None:
    layers, diagnosis, code = map(out.joinpath, FILES)
    make_folder(out)
    write_table(layers, probed.layers)
    write_table(diagnosis, probed.diagnosis)
    write_text(code, probed.suggestion)
    click.echo(f"Tables:  {out}/ (probe, diagnosis), and the code that repairs: {code}", err=True)
