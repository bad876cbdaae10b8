"""A plain function that returns data as an entry of the catalogue of data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

from initbench.core import plain
from initbench.core.global_generators import lent
from initbench.core.plugins import blamed, defined_at
from initbench.core.randomness import key_to_seed
from initbench.datasets import DATASETS
from initbench.datasets.own import as_data, checked, of_data
from initbench.datasets.record import DataSet

Function = Callable[..., Any]


@overload
def dataset(function: Function, /) -> Function: ...
@overload
def dataset(
    *, name: str = ..., aliases: tuple[str, ...] = ..., formula: str = ..., summary: str = ..., source: str = ...,
) -> Callable[[Function], Function]: ...  # fmt: skip
def dataset(
    function: Function | None = None,
    /,
    *,
    name: str = "",
    aliases: tuple[str, ...] = (),
    formula: str = "",
    summary: str = "",
    source: str = "",
) -> Any:
    """Decorate a function that returns data, or a factory of `DataSet`: it joins the catalogue under its name.

    It returns ``(x_train, y_train, x_test, y_test)``, two torch data sets, or the path of an .npz file or of a folder
    of images (`initbench.datasets.own`). Its parameters are the spec's. It is called once for a spec, with the global
    generators started from its name. Raises `UsageError` for a name that is taken, and, when the data is asked for,
    for what cannot be trained on.
    """
    about = {"aliases": aliases, "formula": formula, "summary": summary, "source": source}

    add = lambda given: plain.register(DATASETS, given, name, _build, DataSet, leading=0, about=about)  # noqa: E731
    return add if function is None else add(function)


def _build(name: str, function: Function, arguments: Mapping[str, Any]) -> DataSet:
    called = f"data set '{name}'"
    with blamed(called, function), lent(key_to_seed(0, "data set", name)):
        given = function(**arguments)
    what = called + defined_at(function)
    return checked(what, given) if isinstance(given, DataSet) else of_data(what, as_data(what, given))
