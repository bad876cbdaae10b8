"""Growth, words and causes, from frames made by hand."""

import numpy as np
import pandas as pd
import pytest

from initbench.analysis.growth import growth, measured, predicted
from initbench.analysis.verdicts import WORDS, summary, verdicts

DEPTH = 11
LAYERS = np.arange(1, DEPTH + 1)


def layers_of(z, grad, seeds=1, **facts):
    """The table `layers` of one pairing; `z` and `grad` are a number a layer, or `seed -> ` such."""
    columns = {
        "init": "he",
        "activation": "relu",
        "fan_out": 100,
        "dead_fraction": 0.0,
        "saturated_fraction": 0.5,
        **facts,
    }
    of = [(z(seed), grad(seed)) if callable(z) else (z, grad) for seed in range(seeds)]
    return pd.concat([
        pd.DataFrame({"seed": seed, "layer": LAYERS, "z_second_moment": forward, "grad_z_second_moment": backward,
                      "z_variance_units": np.asarray(forward) * facts.pop("units", 1.0), **columns})
        for seed, (forward, backward) in enumerate(of)
    ])  # fmt: skip


def predictions_of(z, grad, gain=2.0, chi=1.0, note=""):
    return pd.DataFrame({"init": "he", "activation": "relu", "law": "mean_field", "layer": LAYERS, "fan_in": 100,
                         "weight_variance": gain / 100, "z_second_moment": z, "grad_z_second_moment": grad,
                         "chi": chi, "note": note})  # fmt: skip


def words_of(layers, predictions):
    table = verdicts(layers, predictions).set_index("direction")
    return table.word.to_dict(), table.cause.to_dict()


def test_growth_is_log10_of_the_factor_per_layer_in_the_direction_of_travel():
    halving = 0.5**LAYERS
    assert growth(halving, LAYERS, "forward") == pytest.approx(np.log10(0.5))
    assert growth(halving, LAYERS, "backward") == pytest.approx(np.log10(2.0))


def test_growth_is_taken_where_the_moment_is_known():
    halving = np.where(LAYERS > 6, np.nan, 0.5**LAYERS)
    assert growth(halving, LAYERS, "forward") == pytest.approx(np.log10(0.5))
    assert growth(np.where(LAYERS > 6, 0.0, 0.5**LAYERS), LAYERS, "forward") == pytest.approx(np.log10(0.5))
    for empty in (np.zeros(DEPTH), np.full(DEPTH, np.nan), np.where(LAYERS == 3, 1.0, 0.0)):
        assert np.isnan(growth(empty, LAYERS, "forward"))


def test_measured_growth_is_that_of_the_mean_with_a_jackknife_error():
    factors = np.array([0.5, 1.0, 4.0])
    table = measured(layers_of(lambda s: factors[s] ** LAYERS, lambda _: np.ones(DEPTH), seeds=3), "forward")

    def of_mean(chosen):
        first, last = np.mean(chosen), np.mean(chosen**DEPTH)
        return (np.log10(last) - np.log10(first)) / (DEPTH - 1)

    left_out = [of_mean(np.delete(factors, i)) for i in range(3)]
    assert table.measured_growth[0] == pytest.approx(of_mean(factors))
    assert table.measured_growth_se[0] == pytest.approx(np.sqrt(2 / 3 * np.sum((left_out - np.mean(left_out)) ** 2)))
    assert table.seeds[0] == 3


def test_predicted_growth_is_that_of_one_law():
    frame = predictions_of(2.0**LAYERS, np.ones(DEPTH))
    other = frame.assign(law="linear", z_second_moment=3.0**LAYERS)
    both = pd.concat([frame, other])
    assert predicted(both, "forward").predicted_growth[0] == pytest.approx(np.log10(2))
    assert predicted(both, "forward", law="linear").predicted_growth[0] == pytest.approx(np.log10(3))


ONE = np.ones(DEPTH)
NARROW_END = np.where(LAYERS < DEPTH, 100, 1)


