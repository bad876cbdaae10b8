"""Bad input of every kind, as hypothesis strategies: spec strings, TOML, JSON and command lines, near to good ones."""

from __future__ import annotations

import copy
import json
import tomllib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import click
import pandas as pd
import tomli_w
from hypothesis import strategies as st

from initbench.cli import COMMANDS, main, options
from initbench.cli.kinds import KINDS, catalogue

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.toml"))
NETWORK_OR_BROWSER = ("download", "shown", "version", "help")
"""Options that reach for what a test has not, or that say nothing of bad input."""
SMALL = ["0", "1", "2", "3", "16"]
NUMBERS = [*SMALL, "-1", "-0", "00003", "1.5", "1e3", "nan", "inf", "-inf", "1e400", "1e-400", "1000000007", "9" * 40,
           "0x2", "٣", "1_0", "true", "None"]  # fmt: skip
WORDS = ["", " ", "None", "nan", "../../x", "/dev/null", "a/b", "\x00", "a\nb", "\x1b[31m", "<script>", "İı", "𝓗",
         "\udcff", "%s%n", "{0}", "$(id)", "x" * 300, "__import__('os')", "-", "--", "=", ",", "(", "'"]  # fmt: skip

latin = st.binary(max_size=20).map(lambda given: given.decode("latin-1"))
text = st.one_of(st.sampled_from(WORDS), st.text(max_size=20), latin)
utf8 = text.filter(lambda given: not any("\ud800" <= letter <= "\udfff" for letter in given))
names = {kind: [word for e in catalogue(kind) for word in (e.name, *e.aliases)] for kind in KINDS}


@st.composite
def mostly(draw: st.DrawFn, good: st.SearchStrategy, other: st.SearchStrategy, of: int = 20) -> object:
    """One of the good, but for one time in `of`."""
    return draw(good if draw(st.integers(1, of)) < of else other)


def mutated(given: str) -> st.SearchStrategy[str]:
    """`given` with a stretch left out, said twice, or put in."""

    @st.composite
    def build(draw: st.DrawFn) -> str:
        start = draw(st.integers(0, len(given)))
        end = draw(st.integers(start, min(len(given), start + 12)))
        middle = draw(st.one_of(st.just(""), st.just(given[start:end] * 2), text))
        return given[:start] + middle + given[end:]

    return build()


@st.composite
def specs(draw: st.DrawFn, kind: str) -> str:
    """A name with arguments, nearly as the grammar has it."""
    name = draw(st.sampled_from(names[kind]))
    if draw(st.integers(0, 3)) == 0:
        return name
    known = [
        word.partition("=")[0] for word in catalogue(kind).entry(name).signature.rstrip(")").split("(")[-1].split(", ")
    ]
    key = mostly(st.sampled_from(known), st.sampled_from(["size", "*a", "**b"]), 4)
    value = st.one_of(st.sampled_from(NUMBERS), st.floats().map(repr), st.integers().map(str), text.map(repr),
                      st.sampled_from(names[kind]), st.sampled_from(WORDS))  # fmt: skip
    argument = st.one_of(st.tuples(key, value).map("=".join), value)
    told = f"{name}({', '.join(draw(st.lists(argument, max_size=3)))})"
    return draw(mostly(st.just(told), mutated(told), 3))


def any_spec(kind: str) -> st.SearchStrategy[str]:
    """A spec of this kind, good, near to one, or anything at all."""
    return mostly(specs(kind), st.one_of(st.sampled_from(names[kind]).flatmap(mutated), text), 4)


huge = st.sampled_from([10**9, 10**30])
scalars = st.one_of(st.booleans(), st.integers(-3, 3), st.integers(), st.floats(), utf8, huge)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(utf8, inner, max_size=3)),
    max_leaves=6,
)


def places(document: object) -> list[tuple[object, object]]:
    """Every container in a document of tables and lists, with each of its keys."""
    keys = document.keys() if isinstance(document, dict) else range(len(document) if isinstance(document, list) else 0)
    here = [(document, key) for key in keys]
    return [*here, *(place for container, key in here for place in places(container[key]))]


@st.composite
def changed(draw: st.DrawFn, document: dict) -> dict:
    """`document` with entries left out, of other kinds, of other names, or in the place of others."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        match draw(st.sampled_from(["drop", "value", "value", "rename", "wrap", "other", "spec"])):
            case "drop":
                del container[key]
            case "value":
                container[key] = draw(values)
            case "rename" if isinstance(container, dict):
                container[draw(st.one_of(utf8, mutated(key).filter(str.isprintable)))] = container.pop(key)
            case "wrap":
                container[key] = draw(st.sampled_from([[container[key]], {"x": container[key]}]))
            case "spec":
                container[key] = draw(st.sampled_from(list(KINDS)).flatmap(specs).filter(str.isprintable))
            case _:
                other, name = found[draw(st.integers(0, len(found) - 1))]
                container[key] = copy.deepcopy(other[name])
    return document


def toml(documents: list[dict]) -> st.SearchStrategy[bytes]:
    """The bytes of a TOML file near to one of `documents`."""
    told = st.sampled_from(documents).flatmap(changed).map(tomli_w.dumps)
    torn = told.flatmap(mutated).map(lambda given: given.encode(errors="surrogatepass"))
    nested = st.integers(1, 5000).map(lambda depth: b"compare = " + b"[" * depth)
    return mostly(told.map(str.encode), st.one_of(torn, nested, st.binary(max_size=60)), 10)


def jsons(document: dict) -> st.SearchStrategy[bytes]:
    """The bytes of a JSON file near to `document`."""
    told = changed(document).map(json.dumps)
    torn = told.flatmap(mutated).map(lambda given: given.encode(errors="replace"))
    return mostly(told.map(str.encode), st.one_of(torn, st.binary(max_size=60)), 10)


@dataclass(frozen=True)
class Damage:
    """What is done to a column of a table, found by its `place`."""

    what: str
    place: int

    def done(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with it."""
        name = table.columns[self.place % len(table.columns)]
        column = table[name]
        match self.what:
            case "drop":
                return table.drop(columns=name)
            case "words":
                return table.assign(**{name: "word"})
            case "numbers":
                return table.assign(**{name: self.place / 3})
            case "huge":
                return table.assign(**{name: 10**18})
            case "missing":
                return table.assign(**{name: column.where(table.index % 2 == self.place % 2)})
            case "none":
                return table.assign(**{name: None})
            case "lists":
                return table.assign(**{name: [[1]] * len(table)})
            case "dates":
                return table.assign(**{name: pd.Timestamp(0)})
            case "infinite":
                return table.assign(**{name: float("inf")})
            case "twice":
                return pd.concat([table, table.iloc[:2]], ignore_index=True)
            case "first":
                return table.iloc[:1]
            case "rename":
                return table.rename(columns={name: "$x"})
        return table.iloc[:0]


