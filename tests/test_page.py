"""The page of a results folder: what is told, that names are text, that nothing is loaded, that numbers are whole."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import page_results as made
import pandas as pd
import pytest
import without_torch
from click.testing import CliRunner
from scipy import stats

from initbench.analysis import page, report
from initbench.analysis.figures import growth_heatmap
from initbench.analysis.page import caveats, expected, findings, svg, tables, words
from initbench.analysis.page.answers import Answer, keep, opened
from initbench.analysis.results import Results
from initbench.cli import main
from initbench.core.errors import UsageError, WorkError
from initbench.grid.study import Study
from initbench.grid.variance_study import resolve

VOID = {"meta", "link", "input", "br", "img"}


class Read(HTMLParser):
    """Elements of a page in order: tag, attributes, and the text directly in each."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag  # well-formed: whatever is opened is closed

    def handle_data(self, data):
        if self._open:
            self._open[-1]["text"] += data

    def __call__(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]


@pytest.fixture(scope="module")
def variance(tmp_path_factory):
    """A real small study of propagation, whose names are markup."""
    from initbench.analysis import verdicts
    from initbench.grid.run import run_variance

    out = tmp_path_factory.mktemp("page") / "variance"
    study = resolve(init=["he", "xavier", "zeros"], activation=["relu", "tanh"], depth=6, width=16, seeds=3, batch=8)
    run_variance(study, out, judge=verdicts.verdicts)
    return out


@pytest.fixture(scope="module")
def folders(tmp_path_factory, variance):
    """A folder of every kind."""
    root = tmp_path_factory.mktemp("kinds")
    others = ("calibration", "jacobian", "phase", "landscape", "curve", "tuned")
    kinds = {kind: getattr(made, kind)(root / kind) for kind in others}
    return {**kinds, "variance": variance, "train": made.training(root / "train", **made.FEW)}


@pytest.fixture(scope="module")
def pages(folders):
    return {kind: page.html(folder) for kind, folder in folders.items()}


KINDS = pytest.mark.parametrize(
    "kind", ["variance", "train", "calibration", "jacobian", "phase", "landscape", "curve", "tuned"]
)


@KINDS
def test_question_answer_and_caveats_come_first(pages, kind):
    read = Read(pages[kind])
    headings = [element["text"] for element in read("h1", "h2")]
    assert len(read("h1")) == 1
    assert headings[1] == "What this rests on"
    assert headings[-1] == "Provenance"
    assert pages[kind].index('class="lead"') < pages[kind].index('id="rests"') < pages[kind].index('id="origin"')


@KINDS
def test_nothing_is_loaded(pages, kind):
    read = Read(pages[kind])
    links = [
        element[name] for element in read.elements for name in ("src", "href", "srcset", "action") if name in element
    ]
    assert all(link.startswith(("#", "data:")) for link in links)
    styles = " ".join([element["text"] for element in read("style")] + [e.get("style") or "" for e in read.elements])
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]*)", styles))
    assert "@import" not in styles
    policy = next(element["content"] for element in read("meta") if "Content-Security-Policy" in str(element))
    assert "default-src 'none'" in policy
    run = [element["text"] for element in read("script") if element.get("type") != "application/json"]
    told = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in run}
    assert told == set(re.findall(r"'sha256-[^']*'", policy))


@KINDS
def test_ids_are_unique_and_what_is_referred_to_is_there(pages, kind):
    read = Read(pages[kind])
    ids = [element["id"] for element in read.elements if "id" in element]
    assert len(ids) == len(set(ids))
    referred = [e["href"][1:] for e in read.elements if str(e.get("href", "")).startswith("#")]
    referred += re.findall(r"url\(#([^)]+)\)", pages[kind])
    referred += [name for e in read.elements for name in str(e.get("aria-labelledby") or "").split()]
    assert set(referred) <= set(ids)


