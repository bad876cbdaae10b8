"""The initialization that a probe suggests, as Python code to paste: it needs torch alone."""

from __future__ import annotations

import pandas as pd

from initbench.analysis.diagnosis import sums_explode

HEAD = '''\
import torch
from torch import nn

# weight -> its variance: that which keeps the signal, by the activation that follows, over the inputs of a unit
VARIANCES = {
%s
}


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


def variances(layers: pd.DataFrame) -> dict[str, tuple[float, float, int]]:
    """Weight -> (gain, products that an output sums, branches): its variance is gain / products / branches.

    Where residual branches make the signal explode, the last layer of each is scaled down by their number, so that all
    together add at most a factor e (Radford et al. 2019, section 2.3).
    """
    told = layers[layers.kept_variance.notna() & layers.parameters.ne("")].drop_duplicates("parameters")
    branches, last = sums_explode(layers), set(layers.branch) - {""}
    return {row["parameters"]: (row["kept_variance"] * row["terms"], row["terms"],
                                branches if row["parameters"] in last else 1)
            for row in told.to_dict("records")}  # fmt: skip


def code(layers: pd.DataFrame) -> str:
    """A function ``initialize(model)`` for the module that was probed."""
    lines = []
    for name, (gain, terms, branches) in variances(layers).items():
        divided = f" / {branches}" if branches > 1 else ""
        lines.append(f'    "{name}": {gain:.6g} / {terms:g}{divided},')
    return HEAD % "\n".join(lines)
