"""initbench: what weight initialization does to deep networks, predicted and measured.

import initbench as ib
ib.predict(init="he_normal", activation="relu", depth=20, width=512)       # theory, a DataFrame
ib.propagate(init=["he_normal", "xavier"], activation="relu", seeds=10)    # what networks do, a DataFrame
ib.audit(activation="tanh")                                                # what variance conventions really give
ib.jacobian(init="orthogonal", activation="tanh", width=128, spectrum=True)    # singular values, kernels
ib.probe(module, batch)                                                    # any network: where its signal is lost
ib.coordinates(build, batch, widths=[64, 128, 256])                        # what trains alike at every width
ib.phase("tanh")                                                           # ordered, chaotic or critical
ib.slopes(widths_sweep=[64, 128, 256], init="he_normal", activation="relu")    # powers of width, growth with depth
study = ib.Study(compare={"init": ["he", "xavier"], "depth": [2, 10]}, fix={"lr": 0.05}, seeds=3)
ib.run(study, out="results/mine").runs                                     # trains what is missing, a DataFrame
ib.load("results/variance").verdicts                                       # a finished study's tables
ib.compare("results/mine", by="init", baseline="xavier")                   # paired differences, tests, equivalence
ib.merge(["results/a", "results/b"], out="results/both")                   # several machines' results as one
ib.reproduce("results/mine").holds                                         # made again: bit-equal, or within rounding

@ib.initializer(formula="w ~ N(0, 1.5/fan_in)")                            # of your own, like any other from here on
def mine(tensor):
    return torch.nn.init.normal_(tensor, 0, (1.5 / tensor.shape[1]) ** 0.5)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initbench.activations.plain import activation
    from initbench.analysis.results import Results, load
    from initbench.api import audit, jacobian, phase, predict, propagate, run, slopes
    from initbench.comparing import compare
    from initbench.datasets.plain import dataset
    from initbench.grid.study import Study
    from initbench.initializers.plain import initializer
    from initbench.merging import merge
    from initbench.probing import coordinates, probe
    from initbench.recipe.plain import optimizer
    from initbench.reproducing import Reproduction, reproduce

__all__ = ["Reproduction", "Results", "Study", "activation", "audit", "compare", "coordinates", "dataset",
           "initializer", "jacobian", "load", "merge", "optimizer", "phase", "predict", "probe", "propagate",
           "reproduce", "run", "slopes"]  # fmt: skip

_HOME = {
    **dict.fromkeys(("audit", "jacobian", "phase", "predict", "propagate", "run", "slopes"), "initbench.api"),
    "Study": "initbench.grid.study",
    "compare": "initbench.comparing",
    "load": "initbench.analysis.results",
    "merge": "initbench.merging",
    **dict.fromkeys(("Reproduction", "reproduce"), "initbench.reproducing"),
    **dict.fromkeys(("coordinates", "probe"), "initbench.probing"),
    "Results": "initbench.analysis.results",
    "activation": "initbench.activations.plain",
    "dataset": "initbench.datasets.plain",
    "initializer": "initbench.initializers.plain",
    "optimizer": "initbench.recipe.plain",
}


def __getattr__(name: str) -> Any:
    """Each name comes from its room when it is first asked for: results are read where no torch is installed."""
    if name not in _HOME:
        raise AttributeError(f"module 'initbench' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
