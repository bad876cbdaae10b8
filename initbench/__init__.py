"""initbench: what weight initialization does to deep networks, predicted and measured.

import initbench as ib
ib.predict(init="he_normal", activation="relu", depth=20, width=512)       # theory, a DataFrame
ib.propagate(init=["he_normal", "xavier"], activation="relu", seeds=10)    # what networks do, a DataFrame
ib.audit(activation="tanh")                                                # what variance conventions really give
ib.jacobian(init="orthogonal", activation="tanh", width=128, spectrum=True)    # singular values, kernels
ib.phase("tanh")                                                           # ordered, chaotic or critical
ib.slopes(widths_sweep=[64, 128, 256], init="he_normal", activation="relu")    # powers of width, growth with depth
study = ib.Study(compare={"init": ["he", "xavier"], "depth": [2, 10]}, fix={"lr": 0.05}, seeds=3)
ib.run(study, out="results/mine").runs                                     # trains what is missing, a DataFrame
ib.load("results/variance").verdicts                                       # a finished study's tables
ib.compare("results/mine", by="init", baseline="xavier")                   # paired differences, tests, equivalence
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initbench.analysis.results import Results, load
    from initbench.api import audit, jacobian, phase, predict, propagate, run, slopes
    from initbench.comparing import compare
    from initbench.grid.study import Study

__all__ = ["Results", "Study", "audit", "compare", "jacobian", "load", "phase", "predict", "propagate", "run", "slopes"]

_HOME = {
    **dict.fromkeys(("audit", "jacobian", "phase", "predict", "propagate", "run", "slopes"), "initbench.api"),
    "Study": "initbench.grid.study",
    "compare": "initbench.comparing",
    "load": "initbench.analysis.results",
    "Results": "initbench.analysis.results",
}


def __getattr__(name: str) -> Any:
    """Each name comes from its room when it is first asked for: results are read where no torch is installed."""
    if name not in _HOME:
        raise AttributeError(f"module 'initbench' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