@pytest.mark.parametrize(
    ("z", "grad", "facts", "expected"),
    [
        (ONE, ONE, {}, ("stable", "stable")),
        (1.5**LAYERS, ONE, {}, ("stable", "stable")),  # 10 layers of 0.176: below two decades
        (1.6**LAYERS, ONE, {}, ("exploding", "stable")),
        (0.5**LAYERS, 0.5 ** LAYERS[::-1], {}, ("vanishing", "vanishing")),
        (ONE, 2.0 ** LAYERS[::-1], {}, ("stable", "exploding")),
        (ONE, ONE, {"saturated_fraction": 0.8}, ("saturated", "stable")),
        (ONE, ONE, {"dead_fraction": 0.8}, ("dead", "stable")),
        (0.5**LAYERS, ONE, {"dead_fraction": 0.8}, ("vanishing", "stable")),
        (ONE, ONE, {"dead_fraction": 0.6}, ("stable", "stable")),
        (ONE, ONE, {"dead_fraction": 1.0, "saturated_fraction": 1.0, "fan_out": 8}, ("stable", "stable")),  # 1 in 256
        (ONE, ONE, {"units": 1e-12}, ("symmetric", "symmetric")),
        (ONE, ONE, {"units": 1e-12, "fan_out": NARROW_END}, ("symmetric", "symmetric")),
        (ONE, ONE, {"z_variance_units": NARROW_END - 1.0, "fan_out": NARROW_END}, ("stable", "stable")),
        (ONE, ONE, {"units": 0.0, "fan_out": 1}, ("stable", "stable")),
        (np.zeros(DEPTH), np.zeros(DEPTH), {}, ("dead", "dead")),
        (ONE, np.where(LAYERS < 5, np.nan, 1.0), {}, ("stable", "lost")),
        (np.where(LAYERS > 5, np.nan, 1.0), ONE, {}, ("lost", "stable")),
    ],
)
def test_words(z, grad, facts, expected):
    words, causes = words_of(layers_of(z, grad, **facts), predictions_of(ONE, ONE))
    assert (words["forward"], words["backward"]) == expected
    assert all(causes[direction] != "" or words[direction] == "stable" for direction in words)


@pytest.mark.parametrize(("width", "seeds"), [(8, 3), (8, 10), (16, 1), (64, 10)])
def test_half_a_rectifiers_units_are_off_by_nature_and_no_network_of_he_is_dead_by_chance(width, seeds):
    """Plain networks of He at one input, which is what a batch becomes in deep ones: in each of 25 tables."""
    rng = np.random.default_rng(0)
    for _ in range(25):
        a, z_squares, off = rng.standard_normal((seeds, width, 1)), [], []
        for _ in LAYERS:
            z = rng.normal(0, (2 / width) ** 0.5, (seeds, width, width)) @ a
            a = np.maximum(z, 0)
            z_squares.append((z**2).mean(axis=(1, 2)))
            off.append((z <= 0).mean(axis=(1, 2)))
        table = pd.concat([
            layers_of(second, ONE, dead_fraction=share, saturated_fraction=share, fan_out=width).assign(seed=seed)
            for seed, (second, share) in enumerate(zip(np.transpose(z_squares), np.transpose(off), strict=True))
        ])  # fmt: skip
        words, causes = words_of(table, predictions_of(ONE, ONE))
        assert words["forward"] != "saturated"
        assert "units" not in causes["forward"]


@pytest.mark.parametrize(
    ("predicted_factor", "chi", "word", "cause"),
    [
        (1e20, np.nan, "exploding", "the gradient is above what float64 holds"),
        (1e-20, np.nan, "vanishing", "the gradient is below what float64 holds"),
        (1.0, 1e40, "exploding", "the gradient is above what float64 holds"),
        (np.nan, 1e-40, "vanishing", "the gradient is below what float64 holds"),
        (np.nan, np.nan, "lost", "the gradient is outside what float64 holds"),
    ],
)
def test_a_lost_gradient_goes_the_way_that_theory_says(predicted_factor, chi, word, cause):
    lost = layers_of(ONE, np.full(DEPTH, np.nan))
    words, causes = words_of(lost, predictions_of(ONE, predicted_factor ** LAYERS[::-1], chi=chi))
    assert (words["backward"], causes["backward"]) == (word, cause)


def test_a_lost_seed_is_told():
    one_lost = layers_of(lambda seed: ONE, lambda seed: np.where(5 * seed > LAYERS, np.nan, ONE), seeds=2)
    words, causes = words_of(one_lost, predictions_of(ONE, ONE, chi=0.5))
    assert (words["backward"], words["forward"]) == ("vanishing", "stable")
    assert causes["backward"] == "the gradient is below what float64 holds; 1 of 2 seeds left float64's range"
    assert causes["forward"] == ""


