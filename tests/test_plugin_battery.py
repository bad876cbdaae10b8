"""`initbench test-plugin`: the examples keep every law, and each law fails for a plug-in that breaks it."""

import io
from pathlib import Path

import pandas as pd
import pytest
from plugin_catalogues import lent_catalogues, program

EXAMPLES = Path(__file__).parent.parent / "examples"
HEAD = """
import numpy as np, torch, initbench as ib
from initbench.activations import Activation
from initbench.datasets import Data, DataSet
from initbench.initializers import Basis, Initializer
"""


@pytest.fixture(autouse=True)
def _lent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with lent_catalogues():
        yield


def held(path):
    """The table of a plug-in's laws, and the exit code."""
    done = program("test-plugin", path, "--format=csv")
    return pd.read_csv(io.StringIO(done.stdout)), done.exit_code


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_examples_keep_every_law(path):
    table, code = held(path)
    assert code == 0
    assert set(table.outcome) == {"pass"}
    assert len(table) >= 5


def of_basis(draw, square="1.0"):
    return f"@ib.initializer\ndef it():\n    return Initializer(Basis('it', {draw}), lambda s: {square})"


def optimizer(step, arguments="lr=0.1"):
    return f"""
@ib.optimizer(name="it")
class It(torch.optim.Optimizer):
    def __init__(self, params, {arguments}):
        super().__init__(params, {{"lr": lr}})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                {step}
"""


DATA = "Data(torch.zeros(4, 3), torch.arange(4) % 2, torch.zeros(4, 3), torch.arange(4) % 2, (1, 1, 3), 2)"
WRONG = {
    ("initializer", "can be made"): "@ib.initializer\ndef it(w):\n    return w[:1]",
    ("initializer", "shape and dtype"): of_basis("lambda layer, g: torch.randn(layer.fan_in, 2, generator=g)"),
    ("initializer", "finite"): of_basis("lambda layer, g: torch.full((layer.fan_out, layer.fan_in), torch.inf)"),
    ("initializer", "one seed, one draw"): "@ib.initializer\ndef it(w):\n    return torch.tensor("
        "np.random.default_rng().standard_normal(w.shape), dtype=torch.float32)",
    ("initializer", "another seed"): of_basis("lambda layer, g: torch.randn(layer.fan_out, layer.fan_in,"
        " generator=torch.Generator().manual_seed(0))"),
    ("initializer", "global generators"): of_basis("lambda layer, g: torch.randn(layer.fan_out, layer.fan_in)"),
    ("initializer", "promised variance"): "@ib.initializer(variance=lambda fan_in: 2 / fan_in)\ndef it(w):\n"
        "    return w.normal_(0, (2.1 / w.shape[1]) ** 0.5)",
    ("initializer", "coupling"): "@ib.initializer(coupling='independent')\ndef it(w):\n"
        "    return torch.nn.init.orthogonal_(w)",
    ("activation", "can be made"): "@ib.activation\ndef it(z):\n    return z.softmax(dim=-1)",
    ("activation", "shape and dtype"): "@ib.activation\ndef it():\n    return Activation(lambda z: z.double())",
    ("activation", "elementwise"): "@ib.activation\ndef it():\n    return Activation(lambda z: z - z.mean())",
    ("activation", "no chance"): "@ib.activation\ndef it():\n    return Activation(lambda z: z * torch.rand(z.shape))",
    ("activation", "finite"): "@ib.activation\ndef it(z):\n    return torch.where(z > 0, z.sqrt(), 0 * z)",
    ("activation", "differentiable"): "@ib.activation\ndef it(z):\n    return z + torch.tanh(z).detach()",
    ("activation", "kinks"): "@ib.activation(kinks=(0.5,))\ndef it(z):\n    return z.clamp(min=0)",
    ("activation", "integrals"): "@ib.activation(kinks=())\ndef it(z):\n    return (z - 0.3).clamp(min=0)",
    ("data set", "can be made"): "@ib.dataset\ndef it():\n    return 3",
    ("data set", "trainable"): f"@ib.dataset\ndef it():\n    data = {DATA}\n    data.train_images[0, 0] = torch.nan\n"
        "    return DataSet(lambda root, download: data, 3)",
    ("data set", "features"): f"@ib.dataset\ndef it():\n    return DataSet(lambda root, download: {DATA}, 4)",
    ("data set", "the same each time"): "@ib.dataset\ndef it():\n    x = np.random.default_rng().random((4, 3))\n"
        "    return x, np.arange(4) % 2, x, np.arange(4) % 2",
    ("data set", "global generators"): "@ib.dataset\ndef it():\n    def load(root, download):\n        torch.rand(1)\n"
        f"        return {DATA}\n    return DataSet(load, 3)",
    ("optimizer", "can be made"): optimizer("pass", "lr").replace("torch.optim.Optimizer", "dict"),
    ("optimizer", "no chance"): optimizer("w.sub_(group['lr'] * w.grad * (1 + 1e-10 * torch.rand(1).double()))"),
    ("optimizer", "finite"): optimizer("w.sub_(group['lr'] * w.grad / w.grad.abs())"),
    ("optimizer", "learning rate"): optimizer("w.sub_(0.1 * w.grad)"),
    ("optimizer", "twin"): optimizer("w.sub_(group['lr'] * w.grad * (1 + (len(self.param_groups) > 1)))"),
}  # fmt: skip


