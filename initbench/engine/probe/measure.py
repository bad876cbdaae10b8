"""A module's rows: forward and backward on a copy of it, again in float64 where float32 could not hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from initbench.activations import Activation
from initbench.core.errors import WorkError, require
from initbench.core.plugins import told
from initbench.core.randomness import key_to_seed
from initbench.engine.probe.copies import by_default, call, duplicate, in_precision, own_batch, untouched
from initbench.engine.probe.functions import OVER_TIME
from initbench.engine.probe.marks import Row
from initbench.engine.probe.nested import first_floating
from initbench.engine.probe.tracer import NO_GRADIENT, Tracer
from initbench.engine.stack import draw_projection

HELD = (1e-30, 1e30)
"""Second moments that float32 surely holds; beyond them, and for a 0, the module runs again in float64."""
SIGNALS = ("z_second_moment", "grad_z_second_moment", "grad_w_second_moment")

OF_SIGNAL = ("x_", "z_", "a_", "predicted_", "cosine", "saturated_", "dead_", "branch_")
"""How columns begin whose numbers rest on the signal that arrives."""

Prepare = Callable[[nn.Module, int], Sequence[str]]
"""Initializes a copy for a seed; what it returns is worth telling."""


@dataclass
class Measured:
    """One pass, forward and backward."""

    rows: list[Row]
    activations: dict[str, Activation]
    notes: list[str] = field(default_factory=list)


def measure(module: nn.Module, batch: Any, seed: int, train: bool | None, prepare: Prepare) -> Measured:
    """The rows of `module` on `batch`, initialized by `prepare`: what it is itself stays as it is, bit for bit.

    The loss is the sum over the batch of a fixed random projection of the first output of real numbers. Dropout and
    initialization draw from `seed`. Raises `WorkError` where the module cannot run, or cannot be copied.
    """
    measured = _measured(module, batch, seed, train, prepare, double=False)
    if _held(measured.rows):
        return measured
    try:
        finer = _measured(module, batch, seed, train, prepare, double=True)
    except WorkError:
        measured.notes.append("some numbers are beyond float32, and the module does not run in float64")
        return measured
    if any(math.isnan(row.known.get(name, 0.0)) for row in finer.rows for name in SIGNALS):
        finer.notes.append("what is missing is beyond float64's range, or no number")
    return finer


def trace(module: nn.Module, batch: Any, seed: int, train: bool | None) -> Measured:
    """What layers and activations there are, without their numbers."""
    with untouched(module, key_to_seed(seed, "probe", "forward")):
        twin = in_precision(duplicate(module, train), double=False)
        tracer, mine = Tracer(twin, set(), measuring=False), own_batch(batch, double=False)
        with tracer.listening(mine):
            call(twin, mine)
    return Measured(tracer.rows, tracer.activations)


def _measured(module: nn.Module, batch: Any, seed: int, train: bool | None, prepare: Prepare, double: bool) -> Measured:
    with untouched(module, key_to_seed(seed, "probe", "initialize")):
        twin = duplicate(module, train)
        notes = [*prepare(twin, seed)]
    with untouched(module, key_to_seed(seed, "probe", "forward")):
        frozen = {name for name, each in module.named_parameters(remove_duplicate=False) if not each.requires_grad}
        in_precision(twin, double)
        tracer, mine = Tracer(twin, frozen, double=double), own_batch(batch, double)
        with by_default(double), tracer.listening(mine):
            returned = call(twin, mine)
        output = first_floating(returned)
        tracer.finish(returned)
        notes += _backward(output, seed, tracer.rows)
    if not tracer.rows:
        raise WorkError("no layer was seen: none of torch's functions was called with weights of its own")
    for row in tracer.rows:
        _complete(row)
    notes += _over_time(tracer.rows)
    _lose(tracer.rows)
    return Measured(tracer.rows, tracer.activations, notes)


def _backward(output: Tensor | None, seed: int, rows: Sequence[Row]) -> list[str]:
    """Send the projection back; what stands in the way is told, and what came before it is not the gradient."""
    if output is None or not output.requires_grad:
        return ["no output has a gradient: only the way forward is measured"]
    require(output.numel() > 0, "the batch is empty")
    by_input = output.shape[0] if output.dim() else 1
    projection = draw_projection(by_input, output.numel() // by_input, seed).reshape(output.shape)
    try:
        output.backward(projection.to(output))
    except Exception as error:
        for row in rows:
            row.known = {name: value for name, value in row.known.items() if not name.startswith("grad_")}
            row.squared_grads.clear()
        return [f"the way back failed, only the way forward is measured: {told(error)}"]
    return []


def _over_time(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(row.known["module"] for row in rows if row.form.kind in OVER_TIME)
    return [f"all steps of {name} are one call: what its signal loses from step to step is not seen" for name in names]


def _complete(row: Row) -> None:
    """The columns that the way back gives."""
    known = row.known
    if row.squared_grads:
        known["grad_w_second_moment"] = sum(row.squared_grads) / known["weights"]
        weights = known["weight_second_moment"]
        known["update_ratio"] = math.sqrt(known["grad_w_second_moment"] / weights) if weights > 0 else math.nan
    if "grad_z_second_moment" not in known and NO_GRADIENT not in row.notes:
        row.notes.append("no gradient arrives here")


def _lose(rows: Sequence[Row]) -> None:
    """What comes after a number out of range, on a signal's way, is that number's end: no 0, and it tells nothing."""
    lost = False
    for row in rows:
        lost = lost or math.isnan(row.known.get("z_second_moment", 1.0))
        if lost and row.known.get("z_second_moment") == 0:
            row.known |= {name: math.nan for name in row.known if name.startswith(OF_SIGNAL)}
    for column in ("grad_z_second_moment", "grad_a_second_moment", "grad_w_second_moment"):
        gone = lost  # what did not arrive is not sent back
        for row in reversed(rows):
            gone = gone or math.isnan(row.known.get(column, 1.0))
            if gone and row.known.get(column) == 0:
                row.known |= {column: math.nan} | ({"update_ratio": math.nan} if "update_ratio" in row.known else {})


def _held(rows: Sequence[Row]) -> bool:
    """Whether float32 held all of them.

    A 0 is true up to the last layer whose weights are all 0, and of what meets zeros alone, as a first state's weights.
    """
    empty = [number for number, row in enumerate(rows) if row.known.get("weight_second_moment") == 0]
    upto = max(empty, default=-1)
    silent = [number <= upto or row.known.get("x_second_moment") == 0 for number, row in enumerate(rows)]
    values = [(number, row.known[name]) for number, row in enumerate(rows) for name in SIGNALS if name in row.known]
    return all(HELD[0] < value < HELD[1] or (value == 0 and silent[number]) for number, value in values)
