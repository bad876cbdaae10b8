"""The initialization that a probe suggests, as Python code to paste: it needs torch alone."""

from __future__ import annotations

from typing import Any

import pandas as pd

from initbench.analysis.diagnosis import sums_explode

HEAD = '''\
import torch
from torch import nn

# weight -> its variance: that which keeps the signal, by the activation that follows, over the inputs of a unit
VARIANCES = {
%s
}%s


@torch.no_grad()
def initialize(model: nn.Module) -> None:
    """Draw these weights anew, and set the biases beside them to 0."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, variance in VARIANCES.items():
        parameters[name].normal_(std=variance**0.5)
        bias = parameters.get(name.removesuffix("weight") + "bias")
        if bias is not None:
            bias.zero_()
'''

COMPUTED = (
    "its weight is computed from other parameters, and {} would keep the signal; weight_norm takes over what was drawn"
    " before it, orthogonal and spectral_norm have a scale of their own"
)


def variances(layers: pd.DataFrame) -> dict[str, tuple[float, float, int]]:
    """Weight -> (gain, products that an output sums, branches): its variance is gain / products / branches.

    Where residual branches make the signal explode, the last layer of each is scaled down by their number, so that all
    together add at most a factor e (Radford et al. 2019, section 2.3).
    """
    branches, last = sums_explode(layers), set(layers.branch) - {""}
    return {row["parameters"]: (row["kept_variance"] * row["terms"], row["terms"],
                                branches if row["parameters"] in last else 1)
            for row in _told(layers)}  # fmt: skip


def code(layers: pd.DataFrame) -> str:
    """A function ``initialize(model)`` for the module that was probed; comments say what it leaves, and why."""
    but, lines = {row["parameters"]: row["kept_but"] for row in _told(layers)}, []
    for name, (gain, terms, branches) in variances(layers).items():
        divided = f" / {branches}" if branches > 1 else ""
        lines.append(f'    "{name}": {gain:.6g} / {terms:g}{divided},{f"  # {but[name]}" * bool(but[name])}')
    return HEAD % ("\n".join(lines), "".join(f"\n# {line}" for line in _left(layers)))


def _told(layers: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows of the weights that are to be drawn."""
    drawn = layers[layers.kept_variance.notna() & layers.parameters.ne("") & ~_frozen(layers)]
    return [*drawn.drop_duplicates("parameters").to_dict("records")]


def _left(layers: pd.DataFrame) -> list[str]:
    """Which weights stay as they are, and why."""
    stays = layers.role.isin(["weights", "other"]) & layers.fan_in.notna()
    left = layers[stays & (layers.kept_variance.isna() | layers.parameters.eq("") | _frozen(layers))]
    told = []
    for row in left.drop_duplicates(["module", "parameters"]).to_dict("records"):
        why = row["note"] or "theory does not reach"
        if row["kept_variance"] > 0 and not row["parameters"]:
            gain = f"{row['kept_variance'] * row['terms']:.6g} / {row['terms']:g}"
            why = COMPUTED.format(gain)
        told.append(f"left as it is: {row['parameters'] or row['module']}: {why}")
    return told


def _frozen(layers: pd.DataFrame) -> pd.Series:
    return layers.note.str.contains("frozen", na=False)
