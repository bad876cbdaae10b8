"""What bad input is tried on: small results and files in a folder, and what is asked of each input."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bad_inputs
import pandas as pd
from bad_inputs import COMMANDS, any_spec, changed, command_lines, jsons, shipped, toml
from click.testing import CliRunner
from hypothesis import strategies as st

from initbench import studies
from initbench.analysis.results import Results
from initbench.cli import main
from initbench.cli.kinds import KINDS, catalogue
from initbench.core.errors import InitbenchError, UsageError
from initbench.grid.study import read_study, resolve
from initbench.kinds import Where

Trial = Callable[[Any], str]
"""Gives the outcome of one input; what it raises is a fault."""
REFUSED = {InitbenchError.exit_code: "work failed", UsageError.exit_code: "refused"}

FOLDER_OF_RESULTS = """
question = "Is there a signal?"
[parts.signal]
kind = "variance"
init = ["he", "normal(std=0.1)"]
activation = ["relu", "tanh"]
depth = 3
width = 4
batch = 3
seeds = 2
[parts.training]
compare = { init = ["he", "zeros"], lr = [0.1, 0.01] }
fix = { depth = 1, width = 3, steps = 4, record_every = 2, dataset = "copies" }
seeds = 2
[parts.jacobian]
kind = "jacobian"
init = "he"
activation = "relu"
depth = 2
width = 4
batch = 3
seeds = 2
[parts.phases]
kind = "phase"
activation = "tanh"
weight_variances = [1.5, 2.0]
[[expect]]
claim = "He keeps it"
part = "signal"
measure = "growth(of=z_second_moment)"
where = { init = "he" }
versus = { init = "normal(std=0.1)" }
above = 0.1
[[expect]]
claim = "It learns"
part = "training"
measure = "final"
against = "lr"
where = { init = "he" }
between = [-1.0, 2.0]
[[figure]]
name = "lines"
part = "signal"
measure = "each(of=z_second_moment)"
x = "layer"
hue = "init"
panel = "activation"
law = "mean_field"
[[figure]]
name = "map"
part = ["training"]
measure = "final"
x = "init.name"
y = "lr"
words = { lr = "rate" }
"""
MODULE = "import torch\ndef net(): return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())\nword = 3\n"
PLUGIN = "import initbench as ib, torch\n@ib.activation\ndef mine(z): return torch.tanh(z)\n"


SLOW = ("run", "probe", "test-plugin", "verify", "reproduce")
"""Commands that compute for a second: tried less often."""


class FaultyError(Exception):
    """An outcome that must not be, told in a word."""


class Bench:
    """A folder with small results and files, and the trials that are made in it."""

    def __init__(self, folder: Path) -> None:
        """Fills `folder`, and goes there."""
        os.chdir(folder)
        Path("study.toml").write_text(FOLDER_OF_RESULTS, encoding="utf-8")
        Path("net.py").write_text(MODULE, encoding="utf-8")
        Path("plugin.py").write_text(PLUGIN, encoding="utf-8")
        Path("junk.bin").write_bytes(bytes(range(256)))
        done = CliRunner().invoke(main, ["run", "study.toml", "--out=whole", "--no-figures"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        self._inquiry = studies.read(Path("study.toml"))
        self._parts = {part: Results(Path("whole") / part) for part in self._inquiry.parts}
        self._given = Path("given.toml")

    def strategies(self) -> dict[str, st.SearchStrategy[Any]]:
        """What is given, by kind."""
        documents = shipped()
        told = bad_inputs.tomllib.loads(FOLDER_OF_RESULTS)
        plain = {"seeds": 2, "compare": {"init": ["he", "zeros"], "depth": [1, 2]}, "tune": {"lr": [0.1, 0.01]},
                 "fix": {"activation": "tanh", "l2": 0.1}, "exclude": [{"init": "zeros", "depth": 1}]}  # fmt: skip
        grids = [part for study in documents for part in study.get("parts", {"": study}).values()
                 if "compare" in part or "fix" in part]  # fmt: skip
        asked = {name: told[name] for name in ("expect", "figure")}
        files = ["study.toml", "net.py", "plugin.py", "junk.bin", "net.py:net", "net.py:word", "whole", "whole/signal",
                 "whole/training", "whole/nowhere", "new", "."]  # fmt: skip
        unreported = [name for name in files if "whole" not in name]  # a report takes seconds
        rest = [name for name in COMMANDS if name not in SLOW]
        commands = st.sampled_from(rest * 8 + list(SLOW))
        return {
            "spec": st.sampled_from(list(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), any_spec(kind))),
            "grid": toml([plain, *grids]),
            "study": toml([*documents, told]),
            "expectation": changed(asked),
            "results": st.sampled_from(self._files()).flatmap(lambda name: st.tuples(st.just(name), self._torn(name))),
            "table": st.sampled_from(self._tables()).flatmap(
                lambda name: st.tuples(st.just(name), bad_inputs.damages())
            ),
            "command": commands.flatmap(lambda name: command_lines(name, unreported if name == "report" else files)),
        }

    def _files(self) -> list[str]:
        here = Path("whole")
        return sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.suffix in (".json", ".toml"))

    def _tables(self) -> list[str]:
        here = Path("whole")
        return sorted(str(path.relative_to(here)) for path in here.glob("*/*.parquet"))

    def _torn(self, name: str) -> st.SearchStrategy[bytes]:
        text = (Path("whole") / name).read_text(encoding="utf-8")
        return jsons(json.loads(text)) if name.endswith("json") else toml([bad_inputs.tomllib.loads(text)])

    def trials(self) -> dict[str, Trial]:
        """What is done with what is given, by kind."""
        return {"spec": _spec, "grid": self._grid, "study": self._study, "expectation": self._expectation,
                "results": self._results, "table": self._table, "command": _command}  # fmt: skip

    def _grid(self, content: bytes) -> str:
        self._given.write_bytes(content)
        study = resolve(read_study(self._given))
        again = resolve(study)
        if list(again.cells()) != list(study.cells()):
            raise FaultyError("a study read twice has other cells")
        return "accepted"

    def _study(self, content: bytes) -> str:
        self._given.write_bytes(content)
        for full in (False, True):
            studies.read(self._given, full).works(self._given, Where())
        return "accepted"

    def _expectation(self, asked: dict[str, Any]) -> str:
        told = bad_inputs.tomllib.loads(FOLDER_OF_RESULTS) | asked
        self._given.write_text(bad_inputs.tomli_w.dumps(told), encoding="utf-8")
        inquiry = studies.read(self._given)
        inquiry.outcomes(self._parts)
        for numbers in inquiry.figures(self._parts).values():
            len(numbers)
        return "accepted"

    def _results(self, given: tuple[str, bytes]) -> str:
        name, content = given
        shutil.rmtree("torn", ignore_errors=True)
        shutil.copytree("whole", "torn")
        (Path("torn") / name).write_bytes(content)
        where = str(Path("torn") / Path(name).parent)
        told = [_command(["status", where]), _command(["compare", where, "--by=init"]),
                _command(["export", where, "--to=csv", "--into=exported"])]  # fmt: skip
        return max(told)

    def _table(self, given: tuple[str, bad_inputs.Damage]) -> str:
        name, damage = given
        part = str(Path("torn") / Path(name).parent)
        shutil.rmtree("torn", ignore_errors=True)
        shutil.copytree("whole", "torn")
        damage.done(pd.read_parquet(Path("whole") / name)).to_parquet(Path("torn") / name, index=False)
        shutil.rmtree("joined", ignore_errors=True)
        lines = [["compare", part, "--by=init", "--no-figures"], ["export", part, "--to=csv", "--into=exported"],
                 ["merge", part, str(Path("whole") / Path(name).parent), "--out=joined",
                  "--keep=first"],
                 ["report", part, "--out=page.html"]]  # fmt: skip
        if name.startswith("signal"):
            lines.append(["variance", *bad_inputs.TINY, f"--baseline={part}", "--out=again", "--no-figures"])
        if name.startswith("training"):
            lines += [["verify", part, "--runs=1"], ["reproduce", part, "--runs=1"]]
        return max(_command(lines[number % len(lines)]) for number in (damage.place, damage.place + 1))


def _spec(given: tuple[str, str]) -> str:
    kind, spec = given
    entries = catalogue(kind)
    made = entries.make(spec)
    canonical = entries.canonical(spec)
    if entries.canonical(canonical) != canonical or entries.make(canonical) is not made:
        raise FaultyError(f"the canonical spec {canonical!r} is not its own")
    return "accepted"


def _command(words: list[str]) -> str:
    done = CliRunner().invoke(main, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code not in (0, 1, 2, 3):
        raise FaultyError(f"the exit code {done.exit_code}")
    if done.exit_code in REFUSED:
        told = done.stderr.removesuffix("\n")
        for line in _of_studies(told) if words[0] == "run" else [told]:
            _require_told(line, words)
        if done.stdout:
            raise FaultyError("an error, and something on standard output")
        return REFUSED[done.exit_code]
    return "accepted"


def _of_studies(told: str) -> list[str]:
    """`run` tells each study that cannot be, a line each with its name, and answers the others."""
    lines = told.split("\n")
    if len(lines) > 1 and len({line.split(": ")[1] for line in lines if line.count(": ") > 1}) < len(lines):
        raise FaultyError(f"{len(lines)} lines, not one for each study")
    return lines


def _require_told(message: str, words: list[str]) -> None:
    """One line in letters, not too long to be read."""
    lines = message.split("\n")
    if len(lines) > 1 or not message.startswith("Error: "):
        raise FaultyError(f"{len(lines)} lines")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in message):
        raise FaultyError("letters that a terminal acts upon")
