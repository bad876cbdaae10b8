"""The adaptive quadrature of networks without randomness, against QUADPACK and kinks found by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import jv
from scipy.stats import norm

from initbench.activations import ACTIVATIONS
from initbench.core.records import InputMoments, Network
from initbench.initializers import INITIALIZERS
from initbench.theory import panels, scalar_maps
from initbench.theory.deterministic import predicted
from initbench.theory.scalar_maps import ScalarMap, passed

WIDTH, DEPTH = 6, 3
FIRST = math.sqrt(WIDTH)  # sum(x) of WIDTH normal numbers is that many times one
SCALES = [0.0, *2.0 ** np.arange(-20, 4)]
SIX = 0.3 * WIDTH  # of constant(0.3)
KNEES = [6 / SIX**power / (0.3 * FIRST) for power in range(DEPTH)]
"""The coordinates at which z_1, z_2 and z_3 of relu6 are 6."""

FUNCTIONS = {
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "sin": (math.sin, math.cos),
    "relu6": (lambda z: min(max(z, 0.0), 6.0), lambda z: float(0 < z < 6)),
}
CASES = {  # factors of the first and of later layers, what gradients grow by from the last layer down
    "ones": (FIRST, WIDTH, (WIDTH**2, WIDTH)),
    "identity(gain=1.5)": (1.5, 1.5, (1.5**2, 1.5**2)),
    "constant(0.3)": (0.3 * FIRST, SIX, (SIX**2, 0.3**2 * WIDTH)),
}


def table_of(*pairings, width=WIDTH, depth=DEPTH):
    network, several = Network((width,) * (depth + 1)), []
    for init, name in pairings:
        activation = ACTIVATIONS.make(name)
        several.append((activation, INITIALIZERS.make(init).promises(activation, network)))
    found = predicted(several, InputMoments())
    return [{name: values[number] for name, values in found.items()} for number in range(len(several))]


def expected(function, cuts):
    """E[f(x)], x ~ N(0, 1), piece by piece."""
    edges = sorted({sign * cut for cut in [*SCALES, *cuts, 12.0] for sign in (-1, 1)})
    pieces = [quad(lambda x: function(x) * norm.pdf(x), *piece, epsabs=1e-16, epsrel=1e-10, limit=200)[0]
              for piece in pairwise(edges)]  # fmt: skip
    return math.fsum(pieces)


def followed(function, first, factor, x):
    z = [first * x]
    while len(z) < DEPTH:
        z.append(factor * function(z[-1]))
    return z


@pytest.mark.parametrize(
    ("init", "name", "cuts"),
    [("ones", "tanh", ()), ("identity(gain=1.5)", "sin", ()), ("constant(0.3)", "relu6", KNEES)],
)
def test_every_column_is_the_integral_that_quadpack_finds(init, name, cuts):
    (table,), (function, slope), (first, factor, grown) = table_of((init, name)), FUNCTIONS[name], CASES[init]
    assert set(table["note"]) == {""}
    for layer in range(DEPTH):

        def at(x, layer=layer):
            return followed(function, first, factor, x)[layer]

        def gradient(x, layer=layer):
            return math.prod(slope(z) for z in followed(function, first, factor, x)[layer:])

        second = expected(lambda x: function(at(x)) ** 2, cuts)
        mean = expected(lambda x: function(at(x)), cuts)
        assert table["z_second_moment"][layer] == pytest.approx(expected(lambda x: at(x) ** 2, cuts), rel=1e-9)
        assert table["a_second_moment"][layer] == pytest.approx(second, rel=1e-9)
        assert table["a_mean"][layer] == pytest.approx(mean, rel=1e-9, abs=1e-11 * math.sqrt(second))
        assert table["a_variance"][layer] == pytest.approx(second - mean**2, rel=1e-8)
        growth = math.prod(grown[layer:])
        gradients = growth * expected(lambda x: gradient(x) ** 2, cuts)
        assert table["grad_z_second_moment"][layer] == pytest.approx(gradients, rel=1e-9)


def test_panels_are_halved_until_a_folded_map_is_resolved():
    """Jacobi and Anger: cos(b sin t) = J_0(b) + 2 sum_k J_2k(b) cos(2kt), and E[cos(s x)] = exp(-s²/2)."""
    width = 12
    (table,) = table_of(("ones", "sin"), width=width)
    cosines = [2 * jv(2 * k, 2 * width) * math.exp(-((2 * k) ** 2) * width / 2) for k in (1, 2)]
    second = (1 - jv(0, 2 * width) - sum(cosines)) / 2  # E[sin²(12 sin(sqrt(12) x))]
    assert table["a_second_moment"][1] == pytest.approx(second, rel=1e-6)
    x, step = np.linspace(-9, 9, 2_000_001, retstep=True)
    third = np.sin(width * np.sin(width * np.sin(math.sqrt(width) * x)))
    assert table["a_second_moment"][2] == pytest.approx(third**2 @ norm.pdf(x) * step, rel=1e-8)
    assert table["note"][2] == ""


def test_what_no_rule_resolves_is_no_number():
    (table,) = table_of(("ones", "sin"), width=48)
    assert math.isnan(table["a_second_moment"][2])
    assert table["note"][2].startswith("too steep or too often folded to integrate")


def test_kinks_are_found_where_arithmetic_puts_them():
    """relu6, constant(0.3): z_l = 6 at x = 6 / (1.8^(l-1) 0.3 sqrt(6)), and z_l = 0 at 0."""
    maps = [
        ScalarMap(ACTIVATIONS.make(name), 1.0, (0.3 * FIRST, SIX, SIX), (1.0, 1.0, 1.0)) for name in ("tanh", "relu6")
    ]
    network, kinks = passed(maps, np.linspace(-12, 12, 100))
    assert set(network) == {1}
    found = np.unique(kinks.round(12) + 0.0)
    np.testing.assert_allclose(found, [0.0, *sorted(KNEES)], rtol=1e-12, atol=1e-12)


def test_networks_of_several_activations_have_the_kinks_that_each_has_alone():
    x = np.linspace(-12, 12, 200)
    maps = [ScalarMap(ACTIVATIONS.make(name), 1.5, (2.0, 3.0, 3.0, 3.0), (1.0,) * 4)
            for name in ("hardtanh", "sin", "relu", "hardswish", "hardtanh")]  # fmt: skip
    network, together = passed(maps, x)
    for number, one in enumerate(maps):
        _, alone = passed([one], x)
        np.testing.assert_array_equal(np.sort(together[network == number]), np.sort(alone))


@pytest.mark.parametrize(("factors", "distinct"), [((2.0, 1.0, 1.0, 1.0), 2), ((2.0, 1.0, 3.0, 1.0), 3), ((2.0,), 1)])
def test_layers_that_stand_still_are_followed_once(factors, distinct):
    """relu: z_1 = 2x, z_2 = relu(2x), and from there on only a factor other than 1 changes anything."""
    x = np.array([-1.0, 0.5, 3.0])
    one = ScalarMap(ACTIVATIONS.make("relu"), 1.0, factors, (1.0,) * len(factors))
    (path,) = scalar_maps.followed([one], [x])
    assert len(path.z) == len(path.value) == distinct
    truth = [2 * x]
    for factor in factors[1:]:
        truth.append(factor * np.maximum(truth[-1], 0))
    np.testing.assert_array_equal(path.z[path.which], truth)
    np.testing.assert_array_equal(path.value[path.which], np.maximum(truth, 0))


def test_networks_that_are_followed_together_go_each_its_own_way():
    """One stands still from the second layer on, the other goes on; each from nodes of its own."""
    still, moving = (ScalarMap(ACTIVATIONS.make("relu"), 1.0, (1.0, factor, factor), (1.0,) * 3) for factor in (1, 3))
    each = np.array([-1.0, 0.5]), np.array([2.0, 1.0, 4.0])
    together = scalar_maps.followed([still, moving], each)
    for one, x, path in zip((still, moving), each, together, strict=True):
        (alone,) = scalar_maps.followed([one], [x])
        for name in ("z", "value", "which"):
            np.testing.assert_array_equal(getattr(path, name), getattr(alone, name))
    assert [len(path.z) for path in together] == [2, 3]


def test_many_nodes_are_followed_in_parts(monkeypatch):
    pairings = [("ones", "hardtanh"), ("constant(0.3)", "hardtanh"), ("identity", "sin")]
    whole = table_of(*pairings, depth=5)
    monkeypatch.setattr(panels, "TOGETHER", 500)
    for one, other in zip(whole, table_of(*pairings, depth=5), strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(other[name], values)


def test_a_network_is_the_same_beside_others():
    pairings = [("ones", "hardtanh"), ("constant(1.0)", "hardtanh"), ("identity", "sin"), ("constant(0.3)", "relu6")]
    together = table_of(*pairings, depth=5)
    for pairing, table in zip(pairings, together, strict=True):
        (alone,) = table_of(pairing, depth=5)
        for name, values in alone.items():
            np.testing.assert_array_equal(table[name], values)
    for name, values in together[0].items():  # ones is constant(1.0)
        np.testing.assert_array_equal(together[1][name], values)


def test_a_repelling_point_is_resolved_or_not_told():
    """Hardswish from identity weights: v = 3 - z goes to (9v - v²)/6 below 3, away from it, and stays above 3.

    Of the gradient nearly all comes from inputs nearer to 3 than 1.5^-46: it was once told without them.
    """
    depth = 50
    (table,) = table_of(("identity", "hardswish"), width=8, depth=depth)
    abscissa, weight = np.polynomial.legendre.leggauss(40)
    ends = np.linspace(math.log(1e-15), math.log(15), 1500)
    half = np.diff(ends)[:, None] / 2
    apart = np.exp(ends[:-1, None] + half * (1 + abscissa))  # 3 - x, evenly in its logarithm
    below = half * weight * apart * norm.pdf(3 - apart)
    v, factors, squares = apart, [], []
    for _ in range(depth):
        squares.append(((3 - v) ** 2 * below).sum() + norm.expect(lambda x: x**2, lb=3))
        factors.append(np.where(v >= 6, 0.0, (9 - 2 * v) / 6) ** 2)
        v = np.where(v >= 6, 3.0, (9 * v - v**2) / 6)
    gradients = [(np.prod(factors[layer:], axis=0) * below).sum() + norm.sf(3) for layer in range(depth)]
    for name, expected in (("z_second_moment", squares), ("grad_z_second_moment", gradients)):
        known = np.isfinite(table[name])
        np.testing.assert_allclose(table[name][known], np.array(expected)[known], rtol=2e-6)
        assert known[-10:].all()
        assert all(note for note in table["note"][~known])
    assert gradients[0] > 1e5


def test_what_no_batch_shows_is_no_number():
    """SiLU from identity weights: nearly every input halves at each layer, those above 5 hardly shrink for dozens."""
    depth = 50
    (table,) = table_of(("identity", "silu"), width=8, depth=depth)
    x, step = np.linspace(-12, 12, 2_000_001, retstep=True)
    z, density = x, norm.pdf(x) * step
    for layer in range(depth):
        square, fourth = (np.sum(z**power * density) for power in (2, 4))
        told, note = table["z_second_moment"][layer], table["note"][layer]
        if fourth > 1.01e6 * square**2:
            assert np.isnan(told)
            assert "decided by inputs rarer than one in a million: z_second_moment" in note
        elif fourth < 0.99e6 * square**2:
            assert told == pytest.approx(square, rel=1e-8)
            assert "million: z_second_moment" not in note
        z = z / (1 + np.exp(-z))
    assert np.isnan(table["z_second_moment"]).sum() in range(10, depth - 10)
