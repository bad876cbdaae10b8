"""Where in a module a call is: in which part it runs, and whose parameters it uses."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from initbench.engine.probe.functions import Form


class Names:
    """The parts of a module and their parameters."""

    def __init__(self, module: nn.Module) -> None:
        self._whole = type(module).__name__
        self._owners: dict[int, list[tuple[str, nn.Module, str]]] = {}
        for prefix, part in module.named_modules():
            for full, parameter in part.named_parameters(prefix, recurse=False):
                self._owners.setdefault(id(parameter), []).append((prefix, part, full))

    @property
    def parameters(self) -> frozenset[int]:
        """The ids of all."""
        return frozenset(self._owners)

    def all_of(self, parameter: Tensor) -> list[str]:
        """Every name of a parameter: a shared one has several; none of what is no parameter."""
        return [full for *_, full in self._owners.get(id(parameter), ())]

    def place(self, form: Form, weights: Sequence[Tensor], here: str, module: nn.Module) -> tuple[str, str, list[str]]:
        """The name and kind of a call that runs in the part `module`, called `here`, and its weights' names.

        The name is that of the part that owns the first weight: this one, if it is among the owners.
        """
        owners = [owner for weight in weights[:1] for owner in self._owners.get(id(weight), ())]
        prefix, owner, _ = next((each for each in owners if each[1] is module), (*owners, (here, module, ""))[0])
        own_call = owner is module and (bool(owners) or form.role == "normalization")
        kind = type(owner).__name__ if own_call or not form.kind else form.kind
        return prefix or self._whole, kind, [self._name(weight, prefix) for weight in weights if self.all_of(weight)]

    def _name(self, weight: Tensor, prefix: str) -> str:
        """The name of a parameter in the part `prefix`, if it has one there."""
        return next((full for part, _, full in self._owners[id(weight)] if part == prefix), self.all_of(weight)[0])
