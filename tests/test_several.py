"""Activations side by side do what each does alone."""

from __future__ import annotations

import numpy as np
import pytest

from initbench.activations import ACTIVATIONS, Activation
from initbench.core.records import InputMoments, Network
from initbench.initializers import INITIALIZERS
from initbench.theory import expectation
from initbench.theory.laws import LAWS, predict, predicted
from initbench.theory.moments import kernels
from initbench.theory.response import Averages, Local
from initbench.theory.several import Several

NAMES = ("silu", "relu6", "tanh", "relu6", "softsign")
EACH = tuple(ACTIVATIONS.make(name) for name in NAMES)
Q = np.array([0.3, 2e4, 1.0, 2.0, 5e-3])


def test_each_row_goes_through_its_own():
    together, z = Several.of(EACH), np.linspace(-7, 7, 5 * 2 * 9).reshape(5, 2, 9)
    value, slope = together.both(z)
    for row, activation in enumerate(EACH):
        np.testing.assert_array_equal(value[row], activation.value(z[row]))
        np.testing.assert_array_equal(together.value(z)[row], activation.value(z[row]))
        np.testing.assert_array_equal(slope[row], activation.slope(z[row]))
        assert tuple(kink for kink in together.kinks[row] if np.isfinite(kink)) == activation.kinks


def test_a_constant_function_beside_others_has_slope_0():
    flat = Activation(lambda z: z.new_ones(z.shape))
    value, slope = Several.of([flat, EACH[0]]).both(np.full((2, 3), 0.7))
    assert (value[0] == 1).all()
    assert (slope[0] == 0).all()
    np.testing.assert_array_equal(slope[1], EACH[0].slope(np.full(3, 0.7)))


@pytest.mark.parametrize("cosine", [-0.9, 0.0, 0.5, 0.97, 1.0])
def test_kernels_are_the_two_dimensional_integrals_of_each(cosine):
    found = kernels(Several.of(EACH), Q, np.full(5, cosine))
    alone = [float(expectation.kernel(phi.value, q, cosine, phi.kinks)) for phi, q in zip(EACH, Q, strict=True)]
    square = [float(expectation.kernel(phi.value, q, 1.0, phi.kinks)) for phi, q in zip(EACH, Q, strict=True)]
    assert (np.abs(found - alone) <= 1e-8 * np.array(square)).all()


def test_local_averages_are_those_of_each():
    together = Local(Averages(Several.of(EACH)), Q)
    for row, (phi, q) in enumerate(zip(EACH, Q, strict=True)):
        alone = Local(phi, np.array(q))
        np.testing.assert_allclose(together.mean[row], alone.mean, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(together.alignment[0][row], alone.alignment[0], rtol=1e-12)


def test_pairings_together_are_as_each_alone():
    """Of many activations, loud and quiet, with random weights and without."""
    network, inputs = Network((30, 20, 25, 25), 0.1), InputMoments((0.5, 2.0), 0.3)
    pairings = [
        (phi, INITIALIZERS.make(init).promises(phi, network))
        for init in ("he_normal", "normal", "orthogonal", "he_uniform")
        for phi in (*EACH, ACTIVATIONS.make("relu"))
    ]
    laws = [LAWS.make(name) for name in LAWS.defaults]
    found = predicted(laws, pairings, inputs)
    for place, (phi, promises) in enumerate(pairings):
        for number, law in enumerate(laws):
            together = {name: values[place, number] for name, values in found.items()}
            rows = predict(law, phi, promises, inputs)
            for name in set(together) - {"note", "a_mean"}:
                alone = np.array([row[name] for row in rows], float)
                np.testing.assert_allclose(together[name], alone, rtol=1e-9, err_msg=f"{law.spec} {name}")
            assert together["note"].tolist() == [row["note"] for row in rows]
