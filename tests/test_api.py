"""The functions of `import initbench` as a caller meets them: whole messages, whatever is given."""

import inspect

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import initbench as ib
from initbench.cli import main
from initbench.core.columns import COLUMNS
from initbench.core.errors import UsageError

SMALL = {"init": "he_normal", "activation": "relu", "laws": "mean_field"}

BAD = [
    ({"widths": "784,512"}, "widths must be a list of whole numbers, not '784,512'"),
    ({"widths": 784}, "widths must be a list of whole numbers, not 784"),
    ({"widths": [784, 5.5]}, "widths must be a list of whole numbers, not [784, 5.5]"),
    ({"depth": "3"}, "depth must be a whole number, not '3'"),
    ({"width": 5.0}, "width must be a whole number, not 5.0"),
    ({"seeds": True}, "seeds must be a whole number, not True"),
    ({"seeds": None}, "seeds must be a whole number, not None"),
    ({"batch": 2.5}, "batch must be a whole number, not 2.5"),
    ({"bias_variance": "x"}, "bias_variance must be a number, not 'x'"),
    ({"input_cosine": "x"}, "input_cosine must be a number, not 'x'"),
    ({"input": 5}, "input must be a name, not 5"),
    ({"init": 5}, "init must be a name or a list of names, not 5"),
    ({"activation": ["relu", None]}, "activation must be a name or a list of names, not ['relu', None]"),
    ({"width": 10**400}, f"every width must be at most 1,000,000,000,000, not 1{'0' * 17}...{'0' * 19}"),
    ({"dpeth": 3}, "unknown option 'dpeth'; did you mean 'depth'?"),
    ({"law": "linear"}, "unknown option 'law'; did you mean 'laws'?"),
]


@pytest.mark.parametrize(("given", "message"), BAD, ids=lambda part: "" if isinstance(part, str) else next(iter(part)))
def test_a_bad_option_gets_one_line(given, message):
    with pytest.raises(UsageError) as caught:
        ib.predict(**{**SMALL, **given})
    assert str(caught.value) == message


def test_networks_are_asked_in_the_same_way():
    with pytest.raises(UsageError, match=r"unknown option 'devise'; did you mean 'device'\?"):
        ib.propagate(init="he_normal", devise="cpu")


def test_numbers_of_numpy_are_numbers():
    plain = ib.predict(**SMALL, widths=[12, 20], bias_variance=0.5, seeds=2)
    given = ib.predict(**SMALL, widths=np.array([12, 20]), bias_variance=np.float32(0.5), seeds=np.int64(2))
    assert given.equals(plain)


def test_theory_needs_no_memory():
    assert ib.predict(**SMALL, width=10**6, depth=3).z_second_moment.tolist() == pytest.approx([2.0] * 3)
    with pytest.raises(UsageError, match="a network of these widths needs about"):
        ib.propagate(init="he_normal", activation="relu", width=10**6)


TINY = {"init": "he_normal", "activation": "tanh", "depth": 2, "width": 12, "seeds": 2, "batch": 4}
SWEEP = {**TINY, "width": None, "widths_sweep": [8, 16]}
NOT_PYTHONS = {"form", "laws", "phases", "reports", "figures", "figure_format", "out", "check", "baseline"}
TABLES = {
    "audit": lambda: ib.audit(fan_in=20, fan_out=10, seeds=2),
    "jacobian": lambda: ib.jacobian(**TINY, spectrum=True),
    "phase": lambda: ib.phase("relu"),
    "critical_line": lambda: ib.phase("relu", critical_line=True),
    "slopes": lambda: ib.slopes(**SWEEP),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_declared_for_its_table(name):
    for column in TABLES[name]():
        tables = COLUMNS.make(column).tables
        assert name in tables or tables.startswith("all but"), column


@pytest.mark.parametrize(("name", "command"), [("predict", "predict"), ("propagate", "variance"), ("audit", "audit"),
                                               ("jacobian", "jacobian"), ("slopes", "variance")])  # fmt: skip
def test_python_and_the_command_line_have_the_same_options_and_defaults(name, command):
    given = inspect.signature(getattr(ib, name)).parameters
    defaults = main.get_command(None, command).make_context(command, []).params
    other = {"propagate": {"widths_sweep"}, "predict": {"critical_line"}}.get(name, set())
    assert set(given) - {"laws"} == set(defaults) - NOT_PYTHONS - other
    for option in set(given) - {"laws"}:
        assert (given[option].default or None) == (defaults[option] or None), option


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ib.audit(fan_inn=3), "unknown option 'fan_inn'; did you mean 'fan_in'?"),
    (lambda: ib.audit(seeds="3"), "seeds must be a whole number, not '3'"),
    (lambda: ib.audit(activation=["relu"]), "activation must be a name, not ['relu']"),
    (lambda: ib.jacobian(**TINY, spectrm=True), "unknown option 'spectrm'; did you mean 'spectrum'?"),
    (lambda: ib.jacobian(**TINY, at=2.5), "at must be a whole number, not 2.5"),
    (lambda: ib.phase("tnh"), "unknown activation 'tnh'; did you mean 'tanh'?"),
    (lambda: ib.phase(), "a phase diagram is of an activation: give its name, or several"),
    (lambda: ib.phase(5), "activation must be a name or a list of names, not 5"),
    (lambda: ib.phase("relu", critical=True), "unknown option 'critical'; did you mean 'critical_line'?"),
    (lambda: ib.slopes(**TINY), "a sweep of widths goes without a width, or widths, of its own"),
    (lambda: ib.slopes(init="he"), "a sweep of widths needs two widths or more"),
    (lambda: ib.slopes(widths_sweep="64,128"), "widths_sweep must be a list of whole numbers, not '64,128'"),
    (lambda: ib.slopes(width_sweep=[8, 9]), "unknown option 'width_sweep'; did you mean 'widths_sweep' or 'widths'?"),
])  # fmt: skip
def test_the_tables_of_the_command_line_refuse_in_one_line(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == message


def test_the_table_is_that_of_the_command(tmp_path):
    arguments = ["variance", "--widths-sweep=8,16", "--init=he_normal", "--activation=tanh", "--depth=2", "--seeds=2",
                 "--batch=4", "--format=csv", "--no-figures", f"--out={tmp_path / 'out'}"]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    told = pd.read_csv(tmp_path / "out/slopes.csv")
    pd.testing.assert_frame_equal(told, ib.slopes(**SWEEP), check_dtype=False, rtol=1e-9)
    lines = CliRunner().invoke(main, ["predict", "--phase=erf", "--critical-line", "--no-figures", "--format=csv"])
    assert lines.stdout.splitlines()[0] == ",".join(ib.phase("erf", critical_line=True).columns)
    assert len(lines.stdout.splitlines()) == len(ib.phase("erf", critical_line=True)) + 1


def test_a_law_asked_for_twice_is_told_once():
    once, twice = (ib.predict(init="he", activation="relu", depth=2, laws=["linear"] * times) for times in (1, 2))
    pd.testing.assert_frame_equal(once, twice)
