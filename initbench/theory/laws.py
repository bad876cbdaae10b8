"""The laws: what each theory of initialization predicts, layer by layer, forward and backward.

The laws of infinite width are one recursion (`theory.infinite_width`) and differ only in what they put for phi:
`linear` the identity, `rectifier` a rectifier, `first_order` phi's expansion at 0, `mean_field` phi itself.
`finite_width` adds to mean field what a finite number of units changes, and the spread of one network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from initbench.activations import Activation
from initbench.activations.closed_forms import PiecewiseLinear
from initbench.core.catalogue import Catalogue
from initbench.core.records import InputMoments, Promise
from initbench.core.threads import one_thread
from initbench.theory import deterministic, finite_width, infinite_width, rows
from initbench.theory.infinite_width import Stand
from initbench.theory.moments import GaussianMoments, linearized
from initbench.theory.networks import PROMISED, Networks
from initbench.theory.rows import Columns, Notes, Row, Table

ADAPTED = "weights that adapt to data take out again what their draws add to each layer: no random walk"

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
        seen = InputMoments(inputs.second_moment, inputs.cosine)  # all that infinite width sees
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
               source="Poole et al. 2016, eq. 3; Schoenholz et al. 2017, eq. 5", default=True)  # fmt: skip
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
    (columns,) = tables([law], [(activation, promises)], inputs)[0]
    lists = (column.tolist() for column in columns.values())
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


@one_thread()
def tables(
    laws: Sequence[Law], several: Sequence[tuple[Activation, Sequence[Promise]]], inputs: InputMoments
) -> list[list[Table]]:
    """The same as columns, for each of several pairings and then for each law; what is equal is predicted once."""
    random = [all(promise.random for promise in promises) for _, promises in several]
    found: list[list[Table]] = [[] for _ in several]
    fixed = [place for place, drawn in enumerate(random) if not drawn]
    if fixed:
        pairings = [several[place] for place in fixed]
        said = {exact: (deterministic.tables if exact else deterministic.unknown)(pairings, inputs)
                for exact in {law.exact for law in laws}}  # fmt: skip
        for number, place in enumerate(fixed):
            found[place] = [said[law.exact][number] for law in laws]
    places = [place for place, drawn in enumerate(random) if drawn]
    if places:
        networks, which = Networks.of([several[place] for place in places]).distinct(*PROMISED)
        promised = [several[place][1] for place in places]
        for law in laws:
            columns, notes = law.random(networks, inputs)
            own = {name: column[:, which] for name, column in columns.items()}
            by_network = rows.tables(promised, own, None if notes is None else notes[:, which])
            for place, table in zip(places, by_network, strict=True):
                found[place].append(_within_reach(law, several[place][1], table))
    return found


def _within_reach(law: Law, promises: Sequence[Promise], table: Table) -> Table:
    """What the law says, unless it is about what adaptation takes out."""
    if law.fluctuates and any(promise.adapted for promise in promises):
        return rows.table(promises, {}, [ADAPTED] * len(promises))
    return table
