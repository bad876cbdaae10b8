"""What the tables of a results folder hold: they may come from anyone, and are checked before use.

A table of a name that is not known here is taken as it is; columns beside those that are asked for may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from initbench.core.errors import WorkError

Columns = tuple[str, ...]
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
_PAIRING = ("init", "activation")
_MOMENTS = ("z_second_moment", "a_second_moment", "grad_z_second_moment")
_PLANE = ("component_1", "component_2", "train_loss")


@dataclass(frozen=True)
class Asked:
    """The columns that a table has in every version, by what they hold."""

    names: Columns = ()
    """A word in each row."""
    counts: Columns = ()
    """A whole number in each row."""
    numbers: Columns = ()
    """Numbers, or true and false; missing where there is none."""
    words: Columns = ()
    """Words; missing where there is none."""
    more: Columns = ()
    """Columns of numbers that need not be there."""
    key: Columns = ()
    """Together they tell one row from another."""
    may_be_empty: bool = False
    amiss: Callable[[pd.DataFrame], str] = lambda _: ""
    """What else may be amiss in a whole one, in words."""


def _of_runs(table: pd.DataFrame) -> str:
    return _unsaid(table, table.columns[: table.columns.get_loc("status")], "a level")


def _of_histograms(table: pd.DataFrame) -> str:
    return _unsaid(table, ("low", "high", "density"), "a number")


def _unsaid(table: pd.DataFrame, columns: Iterable[str], what: str) -> str:
    """A complaint of the first of `columns` that is missing somewhere."""
    lacking = next((name for name in columns if table[name].isna().any()), None)
    return f"the column '{lacking}' should hold {what} in each row" if lacking else ""


def _of_verdicts(table: pd.DataFrame) -> str:
    from initbench.analysis.growth import DIRECTIONS  # here: most tables are not verdicts, and these load scipy
    from initbench.analysis.verdicts import WORDS

    if set(table["word"]) - {entry.name for entry in WORDS}:
        return f"the column 'word' should hold {', '.join(entry.name for entry in WORDS)}"
    if any(set(told) != set(DIRECTIONS) for _, told in table.groupby([*_PAIRING])["direction"]):
        return f"a pairing should have a row {' and one '.join(DIRECTIONS)}"
    return ""


_OF_ANY = {
    "runs": Asked(("cell_id", "training_id", "study", "name", *_PAIRING, "status"), ("seed", "depth"),
                  ("lr", *METRICS), ("note",), ("seconds", "record_every", "diverged_at"), ("cell_id",),
                  amiss=_of_runs),
    "layer_curves": Asked(("cell_id",), ("step", "layer"), key=("cell_id", "step", "layer"), may_be_empty=True),
    "layers": Asked(_PAIRING, ("seed", "layer", "fan_in", "fan_out"),
                    ("weight_variance", *_MOMENTS, "z_variance_units", "saturated_fraction", "dead_fraction"),
                    key=(*_PAIRING, "seed", "layer")),
    "predictions": Asked((*_PAIRING, "law"), ("layer", "fan_in", "fan_out"), ("weight_variance", "chi", *_MOMENTS),
                         ("note",), key=(*_PAIRING, "law", "layer")),
    "residuals": Asked(_PAIRING, ("seed", "layer"),
                       tuple(f"{of}_{what}" for of in ("z", "grad") for what in ("residual", "residual_error", "bias")),
                       key=(*_PAIRING, "seed", "layer"), may_be_empty=True),
    "verdicts": Asked((*_PAIRING, "direction", "word"), ("seeds",),
                      ("measured_growth", "measured_growth_se", "predicted_growth"), ("cause",),
                      ("p_value", "starts_at"), (*_PAIRING, "direction"), amiss=_of_verdicts),
    "histograms": Asked((*_PAIRING, "quantity"), ("layer",), ("low", "high", "density"), may_be_empty=True,
                        amiss=_of_histograms),
    "jacobians": Asked((*_PAIRING, "scope"), ("layer",),
                       ("seed", "squared_singular_value", "predicted_squared_singular_value"),
                       more=("singular_max",), key=(*_PAIRING, "seed", "scope", "layer")),
    "phases": Asked(("activation", "init", "phase"), ("seed",), ("weight_variance", "bias_variance", "xi_c", "xi_q"),
                    key=("activation", "weight_variance", "bias_variance")),
    "alarms": Asked(("case",), ("repetition", "width", "batch"), ("honest", "alarm")),
    "landscapes": Asked((), ("seed",), _PLANE),
}  # fmt: skip
_OF_KIND = {
    ("train", "curves"): Asked(("cell_id",), ("step",), METRICS[:1], more=METRICS[1:4], key=("cell_id", "step"),
                               may_be_empty=True),
    ("curve", "curves"): Asked(_PAIRING, ("step", "depth", "seed"), ("train_loss", "lr")),
    ("landscape", "curves"): Asked(("status",), ("step", "seed"), (*_PLANE, "detour", "explained")),
}  # fmt: skip


def checked(path: Path, kind: str, table: pd.DataFrame, whole: bool = True) -> pd.DataFrame:
    """The `table` at `path` of a study of this `kind`; one without rows with all of its columns.

    Unless it is to be `whole`, it may lack columns but those that tell rows apart: it is carried elsewhere. Raises
    `WorkError` with the file's name, the column, and what is amiss in it.
    """
    name = path.stem
    asked = _OF_KIND.get((kind, name), _OF_ANY.get(name, Asked(may_be_empty=True)))
    if not table.columns.is_unique:
        raise WorkError(f"{path} is not one of ours: two of its columns have one name")
    if len(table) == 0 and asked.may_be_empty:
        columns = (*asked.names, *asked.counts, *asked.numbers, *asked.words)
        return table.reindex(columns=list(dict.fromkeys([*table, *columns])))
    empty = [name for name in (*asked.numbers, *asked.more) if name in table and table[name].isna().all()]
    unknown = [name for name in empty if not pd.api.types.is_numeric_dtype(table[name])]
    table = table.astype(dict.fromkeys(unknown, float))  # where every run failed, a column is of no kind at all
    for complaint in _complaints(table, asked, whole):
        raise WorkError(f"{path} is not one of ours: {complaint}")
    return table


def _complaints(table: pd.DataFrame, asked: Asked, whole: bool) -> Iterator[str]:
    if len(table) == 0:
        yield "it has no rows"
    for columns, what, fits in (
        (asked.names, "a word in each row", lambda values: _are_words(values) and values.notna().all()),
        (asked.counts, "a whole number in each row", _are_counts),
        (asked.numbers, "numbers", _are_numbers),
        (asked.words, "words", _are_words),
        ([name for name in asked.more if name in table], "numbers", _are_numbers),
        (table.columns, "words or numbers", lambda values: _are_words(values) or _are_numbers(values)),
    ):
        for name in columns:
            if name not in table and not whole and name not in asked.key:
                continue
            if name not in table:
                yield f"it lacks the column '{name}'"
            if not fits(table[name]):
                yield f"the column '{name}' should hold {what}"
    if asked.key and table.duplicated(list(asked.key)).any():
        yield f"two rows of it are of one {', '.join(asked.key)}"
    if whole and (amiss := asked.amiss(table)):
        yield amiss


def _are_words(values: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(values) or bool(values.isna().all())


def _are_counts(values: pd.Series) -> bool:
    return pd.api.types.is_integer_dtype(values) and bool(values.notna().all())


def _are_numbers(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values)
