"""What `list` and `show` print: true, aligned, and to whoever reads it."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from initbench.cli import main


def shown(name):
    return CliRunner().invoke(main, ["show", name]).output.splitlines()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("relu", "  critical   2 = fan_in·Var(w), at any q: E[z²] stays"),
        ("tanh", "  critical   1 = fan_in·Var(w), at q* = 0, attracting"),
        ("gelu", "  critical   4 = fan_in·Var(w), at q* = 0, repelling"),
    ],
)
def test_show_says_where_a_variance_is_critical(name, line):
    assert shown(name)[-1] == line


def test_gains_stand_below_each_other():
    torch_gain, moment, backward = (line for line in shown("tanh") if line.startswith("    "))
    assert [line.index(number) for line, number in ((torch_gain, "1.66"), (moment, "1.59"), (backward, "1.46"))] == [
        13, 13, 13]  # fmt: skip
    assert torch_gain.index("torch.nn") == moment.index("1/sqrt") == backward.index("1/sqrt")


@pytest.mark.parametrize("arguments", [("list", "initializers"), ("show", "relu"), ("predict", "--init", "he_normal")])
def test_a_reader_may_leave(arguments):
    command = subprocess.Popen([sys.executable, "-m", "initbench", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    command.stdout.close()
    assert (command.stderr.read(), command.wait()) == (b"", 0)
    command.stderr.close()
