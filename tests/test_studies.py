"""Study files of several parts: run, resumed, judged, drawn; bad ones told in one line."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import initbench as ib
from initbench import studies
from initbench.analysis.measures import MEASURES
from initbench.analysis.results import Results
from initbench.cli import main
from initbench.core.errors import UsageError
from initbench.grid.study import read_study
from initbench.kinds import Where

STUDY = """
question = "Does He keep what Xavier loses?"
caveats = ["Small networks."]

[parts.signal]
kind = "variance"
init = ["he", "xavier"]
activation = "relu"
depth = 8
width = 64
batch = 16
seeds = 4
full = { seeds = 6 }

[parts.training]
compare = { init = ["he", "zeros"] }
fix = { depth = 1, width = 8, steps = 20, record_every = 10, activation = "tanh" }
seeds = 3

[[expect]]
claim = "Xavier halves"
part = "signal"
measure = "growth"
where = { init = "xavier" }
between = [0.4, 0.6]

[[expect]]
claim = "and is less than He"
part = "signal"
measure = "level(of=z_second_moment)"
where = { init = "xavier" }
versus = { init = "he" }
below = 0.1

[[expect]]
claim = "Zeros never learn anything"
part = "training"
measure = "final"
where = { init = "zeros" }
above = 0.9

[[expect]]
claim = "Zeros stay equal"
part = "training"
table = "layer_curves"
measure = "at(of=distinct_units, layer=1)"
where = { init = "zeros" }
below = 1.5

[[figure]]
name = "profile"
part = "signal"
measure = "each(of=z_second_moment)"
x = "layer"
hue = "init"
law = "mean_field"

[[figure]]
name = "curves"
part = "training"
table = "curves"
measure = "each(of=train_loss, log=false)"
x = "step"
hue = "init"
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(STUDY, encoding="utf-8")
    return lambda *arguments: CliRunner().invoke(main, ["run", *arguments])


def test_a_study_says_what_held(run, monkeypatch):
    done = run("small.toml")
    assert done.exit_code == 0, done.output
    table = pd.read_csv("reports/small/expectations.csv").set_index("claim")["outcome"]
    assert dict(table) == {"Xavier halves": "held", "and is less than He": "held",
                           "Zeros never learn anything": "not held", "Zeros stay equal": "held"}  # fmt: skip
    assert "3 of 4 expectations held; not held: Zeros never learn anything" in done.stdout
    told = Path("reports/small/report.md").read_text(encoding="utf-8")
    assert all(
        word in told for word in ("# Does He keep", "Small networks.", "profile.png", "widths 64 (9 times)", "seeds 3")
    )
    # the same command again computes nothing
    monkeypatch.setattr("initbench.grid.run.measure", lambda *_: pytest.fail("computed again"))
    assert run("small.toml").stdout == done.stdout
    assert run("small.toml", "--check").exit_code == 3


def test_figures_show_measurement_and_theory_of_the_same_measure(run):
    run("small.toml")
    drawn = pd.read_csv("reports/small/profile.csv")
    layers = ib.load("results/small/signal").layers
    here = layers[(layers.init == "he_normal") & (layers.layer == 5)].z_second_moment
    row = drawn[(drawn.hue == "he_normal") & (drawn.x == 5)].set_index("source")
    # the geometric mean over the seeds, and what mean field says: 2 E[x²] in every layer
    assert row.estimate["measured"] == pytest.approx(float(here.product()) ** (1 / 4))
    assert row.estimate["mean_field"] == pytest.approx(2, rel=0.01)
    curves = pd.read_csv("reports/small/curves.csv")
    assert sorted(curves.x.unique()) == [0, 10, 20]


def test_a_dry_run_tells_what_each_part_would_take_and_writes_nothing(run):
    done = run("small.toml", "--dry-run", "--check", "--index", "index.md")
    assert done.exit_code == 0, done.output
    signal, training, cells, trainings, *_ = done.stdout.splitlines()
    assert signal == "small, part signal: variance, which is not estimated"
    assert training == "small, part training: train"
    assert (cells.split(), trainings.split()) == (["cells", "6"], ["trainings", "6", "distinct"])  # 2 by 3 seeds
    assert [path.name for path in Path().iterdir()] == ["small.toml"]
    Path("bad.toml").write_text(STUDY.replace("steps = 20", "stepz = 20"), encoding="utf-8")
    assert "unknown factor 'stepz'" in run("bad.toml", "--dry-run").stderr