def test_growths_that_are_compared_are_of_the_same_layers():
    bent = np.where(LAYERS < 6, 2.0**LAYERS, 2.0**6)
    measured_to_6 = layers_of(np.where(LAYERS > 6, np.nan, 2.0**LAYERS), ONE)
    law = predictions_of(bent, ONE)
    assert predicted(law, "forward", layers=measured_to_6).predicted_growth[0] == pytest.approx(np.log10(2))
    short = predictions_of(np.where(LAYERS > 4, np.nan, bent), ONE)
    assert np.isnan(predicted(short, "forward", layers=measured_to_6).predicted_growth[0])
    nothing = layers_of(np.full(DEPTH, np.nan), ONE)
    assert predicted(short, "forward", layers=nothing).predicted_growth[0] == pytest.approx(np.log10(2))


def test_the_jackknife_leaves_out_seeds_and_not_layers():
    bent = 2.0 ** np.maximum(LAYERS, 9)
    lost_early = layers_of(lambda seed: ONE, lambda seed: np.where(9 * seed <= LAYERS, bent, np.nan), seeds=2)
    assert measured(lost_early, "backward").measured_growth_se[0] == pytest.approx(0, abs=1e-12)


def test_causes_name_the_number_at_fault():
    _, causes = words_of(layers_of(0.5**LAYERS, 0.5 ** LAYERS[::-1]), predictions_of(ONE, ONE, gain=1.0, chi=0.5))
    assert causes == {
        "forward": "E[z²] ×0.5 a layer; n·Var(w) = 1",
        "backward": "gradient² ×0.5 a layer; chi = 0.5",
    }


def test_of_weights_that_no_law_is_about_no_chi_is_told():
    _, causes = words_of(layers_of(0.5**LAYERS, 0.5 ** LAYERS[::-1]), predictions_of(np.nan, np.nan, chi=np.nan))
    assert causes["backward"] == "gradient² ×0.5 a layer"


def test_a_pairing_without_networks_is_impossible_and_says_why():
    empty = layers_of(ONE, ONE).iloc[:0]
    table = verdicts(empty, predictions_of(np.nan, np.nan, note="there is no critical point"))
    assert list(table.word) == ["impossible"] * 2
    assert list(table.cause) == ["there is no critical point"] * 2
    assert list(table.seeds) == [0, 0]


def test_the_summary_shows_the_more_severe_word():
    table = verdicts(layers_of(0.5**LAYERS, 2.0 ** LAYERS[::-1]), predictions_of(ONE, ONE))
    (row,) = summary(table).to_dict("records")
    assert (row["word"], row["cause"]) == ("exploding", "gradient² ×2 a layer; chi = 1")
    assert row["forward_growth"] == pytest.approx(np.log10(0.5))


def test_severities_order_all_words():
    severities = [WORDS.make(entry.name).severity for entry in WORDS]
    assert sorted(severities) == list(range(len(severities)))


@pytest.mark.parametrize(("growth", "agrees"), [(-0.3, True), (-0.3, False), (-0.01, True)])
def test_where_narrow_networks_alone_lose_their_signal_the_cause_says_so(growth, agrees):
    """He with ReLU, width 32, depth 50: of single networks 42 % shrink by more than 2 decades, and their mean stays."""
    off = {"residual": 0.0 if agrees else 9.0, "residual_error": 0.0, "bias": 0.0}
    columns = {f"{of}_{kind}": value for of in ("z", "grad") for kind, value in off.items()}
    residuals = pd.DataFrame({"init": "he", "activation": "relu", "seed": 0, "layer": LAYERS, **columns})
    theory = predictions_of(10.0 ** (growth * LAYERS), ONE)
    both = pd.concat([theory, theory.assign(law="finite_width")])
    row = verdicts(layers_of(10.0 ** (-0.3 * LAYERS), ONE), both, residuals).set_index("direction").loc["forward"]
    assert row.word == "vanishing"
    assert row.cause.endswith("; by its width: infinitely wide it would stay") == (agrees and growth == -0.01)
