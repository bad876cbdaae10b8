"""The laws: what each theory of initialization predicts, layer by layer, forward and backward.

The laws of infinite width are one recursion (`theory.infinite_width`) and differ only in what they put for phi:
`linear` the identity, `rectifier` a rectifier, `first_order` phi's expansion at 0, `mean_field` phi itself.
`finite_width` adds to mean field what a finite number of units changes, and the spread of one network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from initbench.activations import Activation
from initbench.activations.closed_forms import PiecewiseLinear
from initbench.core.catalogue import Catalogue
from initbench.core.records import InputMoments, Promise
from initbench.core.threads import one_thread
from initbench.theory import deterministic, finite_width, infinite_width, rows
from initbench.theory.infinite_width import Stand
from initbench.theory.moments import GaussianMoments, linearized
from initbench.theory.networks import PROMISED, Networks, told_apart
from initbench.theory.rows import Columns, Notes, Row, Table

ADAPTED = "weights that adapt to data take out again what their draws add to each layer: no random walk"

Pairing = tuple[Activation, Sequence[Promise]]
Random = Callable[[Networks, InputMoments], tuple[Columns, Notes | None]]


@dataclass(frozen=True)
class Law:
    """One theory."""

    random: Random
    """Its columns, and notes if it has any, for weights that are random with mean 0."""
    exact: bool = False
    """Whether it knows phi itself, so that weights without randomness can be followed exactly."""
    fluctuates: bool = False
    """Whether it follows what one network's draws add to the scales of its layers: adaptation takes that out again."""
    spec: str = ""


def _infinite_width(stand_in: Callable[[Activation], Stand]) -> Random:
    def columns(networks: Networks, inputs: InputMoments) -> tuple[Columns, None]:
        seen = InputMoments(inputs.second_moment, inputs.cosine, cosines=inputs.cosines)  # all that infinite width sees
        return infinite_width.moments(stand_in, networks, seen), None

    return columns


LAWS: Catalogue[Law] = Catalogue("law")


@LAWS.register("linear", summary="Every activation is the identity: E[z²] goes as the product of n·Var(w).",
               formula="q_l = n·Var(w) q_(l-1)", source="Glorot & Bengio 2010, eqs. 5 and 6", default=True)  # fmt: skip
def linear() -> Law:
    return Law(_infinite_width(lambda _: PiecewiseLinear(1, 1)))


@LAWS.register("rectifier", summary="Every activation is a rectifier: half of E[z²] passes.",
               formula="q_l = n·Var(w) q_(l-1) (slope² + 1)/2, slope = 0 unless the activation is linear below 0",
               source="He et al. 2015, eqs. 9, 14 and 15", default=True)  # fmt: skip
def rectifier() -> Law:
    def stand_in(activation: Activation) -> PiecewiseLinear:
        form = activation.closed_form
        return form if isinstance(form, PiecewiseLinear) else PiecewiseLinear(0, 1)

    return Law(_infinite_width(stand_in))


@LAWS.register("first_order", summary="The activation is its expansion at 0 (with a kink there, its two slopes).",
               formula="phi(z) = phi(0) + phi'(0) z", source="Kumar 2017 (arXiv:1704.08863)", default=True)  # fmt: skip
def first_order() -> Law:
    return Law(_infinite_width(linearized))


@LAWS.register("mean_field", summary="The activation itself, pre-activations Gaussian: exact at infinite width.",
               formula="q_l = sigma_w² E[phi(z)²] + sigma_b²",
               source="Poole et al. 2016, eq. 3; Schoenholz et al. 2017, eqs. 3 to 5", default=True)  # fmt: skip
def mean_field() -> Law:
    return Law(_infinite_width(GaussianMoments), exact=True)


@LAWS.register("finite_width", summary="Mean field with its 1/n correction, and the spread of one network.",
               formula="Var log E[z_(l+1)²] = H'² Var log E[z_l²] + O(1/n); a rectifier: product of (1 + 5/n_l)",
               source="Hanin & Rolnick 2018; Hanin & Nica 2020; Roberts, Yaida & Hanin 2022, ch. 4",
               default=True)  # fmt: skip
def finite_width_law() -> Law:
    return Law(finite_width.columns, fluctuates=True)


def predict(law: Law, activation: Activation, promises: Sequence[Promise], inputs: InputMoments) -> list[Row]:
    """The columns of `predictions`, one row a layer, for one initializer's `promises`.

    A value beyond float64 is NaN, with a note; so are all values of a law that does not hold for these weights.
    """
    found = predicted([law], [(activation, promises)], inputs)
    columns = {**_places(promises), **{name: values[0, 0] for name, values in found.items()}}
    lists = (column.tolist() for column in columns.values())
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


@one_thread()
def predicted(laws: Sequence[Law], several: Sequence[Pairing], inputs: InputMoments) -> Table:
    """The same for several pairings, `pairings laws layers`; what is equal is predicted once."""
    distinct, which = told_apart([promises for _, promises in several])
    variance = np.array([[promise.variance for promise in promises] for promises in distinct])
    random = np.array([all(promise.random for promise in promises) for promises in distinct])[which]
    shape = len(several), len(laws), variance.shape[1]
    found = {"weight_variance": np.broadcast_to(variance[which, None], shape), **rows.blank(*shape)}
    for say, these in ((_of_drawn, random), (_of_fixed, ~random)):
        places = np.flatnonzero(these).tolist()
        if places:
            for number, table in enumerate(say(laws, [several[place] for place in places], inputs)):
                for name, values in table.items():
                    found[name][places, number] = values
    return found


def _of_drawn(laws: Sequence[Law], several: Sequence[Pairing], inputs: InputMoments) -> Iterator[Table]:
    """What each law says of random weights, `pairings layers`."""
    networks, which = Networks.of(several).distinct(*PROMISED)
    adapted = np.array([any(promise.adapted for promise in promises) for _, promises in several])
    for law in laws:
        table = {name: values.T[which] for name, values in rows.told(*law.random(networks, inputs)).items()}
        if law.fluctuates:  # what it says is about what adaptation takes out
            for name, values in table.items():
                values[adapted] = ADAPTED if name == "note" else np.nan
        yield table


def _of_fixed(laws: Sequence[Law], several: Sequence[Pairing], inputs: InputMoments) -> list[Table]:
    """What each law says of weights without randomness, `pairings layers`."""
    said = {exact: (deterministic.predicted if exact else deterministic.unknown)(several, inputs)
            for exact in {law.exact for law in laws}}  # fmt: skip
    return [said[law.exact] for law in laws]


def _places(promises: Sequence[Promise]) -> Table:
    """Each layer's place in the network."""
    layers = [promise.layer for promise in promises]
    return {name: np.array([getattr(layer, of) for layer in layers])
            for name, of in (("layer", "index"), ("fan_in", "fan_in"), ("fan_out", "fan_out"))}  # fmt: skip