@KINDS
def test_tables_have_headers(pages, kind):
    read = Read(pages[kind])
    scopes = [element.get("scope") for element in read("th")]
    assert set(scopes) <= {"col", "row"}
    assert pages[kind].count("<table") == pages[kind].count("<thead>")
    for body in re.findall(r"<tbody>(.*?)</tbody>", pages[kind], re.DOTALL):
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
            assert row.lstrip().startswith('<th scope="row">')


@KINDS
def test_headings_skip_no_level(pages, kind):
    levels = [int(element["tag"][1]) for element in Read(pages[kind])("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("kind", ["variance", "train", "calibration", "tuned"])
def test_each_figure_has_its_words_and_the_csv_of_its_numbers(folders, pages, kind):
    read = Read(pages[kind])
    results = Results(folders[kind])
    comparison = findings.of_results(results).comparison
    expected = [*(comparison.figures() if comparison else ()), *report.figures(results)]
    pictures = [element for element in read("svg") if element.get("role") == "img"]
    links = [element for element in read("a") if "download" in element]
    assert len(pictures) == len(links) == len(expected) > 0
    for (name, summary, figure, *_), picture, link in zip(expected, pictures, links, strict=True):
        assert picture["aria-label"].startswith(" ".join(figure.get_suptitle().split()))
        assert re.search(r"\d", picture["aria-label"])
        assert link["download"].startswith(f"{name}.csv")
        held = base64.b64decode(link["href"].partition("base64,")[2])
        held = gzip.decompress(held) if link["download"].endswith(".gz") else held
        assert held.decode() == summary.to_csv(index=False)


def test_a_figure_in_words_names_its_ends(variance):
    heat = growth_heatmap.summary(Results(variance).verdicts)
    from initbench.analysis.page.alternatives import in_words

    told = in_words("growth_heatmap", "Growth", heat)
    forward = heat[heat["direction"] == "forward"]
    low = forward.loc[forward["growth"].idxmin()]
    assert told.startswith("Growth. ")
    assert f"forward: {forward['stable'].sum()} of 6 pairings are stable" in told
    assert f"with {low['init']} and {low['activation']}" in told


def test_an_unknown_figure_is_told_by_its_columns():
    from initbench.analysis.page.alternatives import in_words

    told = in_words("new", "A title", pd.DataFrame({"who": ["a", "b"], "size": [1.5, 40.0]}))
    assert told == "A title. 2 rows of numbers. who: a, b; size 1.5 to 40."


def test_many_points_become_an_image_and_the_text_stays():
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.plot(np.arange(svg.MOST_VERTICES + 1), np.zeros(svg.MOST_VERTICES + 1))
    axes.set_xlabel("the axis")
    drawing = svg.inline(figure, "x-")
    assert "<image" in drawing.svg
    assert ">the axis</text>" in drawing.svg
    assert len(drawing.svg) < 200_000


def test_a_drawing_is_as_large_as_what_is_drawn_on_it(variance):
    figure = growth_heatmap.draw(growth_heatmap.summary(Results(variance).verdicts))
    drawing, told = svg.inline(figure, "x-"), io.StringIO()
    with mpl.rc_context(svg.SETTINGS):
        figure.savefig(told, format="svg", bbox_inches="tight", pad_inches=svg.MARGIN)
    read = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', told.getvalue())
    assert [drawing.width, drawing.height] == pytest.approx([float(one) for one in read.groups()], abs=1e-3)


def test_names_are_text_wherever_they_stand(tmp_path):
    init = [made.HOSTILE, "</script><b>he"]
    folder = made.training(tmp_path / "hostile", **{**made.FEW, "init": init, "lr": [0.1]})
    claims = pd.DataFrame({"claim": [made.HOSTILE], "outcome": "held", "estimate": 1.0, "low": 0.5, "high": 1.5,
                           "bound": "above 0", "least": 0.0, "most": np.inf,
                           "published": made.HOSTILE, "n": 3, "measure": "m", "method": "m",
                           "explained": "", "differs": made.HOSTILE})  # fmt: skip
    answer = Answer("hostile", made.HOSTILE, made.HOSTILE, (made.HOSTILE,), claims, text=f"question = '{made.HOSTILE}'")
    keep(answer, folder, {"": Results(folder)})
    text = page.html(folder)
    read = Read(text)
    assert made.HOSTILE not in text
    assert "<b>he" not in text
    assert [element["text"] for element in read("h1")] == [made.HOSTILE]
    assert not any("alert(1)" in e["text"] for e in read("script") if e.get("type") != "application/json")
    payload = json.loads(next(e["text"] for e in read("script") if e.get("type") == "application/json"))
    assert next(c for c in payload["columns"] if c["title"] == "init")["levels"] == init


def unpacked(payload):
    told = json.loads(payload)
    return pd.DataFrame({c["title"]: c["values"] if "values" in c else [c["levels"][code] for code in c["codes"]]
                         for c in told["columns"]})  # fmt: skip


def test_a_grid_holds_the_numbers_of_its_frame():
    whole = pd.array([1, None, 3, 4, 5, 6], dtype="Int64")
    frame = pd.DataFrame({"x": [0.1, np.nan, np.inf, -np.inf, 1 / 3, 1 / 3], "n": whole, "who": list("aabbcc")})
    frame = frame.assign(yes=[True, False] * 3, none=[None] * 6)
    found = unpacked(tables.grid("t", "T", frame).payload)
    assert list(found["x"].fillna("missing")) == [0.1, "missing", "inf", "-inf", 0.3333333, 0.3333333]
    assert list(found["who"]) == list("aabbcc")
    assert list(found["yes"]) == ["yes", "no"] * 3
    assert found["n"].dropna().tolist() == [1, 3, 4, 5, 6]
    assert "none" not in found


def test_the_whole_sweep_fits(tmp_path):
    text = page.html(made.sweep(tmp_path / "sweep"))
    table = made.runs()
    found = unpacked(next(e["text"] for e in Read(text)("script") if e.get("type") == "application/json"))
    assert len(found) == len(table) == 10_368
    np.testing.assert_allclose(found["test_accuracy"].astype(float), table["test_accuracy"], rtol=1e-6)
    assert (found["init"] == table["init"]).all()
    assert len(text.encode()) < 10e6


def test_training_is_answered_with_the_best_configuration_on_validation(tmp_path):
    folder = made.training(tmp_path / "t", **{**made.FEW, "seed": [0, 1, 2]})
    table = made.runs(**{**made.FEW, "seed": [0, 1, 2]})
    found = findings.of_results(Results(folder))
    ranked = table.assign(rank=table["val_accuracy"].fillna(0)).groupby("name")["rank"].mean()
    best = table[table["name"] == ranked.idxmax()].dropna(subset=["test_accuracy"])
    mean, half = best["test_accuracy"].mean(), stats.sem(best["test_accuracy"]) * stats.t.ppf(0.975, len(best) - 1)
    assert found.question == "What decides?"
    assert (
        f"Test accuracy {mean:.3g} (95 % interval {max(mean - half, 0):.3g} to {min(mean + half, 1):.3g}" in found.lead
    )
    assert f"init {best['init'].iloc[0]}, activation {best['activation'].iloc[0]}" in found.lead
    lost, count = int((table["status"] == "diverged").sum()), len(table)
    low, high = stats.beta.ppf([0.025, 0.975], [lost, lost + 1], [count - lost + 1, count - lost])
    diverged = next(fact for fact in found.facts if fact.label == "Diverged")
    assert diverged.value == f"{100 * lost / count:.3g} %"
    assert diverged.note == f"{lost} of {count} runs; 95 % interval {100 * low:.3g} % to {100 * high:.3g} %"


def test_one_seed_has_no_interval(tmp_path):
    folder = made.training(tmp_path / "t", **{**made.FEW, "seed": [0]})
    assert "(no interval, n = 1 seed)" in findings.of_results(Results(folder)).lead


def test_propagation_is_answered_with_what_is_healthy(variance):
    verdicts = Results(variance).verdicts
    healthy = sum((rows["word"] == "stable").all() for _, rows in verdicts.groupby(["init", "activation"]))
    found = findings.of_results(Results(variance))
    assert found.lead.startswith(f"{healthy} of 6 pairings")
    assert ("dead", 2, "zeros with relu, tanh") in found.groups


def test_a_study_is_answered_by_the_claims_that_it_says_answer_it():
    claims = pd.DataFrame({"claim": ["First", "Second", "Third"], "outcome": ["held", "held", "not held"],
                           "estimate": [1.0, 2.0, 3.0], "low": 0.5, "high": 3.5, "n": 3})  # fmt: skip
    told = (
        "Second: 2 (95 % interval 0.5 to 3.5, n = 3 seeds). Third: not held, 3 (95 % interval 0.5 to 3.5, n = 3 seeds)."
    )
    found = findings.of_outcomes("?", claims.assign(answers=[False, True, True])).lead
    assert found.replace("\N{NO-BREAK SPACE}", " ") == told
    small = claims.assign(claim=["First", "and second", "Third"], answers=[True, True, False])
    assert "n = 3 seeds); and second: 2 (" in findings.of_outcomes("?", small).lead
    assert findings.of_outcomes("?", claims.assign(answers=False)).lead.startswith("First: 1 ")
    assert findings.of_outcomes("?", claims).lead.startswith("First: 1 ")


def test_outcomes_are_drawn_in_their_bounds():
    picture = expected._picture(0.5, (0.4, 0.6), (0.2, math.inf))
    assert picture["bound"] < picture["low"] < picture["estimate"] < picture["high"] < picture["to"] == 100
    assert expected._picture(0.5, (-math.inf, math.inf), (0, 1)) == {}


@pytest.mark.parametrize(("value", "told"), [(1.23456, "1.235"), (-2, "−2"), (float("nan"), "–"), (np.inf, "∞"),
                                             (10368, "10,368"), (True, "yes"), ("a", "a"), (None, "–")])  # fmt: skip
def test_numbers_are_written_short(value, told):
    assert words.number(value) == told


def test_numbers_in_a_text_keep_their_sign_and_their_line():
    assert words.signed("-0.02 to 1e-30, as back-propagated") == "−0.02 to 1e-30, as back-propagated"
    assert words.unbroken("95 % of n = 5").split(" ") == ["95\xa0%", "of", "n\xa0=\xa05"]


def test_equal_levels_are_counted():
    assert words.level([784, 512, 512]) == "784, 512 (2 times)"
    assert words.level([0.1, 1e-05, True]) == "0.1, 1e-05, yes"


def answer_of(folder):
    numbers = pd.DataFrame({"x": [1, 2], "low": [-np.inf, 0.5], "who": ["a", "b"], "none": [np.nan, 1.0]})
    told = ("claim", "outcome", "bound", "published", "measure", "method", "explained", "differs")
    words = {name: ["a", ""] for name in told}
    ends = {
        "estimate": [np.nan, 1.0],
        "low": [-np.inf, 0.5],
        "high": [np.inf, 2.0],
        "least": [0.0, 0.0],
        "most": [1.0, 1.0],
    }
    outcomes = pd.DataFrame({**words, **ends, "n": [3, 3], "answers": [True, False]})
    answer = Answer("he", "Why?", "He 2015", ("a caveat",), outcomes, {"one": numbers}, "question = 'Why?'", True)
    keep(answer, folder, {"": Results(folder)})
    return answer


def test_an_answer_is_kept_whole(variance):
    kept = answer_of(variance)
    found, parts = opened(variance)
    (variance / "answer.json").unlink()
    assert (found.question, found.caveats, found.full) == (kept.question, kept.caveats, True)
    pd.testing.assert_frame_equal(found.figures["one"], kept.figures["one"])
    pd.testing.assert_frame_equal(found.outcomes, kept.outcomes)
    assert list(parts) == [""]


def test_an_answer_to_other_results_is_left_out(tmp_path):
    folder = made.phase(tmp_path / "p")
    answer_of(folder)
    made.folder(
        folder, {"kind": "phase", "activation": "relu"}, {"phases": Results(folder).table("phases")}, key="f" * 16
    )
    assert opened(folder)[0].question == ""


def test_an_answer_that_cannot_be_read_is_told(tmp_path):
    folder = made.phase(tmp_path / "p")
    (folder / "answer.json").write_text("{", encoding="utf-8")
    with pytest.raises(WorkError, match=r"answer\.json cannot be read"):
        opened(folder)
    (folder / "answer.json").write_text('{"layout": 99, "parts": {}}', encoding="utf-8")
    with pytest.raises(UsageError, match="newer version"):
        opened(folder)


def study_again(text):
    """The study that the page's commands write into a file."""
    found = re.fullmatch(
        r"cat > (\S+)\.toml <<'END_OF_STUDY'\n(.*)\nEND_OF_STUDY\ninitbench run \1\.toml\n", text, re.DOTALL
    )
    return tomllib.loads(found[2])


def told_again(text):
    return next(element["text"] for element in Read(text)("pre") if element.get("id") == "again")


def test_the_page_says_how_to_have_it_again(pages, folders):
    options = study_again(told_again(pages["variance"]))
    assert options.pop("kind") == "variance"
    assert {"kind": "variance", **resolve(**options).as_toml()} == Results(folders["variance"]).study
    study = study_again(told_again(pages["train"]))
    assert Study(**study).compare["init"] == made.LEVELS["init"]


def test_provenance_is_told(pages):
    for told in ("364ad5a3c0ffee00364ad5a3c0ffee00364ad5a3, with changes that were not committed", "CPU, 2 threads",
                 "torch 2.14.1", "2026-11-25T15:43:17+00:00", "@software{initbench"):  # fmt: skip
        assert told in pages["train"]


def test_several_folders_make_one_page(folders):
    text = page.html(folders["variance"], folders["train"], title="Both")
    read = Read(text)
    assert [element["text"] for element in read("h1")] == ["Both"]
    ids = [element["id"] for element in read.elements if "id" in element]
    assert len(ids) == len(set(ids))
    assert text.count('class="lead"') == 2


def test_parts_of_one_kind_share_a_table(tmp_path):
    for width in (16, 32):
        made.training(tmp_path / "s" / f"width_{width}", **{**made.FEW, "lr": [0.1]})
    read = Read(page.html(tmp_path / "s"))
    payloads = [json.loads(e["text"]) for e in read("script") if e.get("type") == "application/json"]
    assert len(payloads) == 1
    assert next(c for c in payloads[0]["columns"] if c["title"] == "part")["levels"] == ["width_16", "width_32"]


def test_defaults_that_all_parts_share_are_told_once(tmp_path):
    same = {**made.FEW, "lr": [0.1], "init": ["he_normal"]}
    parts = {name: Results(made.training(tmp_path / name, **same)) for name in ("one", "other")}
    every, *rests = caveats.of_parts(parts)
    assert every.rows == [("Held fixed, by default", "dataset digits; loss cross_entropy; steps 200")]
    assert [one.title for one in rests] == ["Part one", "Part other"]
    assert not any("by default" in heading for one in rests for heading, _ in one.rows)


def test_figures_of_a_part_say_which(tmp_path):
    for width in (16, 32):
        made.training(tmp_path / "s" / f"width_{width}", **{**made.FEW, "lr": [0.1], "activation": ["relu"]})
    headings = [element["text"] for element in Read(page.html(tmp_path / "s"))("h3")]
    assert {"width_16: Test accuracy of all runs, by factor", "width_32: Test accuracy of all runs, by factor"} <= {
        *headings
    }


def test_report_writes_a_file(folders, tmp_path):
    done = CliRunner().invoke(main, ["report", str(folders["phase"]), "--reports", str(tmp_path / "r")])
    assert (done.exit_code, done.output) == (0, f"Report:  {tmp_path / 'r' / 'phase' / 'report.html'}\n")
    done = CliRunner().invoke(main, ["report", str(folders["phase"]), "--out", str(tmp_path / "mine.html")])
    assert done.exit_code == 0
    assert (tmp_path / "mine.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_folder_that_holds_no_results_is_told_in_one_line(tmp_path):
    done = CliRunner().invoke(main, ["report", str(tmp_path), "--reports", str(tmp_path / "r")])
    assert done.exit_code == 2
    assert done.stderr == f"Error: {tmp_path} holds no results: there is no manifest.json\n"
    assert not (tmp_path / "r").exists()


def test_a_page_needs_no_torch(folders, tmp_path):
    code = f"""
from initbench.cli import main
main(["report", {str(folders["train"])!r}, "--out", {str(tmp_path / "page.html")!r}])
"""
    without_torch.run(code, capture_output=True)
    assert (tmp_path / "page.html").exists()


STUDY = """
question = "Does <em>he</em> keep the signal?"
source = "He et al. 2015"
caveats = ["Small."]

[parts.signal]
kind = "variance"
init = ["he", "xavier"]
activation = "relu"
depth = 4
width = 32
seeds = 10
batch = 8

[[expect]]
claim = "Xavier loses half in each layer"
part = "signal"
measure = "growth(of=z_second_moment)"
where = { init = "xavier" }
below = 0.9

[[figure]]
name = "forward"
title = "Xavier shrinks"
part = "signal"
measure = "each(of=z_second_moment)"
x = "layer"
hue = "init"
"""


def test_a_study_file_is_told_with_its_outcomes(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY, encoding="utf-8")
    out, reports = tmp_path / "out", tmp_path / "reports"
    run = ["run", str(tmp_path / "small.toml"), "--out", str(out), "--reports", str(reports)]
    done = CliRunner().invoke(main, run, catch_exceptions=False)
    assert done.exit_code == 0
    text = page.html(out).replace("\N{NO-BREAK SPACE}", " ")
    read = Read(text)
    outcome = pd.read_csv(reports / "out" / "expectations.csv").iloc[0]
    assert [element["text"] for element in read("h1")] == ["Does <em>he</em> keep the signal?"]
    assert outcome["outcome"] == "held"
    assert "1 of 1 held" in text
    assert (
        f"{outcome['estimate']:.4g} (95 % interval {outcome['low']:.4g} to {outcome['high']:.4g}, n = 10 seeds)" in text
    )
    assert [element["text"] for element in read("h3") if element["text"] == "Xavier shrinks"]
    link = next(element for element in read("a") if element.get("download") == "forward.csv")
    assert base64.b64decode(link["href"].partition("base64,")[2]) == (reports / "out" / "forward.csv").read_bytes()
    assert study_again(told_again(text)) == tomllib.loads(STUDY)
    assert (reports / "out" / "report.html").exists()


def test_a_page_is_the_same_from_a_package_in_a_zip(tmp_path):
    package, results = Path(page.__file__).parents[2], Path(__file__).parent / "assets" / "results-0.1.0" / "train"
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        for path in package.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                packed.write(path, path.relative_to(package.parent))
    call = "import initbench; from initbench.cli import main; print(initbench.__file__); main()"
    place = str(tmp_path / "packed.zip")
    done = subprocess.run([sys.executable, "-c", call, "report", results, "--out", "packed.html"], cwd=tmp_path,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": place})  # fmt: skip
    assert (done.returncode, done.stdout.startswith(place)) == (0, True), done.stderr
    (tmp_path / "here.html").write_text(page.html(results), encoding="utf-8")
    packed, here = (re.sub(r"[-0-9T:+]{19,}", "", path.read_text(encoding="utf-8"))
                    for path in (tmp_path / "packed.html", tmp_path / "here.html"))  # fmt: skip
    assert packed == here
