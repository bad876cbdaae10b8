"""Names, spec strings and their errors."""

import warnings
from dataclasses import dataclass

import pytest

from initbench.core.catalogue import Catalogue, did_you_mean
from initbench.core.errors import UsageError


@dataclass(frozen=True)
class Thing:
    size: float
    kind: str = ""
    spec: str = ""


@pytest.fixture
def things():
    catalogue = Catalogue("thing")

    @catalogue.register("ball", summary="Round.", aliases=("sphere",), default=True)
    def ball(size: float = 1.0, kind: str = "red", hollow: bool = False) -> Thing:
        return Thing(size * (1 - hollow), kind)

    @catalogue.register("box", summary="Not round.")
    def box(size: float) -> Thing:
        return Thing(size)

    return catalogue


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("ball", "ball"),
        (" sphere ", "ball"),
        ("sphere()", "ball"),
        ("ball(size=1)", "ball"),
        ("ball(2)", "ball(size=2)"),
        ("ball(kind=blue, size=0.10)", "ball(size=0.1, kind=blue)"),
        ("ball(kind='blue')", "ball(kind=blue)"),
        ("ball(kind='été')", "ball(kind=été)"),
        ("ball(kind='\N{SCRIPT CAPITAL H}')", "ball(kind='\N{SCRIPT CAPITAL H}')"),  # without quotes, Python reads H
        ("ball(hollow=true)", "ball(hollow=true)"),
        ("ball(hollow=False)", "ball"),
        ("box(-1e-3)", "box(size=-0.001)"),
    ],
)
def test_equal_things_have_one_canonical_spec(things, spec, canonical):
    assert things.canonical(spec) == canonical
    assert things.canonical(canonical) == canonical
    assert things.make(spec) == things.make(canonical)
    assert things.make(spec).spec == canonical


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bal", "unknown thing 'bal'; did you mean 'ball'?"),
        ("qqq", "unknown thing 'qqq'; accepted: ball, sphere, box"),
        ("Ball", "unknown thing 'Ball'; did you mean 'ball'?"),
        ("ball(size=" + "1" * 240, f"the thing 'ball(size={'1' * 50}…' has 250 letters; at most 200 are read"),
        ("", "cannot read the thing ''; write name or name(key=value, ...)"),
        ("ball(", "cannot read the thing 'ball('; write name or name(key=value, ...)"),
        ("ball(size=1+1)", "cannot read the thing 'ball(size=1+1)'; write name or name(key=value, ...)"),
        ("ball(**{})", "cannot read the thing 'ball(**{})'; write name or name(key=value, ...)"),
        ("ball.bounce()", "cannot read the thing 'ball.bounce()'; write name or name(key=value, ...)"),
        ("ball(size=big)", "thing 'ball(size=big)': size must be a number, not big"),
        ("ball(size=true)", "thing 'ball(size=true)': size must be a number, not true"),
        ("ball(kind=3)", "thing 'ball(kind=3)': kind must be a word, not 3"),
        ("ball(hollow=1)", "thing 'ball(hollow=1)': hollow must be true or false, not 1"),
        ("box(1e999)", "thing 'box(1e999)': size is too large a number; at most 1e+100"),
        ("box", "thing 'box': missing a required argument: 'size'; it is written box(size)"),
        (
            "ball(sise=1)",
            "thing 'ball(sise=1)': got an unexpected keyword argument 'sise'; it is written"
            " ball(size=1, kind=red, hollow=false); did you mean 'size'?",
        ),
    ],
)
def test_a_bad_spec_gets_one_line_that_says_what_is_accepted(things, spec, message):
    with pytest.raises(UsageError) as caught:
        things.make(spec)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("spec", ["(" * 150, "ball(" + "-" * 150 + "1)", "x" * 10_000, "ball(size=" + "9" * 180 + ")"])
def test_hostile_specs_are_refused_in_one_short_line(things, spec):
    with pytest.raises(UsageError) as caught:
        things.make(spec)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["ball(1if 2else 3)", "1()", "ball('\\d')", "ball(1 is 1)"])
def test_odd_specs_are_refused_without_a_warning(things, spec):
    with warnings.catch_warnings(action="always", record=True) as told, pytest.raises(UsageError):
        things.make(spec)
    assert told == []


def test_a_name_is_registered_once(things):
    with pytest.raises(UsageError, match="thing 'sphere' is registered twice"):
        things.register("sphere", summary="")(lambda: Thing(1))


def test_defaults_and_signatures(things):
    assert things.defaults == ["ball"]
    assert [entry.signature for entry in things] == ["ball(size=1, kind=red, hollow=false)", "box(size)"]


def test_a_far_guess_does_not_hide_what_is_accepted():
    assert did_you_mean("nope", ["digits", "copies"]) == "; accepted: digits, copies"
    assert did_you_mean("copie", ["digits", "copies"]) == "; did you mean 'copies'?"
    assert did_you_mean("lecun", ["he", "lecun_uniform"]) == "; did you mean 'lecun_uniform'?"
    assert did_you_mean("", ["he"]) == "; accepted: he"
