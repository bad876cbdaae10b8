"""The functions of `import initbench` as a caller meets them: whole messages, whatever is given."""

import numpy as np
import pytest

import initbench as ib
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
    ({"dpeth": 3}, "unknown option 'dpeth'; did you mean 'depth' or 'width'?"),
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
