"""The commands as a user meets them: whole messages, exit codes, standard output to itself, nothing half-written."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from initbench.analysis import page
from initbench.cli import COMMANDS, main
from initbench.cli.kinds import KINDS, catalogue

SMALL = ["--depth", "4", "--width", "24", "--batch", "8", "--seeds", "2", "--init", "he", "--init", "xavier",
         "--activation", "relu"]  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call the program in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_variance_prints_a_row_a_pairing_and_writes_the_tables(run):
    done = run("variance", *SMALL)
    assert done.exit_code == 0, done.output
    assert [line.split()[:2] for line in done.output.splitlines()[1:3]] == [
        ["he_normal", "relu"],
        ["xavier_normal", "relu"],
    ]
    out = Path("results/variance")
    assert {path.name for path in out.iterdir()} == {
        "layers.parquet", "predictions.parquet", "residuals.parquet", "verdicts.parquet", "histograms.parquet",
        "study.toml", "manifest.json", "parts", ".lock"}  # fmt: skip
    assert len(pd.read_parquet(out / "layers.parquet")) == 2 * 2 * 4
    assert json.loads((out / "manifest.json").read_text())["versions"]["initbench"]
    drawn = [line.split()[1] for line in done.output.splitlines() if line.startswith("Figure:")]
    assert drawn
    assert all(Path(path).stat().st_size > 10_000 and Path(path).with_suffix(".csv").exists() for path in drawn)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_csv_and_json_have_standard_output_to_themselves(run, monkeypatch, form):
    monkeypatch.setattr(page, "write_all", lambda *_: [Path("report.html"), Path("figure.png")])
    done = run("variance", *SMALL, "--format", form)
    read = pd.read_csv if form == "csv" else pd.read_json
    frame = read(io.StringIO(done.stdout))
    assert list(frame.init) == ["he_normal", "xavier_normal"]
    assert done.stderr == ""


def test_predict_is_the_theory_of_the_same_network(run):
    done = run("predict", *SMALL, "--law", "mean_field", "--format", "csv")
    frame = pd.read_csv(io.StringIO(done.stdout))
    assert list(frame[frame.init == "he_normal"].z_second_moment) == pytest.approx([2.0] * 4)
    assert list(frame[frame.init == "xavier_normal"].z_second_moment) == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8])


@pytest.mark.parametrize(("depth", "shown"), [(100, 200), (101, 4)])
def test_predict_prints_the_ends_of_many_rows_and_csv_has_all(run, depth, shown):
    pairings = ["--init=he", "--init=xavier", "--activation=relu", "--law=mean_field", f"--depth={depth}", "--width=8"]
    lines = run("predict", *pairings).stdout.splitlines()
    layers = [int(line.split()[3]) for line in lines if "mean_field" in line]
    assert len(layers) == shown
    assert {1, depth} <= set(layers)
    last = [line for line in lines if line][-1]
    assert (last == "The first and the last layer, of 202 rows (all with --format csv).") == (shown == 4)
    assert len(run("predict", *pairings, "--format=csv").stdout.splitlines()) == 1 + 2 * depth


def test_the_same_command_again_computes_nothing(run, monkeypatch):
    first = run("variance", *SMALL, "--no-figures")
    monkeypatch.setattr("initbench.grid.run.measure", lambda *_: pytest.fail("computed again"))
    before = sorted(path.name for path in Path("results/variance").iterdir())
    assert run("variance", *SMALL, "--no-figures").output == first.output
    assert sorted(path.name for path in Path("results/variance").iterdir()) == before


def test_another_study_replaces_the_results_and_says_so(run):
    run("variance", *SMALL, "--no-figures")
    done = run("variance", *SMALL, "--no-figures", "--bias-variance", 0.1)
    assert done.stderr == "The results of another study in results/variance were replaced.\n"
    assert "bias_variance = 0.1" in Path("results/variance/study.toml").read_text()


def test_an_interrupted_run_goes_on_where_it_stopped(run, monkeypatch):
    from initbench.grid import plan
    from initbench.grid import run as module

    monkeypatch.setattr(plan, "CACHED", 1)  # each seed a part of its own
    whole = run("variance", *SMALL, "--no-figures", "--out", "whole")
    measure, seeds = module.measure, []

    def interrupted(planned, inputs, part, *rest):
        seeds.append(list(part))
        if len(seeds) == 2:
            raise KeyboardInterrupt
        return measure(planned, inputs, part, *rest)

    monkeypatch.setattr(module, "measure", interrupted)
    assert run("variance", *SMALL, "--no-figures", "--out", "broken").exit_code == 1
    assert not Path("broken/layers.parquet").exists()
    assert run("variance", *SMALL, "--no-figures", "--out", "broken").exit_code == 0
    assert seeds == [[0], [1], [1]]
    assert whole.exit_code == 0
    pd.testing.assert_frame_equal(pd.read_parquet("whole/layers.parquet"), pd.read_parquet("broken/layers.parquet"))


def test_tapered_networks(run):
    done = run("variance", "--widths", "12,20,8", "--init", "lecun_normal", "--init", "xavier", "--activation", "tanh",
               "--seeds", 1, "--batch", 4, "--no-figures")  # fmt: skip
    assert done.exit_code == 0, done.output
    layers = pd.read_parquet("results/variance/layers.parquet")
    assert list(layers.fan_in) == [12, 20] * 2
    assert list(layers.fan_out) == [20, 8] * 2


def test_an_impossible_pairing_is_a_row_that_says_why(run):
    done = run("variance", "--init", "critical", "--init", "he", "--activation", "softplus", "--depth", 2, "--width", 8,
               "--seeds", 1, "--batch", 4, "--no-figures", "--format", "csv")  # fmt: skip
    words = pd.read_csv(io.StringIO(done.stdout)).set_index("init")
    assert words.word["critical"] == "impossible"
    assert words.cause["critical"].startswith("softplus has no critical weight variance at bias variance 0")
    assert words.word["he_normal"] != "impossible"


BAD = [
    (["--init", "hee"], "unknown initializer 'hee'; did you mean 'he'?"),
    (["--activation", "rellu"], "unknown activation 'rellu'; did you mean 'relu' or 'relu6'?"),
    (["--init", "normal(sdt=1)"], "initializer 'normal(sdt=1)': got an unexpected keyword argument 'sdt'; it is written"
                                  " normal(std=1); did you mean 'std'?"),
    (["--init", "normal(std=-1)"], "normal: std must be 0 or more, not -1"),
    (["--init", "he("], "cannot read the initializer 'he('; write name or name(key=value, ...)"),
    (["--depth", "0"], "depth must be at least 1, not 0"),
    (["--width", "-1"], "width must be at least 1, not -1"),
    (["--seeds", "99999999999"], "seeds must be at most 1,000,000, not 99,999,999,999"),
    (["--normalization", "foo"], "unknown preparation 'foo'; accepted: none, min_max, standardize"),
    (["--activation", "leaky_relu(slope=1e99)"], "leaky_relu: slope must be at most 1e+06, not 1e+99"),
    (["--seeds", "0"], "seeds must be at least 1, not 0"),
    (["--batch", "0"], "batch must be at least 1, not 0"),
    (["--bias-variance", "-0.1"], "bias variance must be 0 or more, not -0.1"),
    (["--bias-variance", "nan"], "bias variance must be 0 or more, not nan"),
    (["--widths", "5"], "widths need at least two numbers: the input's and one hidden layer's"),
    (["--widths", "5,0"], "every width must be at least 1, not 0"),
    (["--widths", "5,5", "--width", "5"], "give --width or --widths, not both"),
    (["--widths", "5,5", "--depth", "2"], "2 widths make 1 hidden layers, not the depth 2 that was given"),
    (["--widths", "63,5", "--input", "digits"], "the first width is the input's: the data has 64 features, not 63"),
    (["--input", "digitz"], "unknown input 'digitz'; did you mean 'digits'?"),
    (["--input-cosine", "2"], "the input's cosine must be from 0 to 1, not 2"),
    (["--input", "digits", "--input-cosine", "0.5"],
     "the input 'digits' has a second moment and a cosine of its own; choose them for gaussian"),
    (["--input", "digits", "--batch", "5000"], "a batch of 5000 is more than the 1437 inputs of the data set"),
    (["--device", "tpu"], "unknown device 'tpu'; accepted: auto, cpu, cuda, cuda:N"),
    (["--device", "mps"], "device 'mps' is not supported; accepted: auto, cpu, cuda, cuda:N"),
    (["--init", "critical", "--activation", "softplus"],
     "softplus has no critical weight variance at bias variance 0: wherever chi_1 = 1, E[z²] grows from layer to layer"
     " and has no fixed point"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"), BAD, ids=lambda part: " ".join(part) if isinstance(part, list) else ""
)
def test_bad_input_gets_one_line_and_writes_nothing(run, tmp_path, arguments, message):
    done = run("variance", *arguments)
    assert (done.stderr, done.stdout, done.exit_code) == (f"Error: {message}\n", "", 2)
    assert list(tmp_path.iterdir()) == []


def test_too_large_a_network_is_refused_before_memory_is(run, tmp_path):
    done = run("variance", "--width", 10**6)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: a network of these widths needs about 1.49e+05 GiB")
    assert list(tmp_path.iterdir()) == []


def test_cuda_without_cuda(run):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = run("variance", *SMALL, "--device", "cuda")
    assert done.stderr == "Error: device 'cuda' is not here: torch sees no CUDA devices; try --device cpu\n"
    assert done.exit_code == 2


def test_a_missing_data_file_is_named(run, tmp_path):
    done = run("variance", "--input", "fashion_mnist", "--data-root", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "nowhere" in done.stderr
    assert "--download" in done.stderr
    assert run("variance", "--input", "fashion_mnist").exit_code == 2
    assert not Path("results").exists()


def test_an_unwritable_folder_is_told_before_the_work(run, monkeypatch):
    monkeypatch.setattr("initbench.grid.run.measure", lambda *_: pytest.fail("worked in vain"))
    Path("file").write_text("")
    done = run("variance", *SMALL, "--out", "file/out")
    assert done.exit_code == 2
    assert done.stderr == "Error: cannot write to file/out: Not a directory; give another folder\n"


def test_a_folder_of_something_else_is_left_alone(run):
    Path("photos").mkdir()
    Path("photos/cat.png").write_text("cat")
    done = run("variance", *SMALL, "--out", "photos")
    assert done.stderr == "Error: photos holds something else than results; give another folder with --out\n"
    assert done.exit_code == 2
    assert [path.name for path in Path("photos").iterdir()] == ["cat.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_list_and_show_know_every_entry(run, kind):
    listed = run("list", kind, "--format", "json")
    names = [row["name"] for row in json.loads(listed.stdout)]
    assert names == [entry.name for entry in catalogue(kind)]
    for entry in catalogue(kind):
        shown = run("show", entry.name)
        assert shown.exit_code == 0, shown.output
        assert entry.summary in shown.output
        assert entry.formula in shown.output


def test_show_tells_the_gains_apart(run):
    shown = run("show", "tanh").output
    for number in ("1.666666667", "1.59253742", "1.467413592"):
        assert number in shown
    assert "2·fan_in/(fan_in + fan_out)" in run("show", "he_fan_avg_normal").output
    assert "0.05" in run("show", "dead_fraction").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["varience"], "unknown command 'varience'; did you mean 'variance'?"),
        (["variance", "--format", "xml"], "Invalid value for '--format': 'xml' is not one of 'table', 'csv', 'json'."),
        (["variance", "--depth", "deep"], "Invalid value for '--depth': 'deep' is not a valid integer."),
        (
            ["variance", "--widths", "5,x"],
            "Invalid value for '--widths': '5,x' is not a list of whole numbers between commas, such as 784,512,256",
        ),
        (["list"], "Missing argument 'KIND'."),
    ],
)
def test_a_bad_command_line_gets_one_line(run, arguments, message):
    done = run(*arguments)
    assert (done.stderr, done.stdout, done.exit_code) == (f"Error: {message}\n", "", 2)


def test_a_misspelt_option_gets_the_closest(run):
    done = run("variance", "--dpeth", 3)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "--depth" in done.stderr


def test_a_reports_folder_that_cannot_be_written_is_told_before_the_work(run):
    Path("file").write_text("")
    done = run("variance", *SMALL, "--reports", "file")
    assert done.stderr == "Error: cannot write to file/variance: Not a directory; give another folder\n"
    assert not Path("results").exists()


@pytest.mark.parametrize("arguments", [["predict", "--depth", "2"], ["status", "results"], ["report", "results"]])
def test_a_current_folder_that_was_removed_is_one_line(run, tmp_path, monkeypatch, arguments):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: the current folder was removed; change to another\n"


def test_unknown_names(run):
    assert run("show", "rellu").stderr == "Error: nothing is called 'rellu'; did you mean 'relu' or 'relu6'?\n"
    assert run("show", "qqq").stderr == "Error: nothing is called 'qqq'; see initbench list KIND\n"
    assert run("list", "initialisers").stderr == ("Error: unknown kind 'initialisers'; did you mean 'initializers'?\n")


def test_every_command_has_help(run):
    assert all(run(command, "--help").exit_code == 0 for command in COMMANDS)


def test_names_complete():
    asked = {"_INITBENCH_COMPLETE": "bash_complete", "COMP_CWORD": "3", "COMP_WORDS": "initbench variance --init xav"}
    done = subprocess.run([Path(sys.executable).parent / "initbench"], env={**os.environ, **asked},
                          capture_output=True, text=True)  # fmt: skip
    assert "xavier_normal" in done.stdout
    asked["COMP_WORDS"] = "initbench variance --input fas"
    assert "fashion_mnist" in CliRunner().invoke(main, prog_name="initbench", env=asked).stdout


def test_a_terminal_without_greek_gets_a_table(tmp_path):
    done = subprocess.run([sys.executable, "-m", "initbench", "variance", *SMALL, "--no-figures"], cwd=tmp_path,
                          env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "xavier_normal" in done.stdout


def test_figures_come_in_the_formats_asked_for(run):
    asked = ["--figure-format", "pdf", "--figure-format", "svg"]
    told = run("variance", *SMALL, *asked).output
    drawn = sorted(Path("reports/variance").glob("growth_heatmap.*"))
    assert [path.suffix for path in drawn] == [".csv", ".pdf", ".svg"]
    assert "Figure:  reports/variance/growth_heatmap.pdf" in told
    assert run("variance", *SMALL, "--figure-format", "gif").exit_code == 2


def test_run_answers_a_study_of_propagation_as_variance_left_it(run):
    done = run("variance", *SMALL, "--no-figures")
    assert run("run", "results/variance/study.toml", "--out=results/again", "--no-figures").exit_code == 0
    for table in ("layers", "verdicts"):
        ours, theirs = (pd.read_parquet(f"results/{name}/{table}.parquet") for name in ("variance", "again"))
        pd.testing.assert_frame_equal(ours, theirs)
    assert done.exit_code == 0
    Path("bad.toml").write_text('kind = "variance"\ndepht = 3')
    bad = run("run", "bad.toml", "--out=results/bad")
    assert (bad.exit_code, bad.stderr) == (2, "Error: bad.toml: unknown key 'depht'; did you mean 'depth'?\n")


def test_run_trains_a_study_of_training(run):
    Path("small.toml").write_text("""
        question = "Does it train?"
        [compare]
        init = ["xavier", "he"]
        [fix]
        dataset = "digits"
        steps = 3
        width = 8
    """)
    done = run("run", "small.toml", "--no-figures")
    assert done.exit_code == 0, done.output
    assert pd.read_parquet("results/small/runs.parquet").status.tolist() == ["finished", "finished"]
