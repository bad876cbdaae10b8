"""A small results folder to try things on."""

import pandas as pd

from initbench.grid.store import Store

STUDY = {"kind": "variance", "init": ["he"], "seeds": 2}
RESTS_ON = {"versions": {"initbench": "1"}}
ONE, TWO = pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})


def opened(folder, study=STUDY, rests_on=RESTS_ON, tables=("layers",), **options):
    return Store(folder, study, rests_on, tables, **options)


def finished(store, parts=("seed0",)):
    """Finish with the parts' own rows."""
    store.require(parts)
    store.finish({"layers": store.read_parts("layers")}, {"device": "CPU"})


def layers(folder):
    """The column `x` of the finished table: it is none that readers of results would take for layers."""
    return pd.read_parquet(folder / "layers.parquet").x