def test_full_changes_what_it_names(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY, encoding="utf-8")
    quick, full = (studies.read(tmp_path / "small.toml", full).parts["signal"] for full in (False, True))
    assert (quick["seeds"], full["seeds"]) == (4, 6)
    assert quick["depth"] == full["depth"]


def test_a_part_is_like_one_above_but_for_what_it_says(tmp_path):
    path = tmp_path / "alike.toml"
    path.write_text(STUDY.replace("[[expect]]", """[parts.deep]
like = "training"
compare = { lr = [0.1, 0.01] }
fix = { depth = 3, l2 = 0.1 }
full = { fix = { width = 99 } }

[parts.deeper]
like = "deep"
seeds = 1
fix = { depth = 9 }

[[expect]]""", 1), encoding="utf-8")  # fmt: skip
    training, deep, deeper = (studies.read(path).parts[name] for name in ("training", "deep", "deeper"))
    assert deep["compare"] == {"init": ["he", "zeros"], "lr": [0.1, 0.01]}
    assert deep["fix"] == training["fix"] | {"depth": 3, "l2": 0.1}
    assert deeper == deep | {"seeds": 1, "fix": deep["fix"] | {"depth": 9}}
    assert studies.read(path, full=True).parts["deeper"]["fix"] == deeper["fix"] | {"width": 99}
    path.write_text(STUDY.replace("compare =", 'like = "signals"\ncompare =', 1), encoding="utf-8")
    with pytest.raises(UsageError, match="unknown part above 'training': 'signals'; did you mean 'signal'"):
        studies.read(path)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ('measure = ["growth", "grwth"]', "unknown measure 'grwth'; did you mean 'growth'?"),
        ("measure = []", "figure relation: measure names none"),
        (
            'measure = ["growth", "growth(of=grad_z_second_moment)"]\npanel = "init"',
            "with several measures there is no panel, y or alike",
        ),
    ],
)
def test_a_figure_that_cannot_be_is_told_before_anything_is_done(tmp_path, told, message):
    path = tmp_path / "one.toml"
    path.write_text(f'kind = "variance"\ninit = "he"\n[[figure]]\nx = "layer"\n{told}\n')
    with pytest.raises(UsageError, match=re.escape(message)):
        studies.read(path)


@pytest.mark.parametrize("told", ['weight_variances = "12"', "bias_variances = []", "weight_variances = [true, []]"])
def test_variances_of_phases_are_lists_of_numbers(tmp_path, monkeypatch, told):
    monkeypatch.chdir(tmp_path)
    Path("map.toml").write_text(f'kind = "phase"\nactivation = "tanh"\n{told}\n')
    done = CliRunner().invoke(main, ["run", "map.toml"])
    assert done.exit_code == 2
    assert "weight_variances and bias_variances are lists of numbers" in done.stderr
    assert not Path("results").exists()


def test_measures_of_all_layers_are_missing_where_a_layer_is():
    """Of a trained network the output is none of the layers whose activations are known."""
    lost = pd.DataFrame({"layer": [1, 2, 3], "q": [1.0, 5.0, np.nan]})
    for name, known in {"largest": 5.0, "smallest": 1.0, "average": 3.0}.items():
        value = MEASURES.make(f"{name}(of=q)").value
        assert np.isnan(value(lost))
        assert value(lost[:2]) == known
        assert value(lost.assign(step=7)) == known
        assert np.isnan(value(lost.assign(step=7, q=[np.nan, 5.0, 1.0])))


