"""A user's words stand in a figure as they are written: a $ begins no formula, whatever comes after it."""

import numpy as np
import page_results
import pandas as pd
import pytest
from matplotlib.text import Text

from initbench.analysis.figures import depth_scales, phase_diagram, style
from initbench.analysis.figures.relation import Drawing, draw, summary
from initbench.analysis.measures import MEASURES
from initbench.analysis.page import html
from initbench.analysis.results import Results

WORDS = ["costs $5", "from $5 to $10", r"$\frac", r"a $\badcommand{x}$ b", "$", "$$", r"\$", "${a}_$", "50 % of $x$"]


def observed(levels):
    rows = [(level, hue, panel, seed, number + seed) for number, level in enumerate(levels, 1) for hue in WORDS[:3]
            for panel in WORDS[3:5] for seed in (0, 1)]  # fmt: skip
    found = pd.DataFrame(rows, columns=["init", "activation", "depth", "seed", "value"])
    return found.assign(part="", source="measured")


def drawn(word, levels=WORDS):
    drawing = Drawing(measure="final", x="init", hue="activation", panel="depth", title=word, words={"init": word})
    return draw(summary(observed(levels), drawing, MEASURES.make("final")))


@pytest.mark.parametrize("word", WORDS)
def test_every_text_of_a_figure_is_drawn_as_it_is_written(word):
    figure = drawn(word)
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert {style.label(level) for level in WORDS if "$" in level} <= {text.get_text() for text in shown}
    assert word in {figure.get_suptitle(), *(axes.get_xlabel() for axes in figure.axes)}
    assert not any(text.get_parse_math() for text in shown)


@pytest.mark.parametrize(("word", "as_formula"), [
    ("σ_w²", "$σ_w^2$"), ("over σ_w², to 6 ξ_c (white)", "over $σ_w^2$, to 6 $ξ_c$ (white)"),
    ("σ_wide", "σ_wide"), ("N_c", "N_c"), ("σ_w² for $5", "σ_w² for $5"),
])  # fmt: skip
def test_symbols_have_their_subscripts(word, as_formula):
    figure = drawn(word, levels=["a", "b"])
    figure.draw_without_rendering()
    texts = {figure.get_suptitle(), *(axes.get_xlabel() for axes in figure.axes)}
    assert as_formula in texts
    shown = [text for text in figure.findobj(Text) if text.get_text() == as_formula]
    assert {text.get_parse_math() for text in shown} == {as_formula != word}


def test_powers_of_ten_stay_formulas():
    rows = [(10.0**number, seed, 10.0**number) for number in range(9) for seed in (0, 1)]
    found = pd.DataFrame(rows, columns=["lr", "seed", "value"]).assign(part="", source="measured")
    drawing = Drawing(measure="level(of=z_second_moment)", x="lr", title="costs $5")
    figure = draw(summary(found, drawing, MEASURES.make(drawing.measure)))
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        powers = [tick for tick in axis.get_majorticklabels() if "10^" in tick.get_text()]
        assert powers
        assert all(tick.get_parse_math() for tick in powers)


def test_our_own_formulas_stay_formulas(tmp_path):
    axes = depth_scales.draw(depth_scales.summary(Results(page_results.phase(tmp_path)).table("phases"))).axes[0]
    formulas = [axes.xaxis.label, *axes.get_legend().get_texts()]
    plane = pd.DataFrame([(w, b) for w in (1.0, 2.0) for b in (0.1, 0.2)], columns=["weight_variance", "bias_variance"])
    plane = plane.assign(activation="tanh", xi_c=[2.0, np.inf, 3.0, 4.0], phase=["ordered", "critical"] * 2)
    first, colours = phase_diagram.draw(phase_diagram.summary(plane)).axes
    formulas += [first.xaxis.label, first.yaxis.label, colours.yaxis.label]
    assert [text.get_text()[0] for text in formulas] == ["$"] * 6
    assert all(text.get_parse_math() for text in formulas)


def test_a_page_shows_them_too(tmp_path):
    word = r"Is $\frac worth $5?"
    results = page_results.training(tmp_path / "mine", **{**page_results.FEW, "lr": [0.1], "activation": [r"$\frac"]})
    page = html(results, title=word)
    assert page.count(word) >= 1
    assert r"$\frac" in page
