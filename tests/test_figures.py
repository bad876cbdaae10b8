"""Figures: the numbers are tested as frames, the drawings by asking their artists."""

from __future__ import annotations

import subprocess
import sys
import warnings
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle, StepPatch

from initbench.analysis.figures import depth_profiles, growth_heatmap, histograms, save, style
from initbench.analysis.page.svg import inline
from initbench.core.errors import WorkError

INITS = ["he_normal", "xavier_normal", "variance_scaling(scale=2, mode=fan_out, distribution=uniform)", "zeros"]
ACTIVATIONS = ["relu", "tanh", "leaky_relu(slope=0.2)", "gelu", "sigmoid"]
FACTORS = {INITS[0]: 1.0, INITS[1]: 0.5, INITS[2]: 30.0, INITS[3]: 0.0}
"""Of the second moment, per layer."""


def layers_and_predictions(inits=INITS, activations=ACTIVATIONS, seeds=5, depth=20):
    """Log-normal seeds around a theory curve, as networks of finite width have them."""
    generator = np.random.default_rng(0)
    keys = [range(seeds), inits, activations, range(1, depth + 1)]
    layers = pd.MultiIndex.from_product(keys, names=["seed", "init", "activation", "layer"]).to_frame(index=False)
    steps = generator.normal(0, 0.1, (len(layers) // depth, depth)).cumsum(axis=1)
    theory = layers["init"].map(FACTORS).astype(float) ** layers["layer"]
    layers = layers.assign(fan_out=512, z_second_moment=theory * np.exp(steps.ravel()), theory=theory)
    layers["grad_z_second_moment"] = layers["z_second_moment"].to_numpy()[::-1]
    first = layers[layers["seed"] == 0].drop(columns=["seed", "z_second_moment"])
    return layers, first.rename(columns={"theory": "z_second_moment"}).assign(law="mean_field")


def verdict_rows(inits=INITS, activations=ACTIVATIONS, growth=0.1, word="stable", seeds=5):
    keys = {"init": inits, "activation": activations, "direction": ["forward", "backward"]}
    rows = pd.MultiIndex.from_product(list(keys.values()), names=list(keys)).to_frame(index=False)
    return rows.assign(measured_growth=growth, word=word, seeds=seeds)


def histogram_rows(inits=INITS[:2], activation="relu", layers=(1, 10, 20), scale=1.0):
    """Triangles, layer l twice as wide as the one before it."""
    edges = np.linspace(-4, 4, 9)
    tables = []
    for place, layer in enumerate(layers):
        wide = scale * 2.0**place
        shape = {
            "low": edges[:-1] * wide,
            "high": edges[1:] * wide,
            "density": np.array([1, 2, 3, 4, 4, 3, 2, 1]) / (20 * wide),
        }
        for init in inits:
            who = {"init": init, "activation": activation, "layer": layer}
            tables += [pd.DataFrame({**who, "quantity": quantity, **shape}) for quantity in ("a", "grad_z")]
    return pd.concat(tables, ignore_index=True)


def texts(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


# Style


def test_up_to_24_names_look_different_and_the_same_names_look_the_same():
    names = [f"init_{number}" for number in range(24)]
    found = style.looks(names)
    assert len({str(look) for look in found.values()}) == 24
    assert found == style.looks(names + names)
    assert len({(look.marker, look.filled, look.dash) for look in found.values()}) == 24, "in grey too"


def test_a_common_initializer_looks_the_same_whoever_is_beside_it():
    beside = [["xavier_normal"], [], ["zeros", "torch_default", "uniform"], list(style.KNOWN)]
    found = [style.looks([*others, "he_normal"], "init") for others in beside]
    assert len({str(looks["he_normal"]) for looks in found}) == 1
    assert found[0]["he_normal"].color == style.looks(["he_uniform"], "initializer")["he_uniform"].color


def test_any_initializer_has_one_colour_whoever_is_beside_it():
    names = [f"normal(std={1 / number:g})" for number in range(1, 30)]
    alone = {name: style.looks([name], "init")[name].color for name in names}
    together = style.looks([*reversed(names), *style.KNOWN], "init")
    assert {name: together[name].color for name in names} == alone
    assert len(set(alone.values())) > 4, "and not all the same one"


def test_initializers_of_one_colour_are_told_apart_by_marker_and_dash():
    found = list(style.looks([*style.KNOWN, *(f"init_{number}" for number in range(12))], "init").values())
    for color in {look.color for look in found}:
        grey = [(look.marker, look.filled, look.dash) for look in found if look.color == color]
        assert len(set(grey)) == len(grey) > 1


@pytest.mark.parametrize("spec", [*INITS, "a" * 60, "scaled_uniform_with_kaiming_gain(gain=2)"])
def test_a_label_is_the_whole_spec_in_short_lines(spec):
    lines = style.label(spec).split("\n")
    assert max(map(len, lines)) <= style.LONGEST_LINE
    assert "".join(lines).replace(" ", "") == spec.replace(" ", "")


@pytest.mark.parametrize(
    ("counts", "words"),
    [([10, 10], "n = 10 seeds"), ([1], "n = 1 seed"), ([3, 10], "n = 3 to 10 seeds"), ([], "n = 0 seeds")],
)
def test_n_is_told_in_words(counts, words):
    assert style.seeds(pd.Series(counts, dtype=int)) == words


def test_drawing_leaves_no_trace_in_matplotlib():
    before = dict(mpl.rcParams)
    figure = growth_heatmap.draw(growth_heatmap.summary(verdict_rows()))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    assert figure.axes[0].xaxis.get_ticklabels()[0].get_fontsize() == style.SETTINGS["xtick.labelsize"]


def test_importing_the_figures_does_not_import_torch():
    code = (
        "import sys; from initbench.analysis.figures import depth_profiles, growth_heatmap, histograms;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Depth profiles


def two_seeds(first, second, column="z_second_moment"):
    """A table `layers` of one pairing with these values of two seeds, layer by layer."""
    rows = [
        (seed, layer + 1, value) for seed, values in enumerate((first, second)) for layer, value in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=["seed", "layer", column])
    return table.assign(init="he_normal", activation="relu", fan_out=64)


def no_predictions(column="z_second_moment"):
    return pd.DataFrame({name: [] for name in ("init", "activation", "law", "layer", column)}, dtype=object)


@pytest.mark.parametrize(
    ("first", "second", "mean", "low", "high"),
    [
        (1.0, 3.0, 2.0, 1.0, 3.0),
        (1e308, 1.5e308, 1.25e308, 1e308, 1.5e308),
        (1e-308, 3e-308, 2e-308, 1e-308, 3e-308),
        (0.0, 4.0, 2.0, 0.0, 4.0),
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (np.nan, 1.0, np.nan, np.nan, np.nan),
    ],
)
def test_seeds_become_their_mean_and_range(first, second, mean, low, high):
    table = depth_profiles.summary(two_seeds([first], [second]), no_predictions(), "forward")
    np.testing.assert_allclose(table.loc[0, ["mean", "low", "high"]].astype(float), [mean, low, high], rtol=1e-15)
    assert table.loc[0, "seeds"] == 2


def test_theory_is_mean_fields_and_the_order_is_that_of_the_predictions():
    layers, predictions = layers_and_predictions(inits=INITS[:2])
    other = predictions.assign(law="linear", z_second_moment=7.0)
    table = depth_profiles.summary(layers[::-1], pd.concat([other, predictions]), "forward")
    expected = predictions[["init", "activation", "layer", "z_second_moment"]]
    pd.testing.assert_frame_equal(
        table[["init", "activation", "layer", "theory"]], expected.set_axis([*expected.columns[:3], "theory"], axis=1)
    )


def test_each_direction_has_its_quantity():
    layers = two_seeds([1.0, 2.0], [3.0, 4.0]).assign(grad_z_second_moment=5.0)
    predictions = no_predictions().assign(grad_z_second_moment=[])
    table = depth_profiles.summary(layers, predictions, "backward")
    assert table["mean"].tolist() == [5.0, 5.0]
    assert table["quantity"].unique().tolist() == ["grad_z_second_moment"]
    assert depth_profiles.draw(table).axes[0].get_ylabel() == "mean of (∂loss/∂z)²"


def test_each_panel_draws_the_summary_on_a_shared_log_axis():
    table = depth_profiles.summary(*layers_and_predictions(inits=INITS[:3]), "forward")
    figure = depth_profiles.draw(table)
    assert [axes.get_title().replace("\n  ", " ") for axes in figure.axes] == ACTIVATIONS
    assert {(axes.get_yscale(), axes.get_ylim()) for axes in figure.axes} == {("log", figure.axes[0].get_ylim())}
    for axes, activation in zip(figure.axes, ACTIVATIONS, strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for name, rows in table[table["activation"] == activation].groupby("init"):
            np.testing.assert_array_equal(lines[name].get_xdata(), rows["layer"])
            np.testing.assert_array_equal(lines[name].get_ydata(), rows["mean"])
            np.testing.assert_array_equal(lines[f"{name}, mean_field"].get_ydata(), rows["theory"])


def test_the_band_is_the_range_of_the_seeds():
    table = depth_profiles.summary(two_seeds([1.0, 2.0], [3.0, 8.0]), no_predictions(), "forward")
    (band,) = depth_profiles.draw(table).axes[0].collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(1, 1), (1, 3), (2, 2), (2, 8)}


def test_an_initializer_has_one_look_in_all_panels_and_in_the_legend():
    figure = depth_profiles.draw(depth_profiles.summary(*layers_and_predictions(), "forward"))
    labels = [text.get_text().replace("\n  ", " ") for text in figure.legends[0].get_texts()]
    assert labels == [*INITS, "theory (mean field)"]
    for name, key in zip(INITS, figure.legends[0].legend_handles, strict=False):
        drawn = [line for axes in figure.axes for line in axes.lines if line.get_label() == name]
        assert {(line.get_color(), line.get_marker()) for line in drawn} == {(key.get_color(), key.get_marker())}


def test_curves_that_coincide_mark_different_layers():
    layers, predictions = layers_and_predictions(inits=INITS[:2], activations=["relu"])
    lines = depth_profiles.draw(depth_profiles.summary(layers, predictions, "forward")).axes[0].lines
    marked = [set(range(20)[start::step]) for start, step in (line.get_markevery() for line in lines[::2])]
    assert not set.intersection(*marked)


@pytest.mark.parametrize(
    ("depth", "values", "limits"),
    [
        (20, (1e-90, 1e90), (1e-13, 1e13)),
        (20, (0.2, 30.0), (1e-1, 1e2)),
        (1, (1.0, 1.0), (1e-1, 1e1)),
        (1, (1e-90, 1e5), (1e-6, 1e5)),
        (1000, (5e-324, 1e308), (1e-300, 1e300)),
    ],
)
def test_the_axis_ends_with_the_data_or_where_a_factor_of_four_a_layer_would(depth, values, limits):
    layers = two_seeds([values[0]] * depth, [values[1]] * depth)
    axes = depth_profiles.draw(depth_profiles.summary(layers, no_predictions(), "forward")).axes[0]
    np.testing.assert_allclose(axes.get_ylim(), limits)
    assert 1 in axes.get_yticks()


@pytest.mark.parametrize(("value", "words"), [(0.0, "exactly 0: he_normal"), (np.nan, "beyond float64: he_normal")])
def test_what_a_log_axis_cannot_show_is_named(value, words):
    table = depth_profiles.summary(two_seeds([1.0, value], [1.0, value]), no_predictions(), "forward")
    axes = depth_profiles.draw(table).axes[0]
    assert words in [text.get_text() for text in axes.texts]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, np.nan])


@pytest.mark.parametrize(("value", "place"), [(2e-6, ("left", "top")), (1.0, ("left", "bottom"))])
def test_what_is_named_stands_where_no_curve_is(value, place):
    """A flat curve at the lower end of the axis has both lower corners; in the middle it has none."""
    flat, none = two_seeds([value] * 4, [value] * 4), two_seeds([0.0] * 4, [0.0] * 4).assign(init="zeros")
    table = depth_profiles.summary(pd.concat([flat, none]), no_predictions(), "forward")
    (note,) = depth_profiles.draw(table).axes[0].texts
    assert (note.get_ha(), note.get_va()) == place


def test_the_profiles_tell_their_n_and_their_network():
    figure = depth_profiles.draw(depth_profiles.summary(*layers_and_predictions(), "forward"))
    assert "depth 20, 512 units a layer, n = 5 seeds" in texts(figure)


# Growth


@pytest.mark.parametrize(
    ("growth", "word", "text"),
    [
        (0.301, "exploding", "0.30"),
        (-0.301, "vanishing", "−0.30"),
        (-0.001, "stable", "0.00"),
        (0.1, "saturated", "0.10\nsat"),
        (np.nan, "dead", "dead"),
        (np.nan, "stable", "✓"),
        (-np.inf, "vanishing", "↓"),
        (np.nan, "impossible", "n/a"),
        (np.nan, "a new word", ""),
    ],
)
def test_a_cell_says_its_growth_or_its_verdict(growth, word, text):
    table = growth_heatmap.summary(verdict_rows(INITS[:1], ["relu"], growth, word))
    assert table["text"].tolist() == [text, text]
    assert table["growth"].isna().all() == (not np.isfinite(growth))
    assert table["stable"].tolist() == [word == "stable"] * 2


def test_a_pairing_without_a_verdict_is_blank():
    rows = verdict_rows(INITS[:2], ["relu", "tanh"]).drop(index=[0, 1])
    table = growth_heatmap.summary(rows).set_index(["init", "activation"])
    assert len(table) == 8
    assert table.loc[(INITS[0], "relu"), "text"].tolist() == ["", ""]
    assert not table.loc[(INITS[0], "relu"), "stable"].any()


def test_both_panels_draw_every_number_and_name_every_pairing():
    rows = verdict_rows()
    rows["measured_growth"] = np.linspace(-1, 1, len(rows))
    table = growth_heatmap.summary(rows)
    panels = growth_heatmap.draw(table).axes[:2]
    for axes, direction in zip(panels, ["forward", "backward"], strict=True):
        drawn = table[table["direction"] == direction]
        np.testing.assert_array_equal(axes.collections[0].get_array().ravel(), drawn["growth"])
        assert [text.get_text() for text in axes.texts] == drawn["text"].tolist()
        assert [name.get_text().replace("\n  ", " ") for name in axes.get_xticklabels()] == ACTIVATIONS
    assert [name.get_text().replace("\n  ", " ") for name in panels[0].get_yticklabels()] == INITS


def test_long_names_of_rows_and_columns_do_not_overlap():
    inits = [
        "variance_scaling(scale=3.0, mode=fan_out, distribution=truncated_normal)",
        "scaled_orthogonal(gain=1.4142135623730951, seed=3)",
        "truncated_normal(std=0.02, low=-0.04, high=0.04)",
    ] * 3
    inits = [name.replace("0", f"0{place}", 1) for place, name in enumerate(inits)]
    activations = [f"mine(first=0.{place}23456, second=0.123456, third=0.123456)" for place in range(8)]
    figure = growth_heatmap.draw(growth_heatmap.summary(verdict_rows(inits, activations)))
    figure.canvas.draw()
    for names in (figure.axes[0].get_yticklabels(), figure.axes[0].get_xticklabels()):
        boxes = [name.get_window_extent() for name in names]
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_colours_are_centred_on_zero_and_end_where_the_caption_says():
    figure = growth_heatmap.draw(growth_heatmap.summary(verdict_rows(growth=5.0)))
    assert {axes.collections[0].get_clim() for axes in figure.axes[:2]} == {(-0.6, 0.6)}
    assert "colours end at ±0.6" in texts(figure)


def test_stable_cells_alone_are_outlined():
    rows = verdict_rows(INITS[:1], ["relu", "tanh"])
    rows.loc[rows["activation"] == "tanh", "word"] = "vanishing"
    for axes in growth_heatmap.draw(growth_heatmap.summary(rows)).axes[:2]:
        (outline,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert outline.get_xy() == (0, 0)


def test_the_heatmap_counts_the_seeds_of_possible_pairings_alone():
    rows = verdict_rows()
    rows.loc[rows["init"] == "zeros", ["seeds", "word"]] = [0, "impossible"]
    assert "n = 5 seeds" in texts(growth_heatmap.draw(growth_heatmap.summary(rows)))


# Histograms


def boxes(*ranges):
    """A layer each: all values spread evenly over two bins from low to high."""
    rows = []
    for layer, (low, high) in enumerate(ranges, start=1):
        middle = (low + high) / 2
        rows += [(layer, low, middle, 1 / (high - low)), (layer, middle, high, 1 / (high - low))]
    table = pd.DataFrame(rows, columns=["layer", "low", "high", "density"])
    return table.assign(init="he_normal", activation="relu", quantity="a")


def test_a_boxs_moments_are_those_of_the_uniform_distribution():
    table = histograms.summary(boxes((-1.0, 1.0), (1.0, 3.0)), "relu").query("quantity == 'a'")
    np.testing.assert_allclose(table["rms"], np.sqrt([1 / 3, 1 / 3, 4 + 1 / 3, 4 + 1 / 3]))
    np.testing.assert_allclose(table["sd"], np.sqrt(1 / 3))
    np.testing.assert_allclose(table["height"], 0.5 * np.sqrt(1 / 3))
    np.testing.assert_allclose(table["linear"], 4 * np.sqrt(1 / 3))


def test_the_linear_part_never_vanishes():
    table = histograms.summary(boxes((-1e-9, 1e-9), (-1.0, 1.0)), "relu").query("quantity == 'a'")
    np.testing.assert_allclose(table["linear"], 4 * 0.01 * np.sqrt(1 / 3))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_one_shape_has_one_height_at_any_scale(scale):
    table = histograms.summary(histogram_rows(scale=scale), "relu")
    triangle = np.array([1, 2, 3, 4, 4, 3, 2, 1]) / 20 * np.sqrt(10 / 3)
    np.testing.assert_allclose(table["height"], np.tile(triangle, len(table) // 8))


def test_a_spike_is_cut():
    bins = boxes((-1.0, 1.0)).assign(low=[-1.0, 0.0], high=[0.0, 1e-3], density=[0.5, 500.0])
    assert histograms.summary(bins, "relu")["height"].max() == histograms.TALLEST


def test_a_column_an_initializer_and_a_histogram_a_layer():
    table = histograms.summary(histogram_rows(INITS[:3]), "relu", INITS[:2])
    figure = histograms.draw(table)
    assert len(figure.axes) == 4
    assert "(2 of 3 initializers, spread over their growths)" in texts(figure)
    assert [axes.get_title() for axes in figure.axes[:2]] == INITS[:2]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1", "10", "20"]
    for axes, (quantity, init) in zip(figure.axes, [(q, i) for q in ("a", "grad_z") for i in INITS[:2]], strict=True):
        assert "asinh axis" in axes.get_xlabel()
        rows = table[(table["init"] == init) & (table["quantity"] == quantity)]
        drawn = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
        for place, (patch, (_, bins)) in enumerate(zip(drawn, rows.groupby("layer"), strict=True)):
            values, edges, baseline = patch.get_data()
            np.testing.assert_array_equal(edges, [*bins["low"], bins["high"].iloc[-1]])
            np.testing.assert_allclose((baseline - values) / histograms.ROOM * histograms.TALLEST, bins["height"])
            assert baseline == place


def test_a_figure_of_all_initializers_counts_none():
    assert "initializers" not in texts(histograms.draw(histograms.summary(histogram_rows(), "relu")))


def test_an_initializer_without_histogram_has_a_panel_that_says_so():
    figure = histograms.draw(histograms.summary(histogram_rows(), "relu", ["he_normal", "zeros"]))
    assert "no histogram" in figure.axes[1].texts[0].get_text()
    assert "n = 1 seed" in texts(figure)


# All of them


def figures(inits, activations, seeds, depth, spoil=lambda values: values):
    """Every figure of a study of this size, whose measured values `spoil` has changed."""
    layers, predictions = layers_and_predictions(inits, activations, seeds, depth)
    moments = ["z_second_moment", "grad_z_second_moment"]
    layers[moments], predictions[moments] = spoil(layers[moments]), spoil(predictions[moments])
    rows = verdict_rows(inits, activations, seeds=seeds)
    bins = histogram_rows(inits, activations[0], range(1, depth + 1))
    yield depth_profiles.draw(depth_profiles.summary(layers, predictions, "forward"))
    yield depth_profiles.draw(depth_profiles.summary(layers, predictions, "backward"))
    yield growth_heatmap.draw(growth_heatmap.summary(rows.assign(measured_growth=spoil(rows["measured_growth"]))))
    yield histograms.draw(histograms.summary(bins.assign(density=spoil(bins["density"])), activations[0]))


@pytest.mark.parametrize("spoil", [lambda x: x, lambda x: x * 0, lambda x: x * np.nan], ids=["as is", "0", "NaN"])
@pytest.mark.parametrize(("pairings", "seeds", "depth"), [(1, 1, 1), (1, 1, 3), (1, 3, 1), (4, 2, 2)])
def test_small_and_empty_frames_draw_without_a_warning(pairings, seeds, depth, spoil):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures(INITS[:pairings], ACTIVATIONS[:pairings], seeds, depth, spoil):
            figure.canvas.draw()


def test_a_study_of_zeros_alone_has_no_histogram_and_draws():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = histograms.draw(histograms.summary(histogram_rows()[:0], "relu"))
    assert len(figure.axes) == 2


@pytest.mark.parametrize("size", [1, 2, 12])
def test_nothing_leaves_the_page_and_nothing_lies_on_the_caption(size):
    activations = [*ACTIVATIONS, *(f"activation_{number}(alpha=0.25, beta=0.5)" for number in range(7))][:size]
    for figure in figures(INITS[:size], activations, 2, 4):
        caption, (width, height) = figure.texts[-1], figure.get_size_inches() * figure.dpi
        tops = caption.get_window_extent().y1
        for artist in [caption, *figure.axes, *figure.legends, figure._suptitle]:
            box = artist.get_tightbbox()
            assert box.x0 >= -1
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1
            assert box.y0 >= (-1 if artist is caption else tops - 1)


# Saving


def test_saving_writes_the_image_and_exactly_the_numbers_drawn(tmp_path):
    table = depth_profiles.summary(*layers_and_predictions(seeds=2, depth=3), "forward")
    path = save(depth_profiles.draw(table), table, tmp_path / "new", "normal(std=0.1)")
    assert path == tmp_path / "new" / "normal(std=0.1).png"
    assert path.read_bytes().startswith(b"\x89PNG")
    read = pd.read_csv(path.with_name("normal(std=0.1).csv"))
    pd.testing.assert_frame_equal(read, table, check_dtype=False, rtol=1e-15, atol=0)
    assert {file.name for file in path.parent.iterdir()} == {"normal(std=0.1).png", "normal(std=0.1).csv"}


def test_a_figure_for_a_paper_has_its_letters_in_it_and_is_the_same_each_time(tmp_path):
    table = growth_heatmap.summary(verdict_rows())
    first, second = (tmp_path / name for name in ("first", "second"))
    path = save(growth_heatmap.draw(table), table, first, "growth", ["pdf", "svg"])
    save(growth_heatmap.draw(table), table, second, "growth", ["pdf", "svg"])
    assert path == first / "growth.pdf"
    assert {file.name for file in first.iterdir()} == {"growth.pdf", "growth.svg", "growth.csv"}
    assert all(file.read_bytes() == (second / file.name).read_bytes() for file in first.iterdir())
    assert b"/Type3" not in path.read_bytes()
    assert b"/FontFile2" in path.read_bytes()  # TrueType, embedded
    assert ElementTree.parse(path.with_suffix(".svg")).getroot().tag.endswith("svg")


FIGURES = {
    "with a colour bar": lambda: growth_heatmap.draw(growth_heatmap.summary(verdict_rows())),
    "panels": lambda: depth_profiles.draw(depth_profiles.summary(*layers_and_predictions(seeds=2), "forward")),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_figure_comes_laid_out_to_a_hundredth_of_a_pixel(draw, monkeypatch):
    execute, engines = ConstrainedLayoutEngine.execute, []
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *of: engines.append(of[0]) or execute(*of))
    figure = draw()
    found = [axes.get_window_extent().bounds for axes in figure.axes]
    execute(engines[-1], figure)  # once more
    again = [axes.get_window_extent().bounds for axes in figure.axes]
    np.testing.assert_allclose(found, again, rtol=0, atol=0.01)


def test_each_file_of_a_figure_is_drawn_once_and_laid_out_never(tmp_path, monkeypatch):
    table = growth_heatmap.summary(verdict_rows())
    figure, counted = growth_heatmap.draw(table), []
    draw, execute = Figure.draw, ConstrainedLayoutEngine.execute
    monkeypatch.setattr(Figure, "draw", lambda *of: counted.append("drawn") or draw(*of))
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *of: counted.append("laid out") or execute(*of))
    save(figure, table, tmp_path, "growth", ["png", "pdf", "svg"])
    inline(figure, "x-")
    assert counted == ["drawn"] * 4


def test_a_save_that_fails_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    table = growth_heatmap.summary(verdict_rows())
    figure = growth_heatmap.draw(table)
    before = save(figure, table, tmp_path, "growth").read_bytes()

    def fail(path, **_):
        path.write_bytes(b"half an im")
        raise OSError("the disk is full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(WorkError, match=r"cannot write .*growth\.png: the disk is full"):
        save(figure, table, tmp_path, "growth")
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.png")} == {"growth.png": before}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_label_is_broken_between_words():
    assert style.label("variance_scaling(scale=0.5/625)").split("\n") == ["variance_scaling(", "  scale=0.5/625)"]


def test_a_label_breaks_a_long_word_where_it_is_joined():
    assert style.label("npz(path='a_ b/ c')").split() == ["npz(path='a_", "b/", "c')"]
    lines = style.label("normalized_exponential_linear_unit(alpha=2)").split("\n")
    assert lines == ["normalized_exponential_", "  linear_unit(alpha=2)"]
    lines = style.label("npz(path='/home/me/experiments/data/long.npz')").split("\n")
    assert lines == ["npz(path='/home/me/", "  experiments/data/", "  long.npz')"]