def test_parameters_of_specs_are_factors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("scale.toml").write_text(
        'kind = "variance"\ninit = ["normal", "normal(std=0.1)", "uniform(bound=0.1)"]\nactivation = "tanh"\n'
        "depth = 2\n"
        'width = 8\nbatch = 4\nseeds = 2\n[[figure]]\nmeasure = "largest(of=saturated_fraction)"\nx = "init.std"\n'
        'where = { init = ["normal(std=1.0)", "normal(std=0.1)"] }\nhue = "init.name"\n'
    )
    assert CliRunner().invoke(main, ["run", "scale.toml"]).exit_code == 0
    drawn = pd.read_csv("reports/scale/relation.csv")
    assert sorted(drawn.x) == [0.1, 1.0]  # the default too
    assert set(drawn.hue) == {"normal"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('part = "signal"', 'part = "singal"', "Xavier halves: there is no part 'singal'; did you mean 'signal'?"),
        ('measure = "growth"', 'measure = "grwth"', "unknown measure 'grwth'; did you mean 'growth'?"),
        ('init = "xavier"', 'init = "xaver"', "unknown initializer 'xaver'"),
        ("depth = 8", "depht = 8", "part signal: unknown key 'depht'; did you mean 'depth'?"),
        (
            'where = { init = "xavier" }',
            'where = { inti = "xavier" }',
            "no factor is called 'inti'; did you mean 'init'?",
        ),
        ("fix = { depth = 1, width = 8", "fix = 3 #", "which need record_every"),
        ("record_every = 10, ", "", "layer=1)' is read from layer_curves, which need record_every"),
        (
            "full = { seeds",
            "full = { widht = 9, seeds",
            "unknown key of full in part signal: 'widht'; did you mean 'width'",
        ),
        ("[[expect]]", "[[expects]]", "unknown key 'expects'; did you mean 'expect'"),
        ("between = [0.4, 0.6]", "between = [0.6, 0.4]", "give above, below, or between"),
    ],
)
def test_a_bad_study_gets_one_line_and_does_nothing(run, old, new, message):
    Path("small.toml").write_text(STUDY.replace(old, new, 1), encoding="utf-8")
    done = run("small.toml")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert done.stderr.startswith("Error: small.toml: ")
    assert message in done.stderr
    assert not Path("results").exists()


