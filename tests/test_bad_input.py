"""Whatever is typed or stands in a file: one line and an exit code, never a traceback; `make fuzz` tries 100,000."""

import os

import fuzz
import pytest
from click.testing import CliRunner

from initbench.cli import main

INPUTS = {"spec": 6000, "grid": 1000, "study": 500, "expectation": 50, "results": 50, "table": 20, "command": 60}
"""Of each kind: seconds."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    before = os.getcwd()
    with fuzz.limited():
        yield fuzz.Bench(tmp_path_factory.mktemp("fuzz"))
    os.chdir(before)


@pytest.mark.parametrize("kind", INPUTS)
def test_nearly_good_input_is_taken_or_refused_in_one_line(bench, kind):
    tally = fuzz.Tally()
    fuzz.tried(bench, kind, INPUTS[kind], seed=1, tally=tally)
    assert tally.faults == {}
    assert len(tally) >= 0.9 * INPUTS[kind]  # hypothesis stops where there is nothing new
    assert tally.counts[kind]["accepted"] > 0
    assert tally.counts[kind]["refused"] + tally.counts[kind]["work failed"] > 0


@pytest.mark.parametrize(("words", "message"), [
    (["--foo"], "No such option '--foo'."),
    (["predict\nfoo"], "unknown command 'predict\\nfoo'; did you mean 'predict'?"),
    (["predict", "--init", "he\n\x1b[31m"],
     "cannot read the initializer 'he\\n\\x1b[31m'; write name or name(key=value, ...)"),
    (["show", "\u202e\udcff"], "nothing is called '\\u202e\\udcff'; see initbench list KIND"),
    (["variance", "--depth"], "Option '--depth' requires an argument."),
])  # fmt: skip
def test_a_message_is_one_line_that_no_terminal_acts_upon(words, message):
    done = CliRunner().invoke(main, words)
    assert (done.stderr, done.stdout, done.exit_code) == (f"Error: {message}\n", "", 2)


def test_without_words_there_is_the_help():
    done = CliRunner().invoke(main, [])
    assert done.output.startswith("Usage: ")
    assert "Error" not in done.output


def test_memory_that_runs_out_is_told(monkeypatch):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr("initbench.api.predict", greedy)
    done = CliRunner().invoke(main, ["predict"])
    assert (done.stderr, done.exit_code) == ("Error: not enough memory: smaller sizes take less\n", 1)