def damages() -> st.SearchStrategy[Damage]:
    """Of one column, or of the rows."""
    kinds = ["drop", "drop", "words", "numbers", "huge", "missing", "none", "lists", "dates", "infinite", "twice",
             "first", "rename", "empty"]  # fmt: skip
    return st.builds(Damage, st.sampled_from(kinds), st.integers(0, 60))


def shipped() -> list[dict]:
    """The studies of this repository."""
    return [tomllib.loads(path.read_text(encoding="utf-8")) for path in STUDIES]


numbers = mostly(st.sampled_from(SMALL), st.sampled_from(NUMBERS))
FITTING = {"by": ["init", "activation", "lr"], "baseline": ["he", "relu"], "tune": ["lr"], "device": ["cpu", "auto"],
           "metric": ["test_accuracy", "final", "growth(of=z_second_moment)"], "test": ["t", "wilcoxon", "permutation"],
           "to": ["csv", "parquet"], "engine": ["stacked", "reference"], "kind": list(KINDS), "title": ["A page"],
           "only": ["*"], "target": ["net.py:net", "net.py:word"]}  # fmt: skip
"""What options without a type of their own take."""


def argument_of(parameter: click.Parameter, files: list[str]) -> st.SearchStrategy[str]:
    """What may stand for it on a command line: mostly what it takes, in small."""
    kind = parameter.type
    if isinstance(kind, options.Spec):
        return mostly(st.sampled_from([name for one in kind._kinds for name in names[one]]),
                      st.sampled_from(kind._kinds).flatmap(any_spec))  # fmt: skip
    if isinstance(kind, click.Choice):
        return mostly(st.sampled_from(kind.choices), text)
    if isinstance(kind, click.Path):
        return mostly(st.sampled_from(files), text)
    if isinstance(kind, options.Setting):
        key = mostly(st.sampled_from(["lr", "init", "depth", "seeds", "activation", "dataset"]), text)
        value = st.one_of(numbers, *map(any_spec, ("initializers", "activations")))
        return st.tuples(key, value).map("=".join)
    if isinstance(kind, options.Numbers):
        return st.lists(numbers, min_size=1, max_size=4).map(",".join)
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return numbers
    return mostly(st.sampled_from(FITTING.get(str(parameter.name), [*chain(*names.values())])), text)


TINY = ["--init=he", "--activation=relu", "--depth=2", "--width=3", "--seeds=1", "--batch=2"]
FIRST = {"variance": TINY, "predict": TINY, "jacobian": [*TINY, "--probes=2", "--at=1"],
         "probe": ["--input-shape=3", "--batch=2"],
         "audit": ["--seeds=1", "--fan-in=16", "--fan-out=16"],
         "train-grid": ["--set=init=he", "--set=activation=relu", "--set=depth=1", "--set=lr=0.1"]}  # fmt: skip
LAST = {"train-grid": ["--dry-run"], "variance": ["--no-figures"], "run": ["--no-figures", "--executor=threads"],
        "verify": ["--runs=1"], "compare": ["--no-figures"]}  # fmt: skip


@st.composite
def command_lines(draw: st.DrawFn, command: str, files: list[str]) -> list[str]:
    """Words after the program's name: `command`, small unless a later word makes it large, perhaps something amiss."""
    found = main.get_command(click.Context(main), command)
    words: list[str] = []
    for parameter in found.params:
        if parameter.name in NETWORK_OR_BROWSER or not (parameter.required or draw(st.integers(0, 7)) == 0):
            continue
        given = argument_of(parameter, files)
        if isinstance(parameter, click.Argument):
            words.append(draw(given))
        elif parameter.is_flag:
            words.append(draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts])))
        else:
            words += [draw(st.sampled_from(parameter.opts)), draw(given)]
    if words and draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(words) - 1))
        words[place : place + 1] = draw(st.one_of(st.just([]), mutated(words[place]).map(lambda word: [word]),
                                                  text.map(lambda word: [words[place], word])))  # fmt: skip
    told = [word.replace("\x00", "") for word in words]  # no system hands over a word with a null byte
    return [command, *FIRST.get(command, []), *told, *LAST.get(command, [])]


__all__ = ["COMMANDS", "any_spec", "changed", "command_lines", "jsons", "shipped", "toml"]