@pytest.mark.parametrize(("law", "text"), WRONG.items(), ids=[" ".join(law) for law in WRONG])
def test_each_law_fails_for_a_plugin_that_breaks_it(law, text):
    Path("wrong.py").write_text(HEAD + text)
    table, code = held("wrong.py")
    assert code == 3
    (row,) = table[(table.kind == law[0]) & (table.law == law[1])].to_dict("records")
    assert row["outcome"] == "fail"
    assert row["what"]


NORMAL = "    w.normal_(0, (2 / w.shape[1]) ** 0.5)\n"
UNSEEDED = {
    "of numpy, a millionth": f"{NORMAL}    w.mul_(1 + 1e-6 * float(np.random.default_rng().random()))",
    "of Python, in one draw of five": f"{NORMAL}    w.mul_(random.SystemRandom().choice([1, 1, 1, 1, -1]))",
    "a table of numpy's, as the file is loaded": "    w.copy_(torch.tensor(TABLE[:w.shape[0], :w.shape[1]]))",
    "a number of Python's, as the file is loaded": f"{NORMAL}    w.mul_(NUMBER)",
}  # fmt: skip


@pytest.mark.parametrize("body", UNSEEDED.values(), ids=list(UNSEEDED))
def test_generators_without_a_seed_are_found(body):
    """The chance that draws of five agree 38 times is 0.0002."""
    head = "import random\nTABLE, NUMBER = np.random.default_rng().random((200, 200)), 1 + random.Random().random()\n"
    Path("wrong.py").write_text(HEAD + head + "@ib.initializer\ndef it(w):\n" + body)
    table, _ = held("wrong.py")
    assert table.set_index("law").outcome["one seed, one draw"] == "fail"


@pytest.mark.parametrize(("body", "right"), [
    ("w = w.clone()\n    w.normal_()", False),
    ("torch.nn.init.normal_(torch.empty_like(w))", False),
    ("pass", False),
    ("torch.nn.init.zeros_(w)", True),
    ("w.numpy()[:] = np.random.standard_normal(w.shape)", True),
    ("w.data.normal_()", True),
    ("w.data.zero_()", True),
    ("return torch.nn.init.normal_(torch.empty_like(w))", True),
])  # fmt: skip
def test_a_tensor_that_is_left_as_it_was_is_told(body, right):
    Path("it.py").write_text(HEAD + f"@ib.initializer\ndef it(w):\n    {body}\n")
    table, code = held("it.py")
    assert (code == 0) == right
    assert right or "left its tensor as it was; it fills the one that it is given" in table.what[0]


def test_every_law_has_a_plugin_that_breaks_it():
    from initbench.battery import KINDS, MADE

    known = {(catalogue.kind, law) for catalogue, laws in KINDS for law in (MADE, *laws)}
    assert known == set(WRONG)


def test_the_table_says_what_was_found():
    done = program("test-plugin", EXAMPLES / "my_activation.py")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["kind", "entry", "law", "outcome", "what"]
    assert "activation shifted_leak kinks           pass    1; nowhere flat" in lines
    assert lines[-1] == "8 of 8 laws hold."


def test_numbers_are_put_in_where_an_entry_asks_for_some():
    Path("asks.py").write_text(
        HEAD + "@ib.initializer\ndef it(w, std: float, often: int):\n    return w.normal_(0, std)"
    )
    table, code = held("asks.py")
    assert code == 0
    assert set(table.entry) == {"it(std=0.5, often=2)"}


def test_a_broken_file_is_told_as_elsewhere():
    Path("broken.py").write_text("1 / 0")
    done = program("test-plugin", "broken.py")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: plug-in broken.py, line 1: ZeroDivisionError: division by zero\n"