def test_studies_are_listed_with_their_questions_and_outcomes(run, tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    Path("small.toml").rename(folder / "small.toml")
    (folder / "other.toml").write_text('question = "Another?"\nkind = "variance"\ndepth = 2\n', encoding="utf-8")
    assert run("studies/small.toml", "--index=studies/README.md", "--no-figures").exit_code == 0
    told = (folder / "README.md").read_text(encoding="utf-8")
    for text in ("## other", "Another?", "**3 of 4 expectations held", "| Xavier halves | held |",
                 "**Of 4 expectations 3 held, 1 did not, and 0 are undecided.**",
                 "Not run here: `initbench run studies/other.toml`."):  # fmt: skip
        assert text in told
    Path("results/other").mkdir(parents=True)
    Path("results/other/mine.txt").touch()
    several = run("studies/other.toml", "studies/small.toml", "--index=studies/README.md", "--no-figures")
    assert several.exit_code == 2
    assert "Error: other: results/other holds something else than results" in several.output
    assert "**3 of 4 expectations held" in (folder / "README.md").read_text(encoding="utf-8")
    listed = CliRunner().invoke(main, ["list", "studies", "--format=csv"])
    assert listed.stdout.splitlines()[1:] == ["other,Another?,,0", "small,Does He keep what Xavier loses?,,4"]


KINDS = """
[parts.spectra]
kind = "jacobian"
init = ["orthogonal", "xavier"]
activation = "linear"
depth = 3
width = 16
batch = 4
seeds = 3
spectrum = true

[parts.theory]
kind = "phase"
activation = "tanh"
weight_variances = [1.2, 1.5, 2.0, 3.0]
bias_variances = [0.05]

[parts.trained]
fix = { activation = "tanh", width = 8, steps = 5, bias_variance = 0.05 }
seeds = 2
[parts.trained.compare]
init = ["variance_scaling(scale=1.2)", "variance_scaling(scale=2)", "variance_scaling(scale=3)"]
depth = [1, 2, 4]

[[expect]]
claim = "Orthogonal linear networks keep every length"
part = "spectra"
measure = "average(of=condition)"
where = { init = "orthogonal", scope = "network" }
below = 1.001

[[figure]]
name = "map"
part = "trained"
measure = "final"
x = "init.scale"
y = "depth"
over = { part = "theory", table = "phases", x = "weight_variance", y = "xi_c", times = 6 }
"""


def test_jacobians_and_depth_scales_are_parts_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("kinds.toml").write_text(KINDS, encoding="utf-8")
    done = CliRunner().invoke(main, ["run", "kinds.toml"])
    assert done.exit_code == 0, done.output
    assert "1 of 1 expectations held" in done.stdout
    drawn = pd.read_csv("reports/kinds/map.csv")
    assert len(drawn[drawn.source == "measured"]) == 9
    line = drawn[drawn.source == "line"].set_index("x").y
    # tanh at sigma_w² = 1.2, sigma_b² = 0.05 is ordered: c* = 1, xi_c = -1/log chi_1
    scales = ib.load("results/kinds/theory").table("phases").set_index("weight_variance")
    assert line[1.2] == pytest.approx(-6 / math.log(scales.chi_1[1.2]), rel=1e-9)
    Path("kinds.toml").write_text(KINDS.replace("spectrum", "spectrun").replace("xavier", "he"), encoding="utf-8")
    refused = CliRunner().invoke(main, ["run", "kinds.toml"])
    told = "Error: kinds.toml: part spectra: unknown key 'spectrun'; did you mean 'spectrum'?\n"
    assert (refused.exit_code, refused.stderr) == (2, told)


def test_train_grid_takes_a_file_of_one_part_and_names_the_command_for_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("several.toml").write_text(STUDY, encoding="utf-8")
    Path("one.toml").write_text(
        'seeds = 1\nfix = { steps = 3, width = 4 }\n[[expect]]\nclaim = "it ends"\nmeasure = "final"\nabove = -1\n'
    )
    refused = CliRunner().invoke(main, ["train-grid", "several.toml"])
    assert (refused.exit_code, "`initbench run` answers it" in refused.stderr) == (2, True)
    assert CliRunner().invoke(main, ["train-grid", "one.toml", "--no-figures"]).exit_code == 0
    told = CliRunner().invoke(main, ["run", "one.toml", "--out=results/one"])  # the same results
    assert told.exit_code == 0, told.output
    assert "0 of 1 expectations held; undecided: it ends" in told.stdout  # one seed bounds nothing


@pytest.mark.parametrize(("full", "message"), [
    ("{ stpes = 9 }", "unknown key of full: 'stpes'"),
    ("{ fix = { widht = 9 } }", "unknown factor of full: 'widht'; did you mean 'width'?"),
    ("{ kind = 'phase', activation = 'relu', width = 9 }", "unknown key of full: 'width'"),
    ("{ kind = 'landscape', resolution = 9, compare = { ini = ['he'] } }", "unknown factor of full: 'ini'"),
])  # fmt: skip
def test_a_key_of_full_that_is_none_is_told_without_full(tmp_path, full, message):
    path = tmp_path / "small.toml"
    path.write_text(f"full = {full}\n[fix]\ninit = 'he'\n", encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(message)):
        studies.read(path)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "studies").glob("*.toml")), ids=lambda p: p.stem)
@pytest.mark.parametrize("full", [False, True])
def test_every_committed_study_is_readable_and_asks_something(path, full):
    study = studies.read(path, full)
    assert study.question.endswith("?")
    assert all(len(e.claim) > 3 for e in study.expect)


def test_an_input_has_one_colour_in_all_figures_of_normalization():
    """Looks of what is no initializer go by order: parts in one figure and levels of a factor in another."""
    study = studies.read(Path(__file__).parents[1] / "studies" / "normalization.toml")
    places: dict[str, set[int]] = {}
    for figure in study.figure:
        levels = figure.part if figure.hue == "part" else study.parts["tuned"]["compare"]["normalization"]
        for place, level in enumerate(levels):
            places.setdefault(figure.words.get(level, level), set()).add(place)
    assert len(places) == 5
    assert all(len(found) == 1 for found in places.values()), places


@pytest.mark.parametrize("name", ["my study", "Étude", "-a", ".b", "a+b"])
def test_a_study_file_of_training_may_be_called_anything(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_bytes(b"seeds = 1\r\n[fix]\r\nsteps = 1\r\n")
    (work,) = studies.read(path).works(path, Where()).values()
    work(tmp_path / "out", lambda done, of: None)
    assert Results(tmp_path / "out").study["name"] == read_study(path).name
