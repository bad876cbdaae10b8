"""`initbench probe`: any network by name, a table, a diagnosis, the code that repairs; one line for what cannot be."""

import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import initbench as ib
from initbench.cli import main
from initbench.engine.probe.targets import draw_batch

NETWORKS = """
import torch
from torch import nn
from neighbour import WIDTH

def build():
    return nn.Sequential(*(part for _ in range(12) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())))

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(50, 8), nn.Linear(8, 50)

    def forward(self, tokens):
        return self.head(self.table(tokens))

made = build().eval()
number = 3

def broken():
    raise ValueError("no such\\nweights")
"""
SHAPE = ["--input-shape", "64", "--batch", "16"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call the program in a folder with networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("nets.py").write_text(NETWORKS)
    Path("neighbour.py").write_text("WIDTH = 64")
    return lambda *arguments: CliRunner().invoke(main, ["probe", *map(str, arguments)])


def test_a_table_and_the_diagnosis(run):
    done = run("nets.py:build", *SHAPE)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["module", "kind", "fan_in", "activation"]
    assert len(lines[1:13]) == 12
    assert lines[13] == ""
    assert lines[15].startswith("Backward: vanishing from '14' on; gradient² ×0.1")
    assert "Var(w) = 2/fan_in before relu would keep it." in lines[15]


@pytest.mark.parametrize("target", ["nets.py:made", "nets:build"])
def test_other_ways_to_name_a_network(run, target):
    assert run(target, *SHAPE).exit_code == 0


def test_check_fails_where_the_signal_is_lost_and_holds_where_an_initializer_keeps_it(run):
    assert run("nets.py:build", *SHAPE, "--check").exit_code == 3
    for option in ("--init", "--apply"):
        assert run("nets.py:build", *SHAPE, "--check", option, "he_normal", "--seeds", 3).exit_code == 0


def test_the_code_that_it_suggests_repairs(run):
    done = run("nets.py:build", *SHAPE, "--suggest")
    assert done.stderr.startswith("Forward: ")
    namespace = {}
    exec(done.stdout, namespace)
    module = nn.Sequential(*(part for _ in range(12) for part in (nn.Linear(64, 64), nn.ReLU())))
    torch.manual_seed(0)
    namespace["initialize"](module)
    assert ib.probe(module, draw_batch((64,), 16)).stable


@pytest.mark.parametrize("form", ["csv", "json"])
def test_csv_and_json_have_standard_output_to_themselves(run, form):
    done = run("nets.py:build", *SHAPE, "--format", form, "--seeds", 2)
    frame = pd.read_csv(io.StringIO(done.stdout)) if form == "csv" else pd.DataFrame(json.loads(done.stdout))
    assert len(frame) == 2 * 12
    assert done.stderr.startswith("Forward: ")


def test_it_builds_the_same_every_time(run):
    first = run("nets.py:build", *SHAPE, "--format", "csv")
    torch.randn(3)
    assert run("nets.py:build", *SHAPE, "--format", "csv").stdout == first.stdout


def test_tokens_and_names(run):
    done = run("nets.py:Tokens", "--input-shape", 7, "--input-kind", "tokens", "--vocabulary", 50, "--filter", "h*")
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()[:2]] == ["module", "head"]


def test_out_holds_the_tables_and_the_code(run):
    assert run("nets.py:build", *SHAPE, "--out", "found").exit_code == 0
    assert {path.name for path in Path("found").iterdir()} == {"probe.parquet", "diagnosis.parquet", "initialize.py"}
    assert len(pd.read_parquet("found/probe.parquet")) == 12
    assert pd.read_parquet("found/diagnosis.parquet").direction.tolist() == ["forward", "backward"]


@pytest.mark.parametrize(("more", "name"), [
    ([], "initialize.py"),
    (["--apply", "he"], "probe.parquet"),
    (["--widths", "8,16"], "coordinate_check.png"),
])  # fmt: skip
def test_an_out_that_cannot_be_written_is_told_before_the_work(run, monkeypatch, more, name):
    monkeypatch.setattr("initbench.engine.probe.targets._parts", lambda _: pytest.fail("worked in vain"))
    Path("found", name).mkdir(parents=True)
    for place, why in {"found": "Is a directory", "nets.py/found": "Not a directory"}.items():
        done = run("nets.py:build", *SHAPE, "--out", place, *more)
        assert done.stderr == f"Error: cannot write to {place}: {why}; give another folder\n"
        assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize(("arguments", "message"), [
    (["torchvision:resnet19", *SHAPE], "torchvision has no model 'resnet19'; did you mean 'resnet18' or 'resnet152'?"),
    (["resnet18", *SHAPE], "cannot read 'resnet18'; write torchvision:NAME, FILE.py:NAME or package.module:NAME"),
    (["nets.py:biuld", *SHAPE], "nets.py has no 'biuld'; did you mean 'build'?"),
    (["gone.py:build", *SHAPE], "there is no file gone.py"),
    (["no.such:build", *SHAPE], "there is no module 'no'; write torchvision:NAME, FILE.py:NAME or package.module:NAME"),
    (["nets.py:number", *SHAPE], "nets.py:number is no torch.nn.Module and returns none, but int"),
    (["nets.py:broken", *SHAPE], "nets.py:broken: ValueError: no such"),
    (["nets.py:build", "--input-shape", "0"], "every size of an input is at least 1, not 0"),
    (["nets.py:build", *SHAPE, "--batch", "0"], "batch must be at least 1, not 0"),
    (["nets.py:build", *SHAPE, "--seeds", "-1"], "seeds must be from 0 to 1,000,000, not -1"),
    (["nets.py:build", *SHAPE, "--init", "hee"], "unknown initializer 'hee'; did you mean 'he'?"),
    (["nets.py:build", *SHAPE, "--filter", "x*"], "no layer is called x*; accepted: 0, 2, 4, 6, 8, 10, 12, 14, 16, 18,"
                                                  " 20, 22"),
    (["nets.py:build", *SHAPE, "--suggest", "--format", "csv"], "--suggest prints code: leave out --format"),
    (["nets.py:build"], "Missing option '--input-shape'."),
    (["gone.py:build"], "there is no file gone.py"),
    (["gone.py:build", "--widths", "8,16"], "there is no file gone.py"),
    (["nets.py:build", "--widths", "8,16"], "Missing option '--input-shape'."),
])  # fmt: skip
def test_what_cannot_be_gets_one_line(run, arguments, message):
    done = run(*arguments)
    assert (done.stderr, done.stdout, done.exit_code) == (f"Error: {message}\n", "", 2)


def test_an_input_that_does_not_fit_is_the_works_failure(run):
    done = run("nets.py:build", "--input-shape", 63)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: the module does not take this input: RuntimeError: mat1 and mat2 shapes")
    assert done.stderr.count("\n") == 1
