"""The coordinate check: sizes as a loop by hand has them, and slopes as the theory of wide networks says."""

import math

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import initbench as ib
from initbench.analysis import coordinates as judged
from initbench.analysis.figures import coordinates as figure
from initbench.cli import main
from initbench.core.errors import UsageError, WorkError
from initbench.engine.probe.coordinates import MUP, powers_of
from initbench.grid.coordinates import coordinates

WIDTHS = [64, 128, 256, 512]
BATCH = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))


def mlp(width):
    layers = [nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
              nn.Linear(width, 10)]  # fmt: skip
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def mlp_made_mup(width):
    """By hand: the readout's variance is 1/fan_in² of the width, from that of the smallest on."""
    module = mlp(width)
    with torch.no_grad():
        module[-1].weight.mul_((width / WIDTHS[0]) ** -0.5)
    return module


@pytest.fixture(scope="module")
def tables():
    return {(rule, optimizer): coordinates(mlp, BATCH, WIDTHS, parametrization=rule, optimizer=optimizer, lr=lr)
            for optimizer, lr in (("adam", 0.01), ("sgd", 0.1)) for rule in ("standard", "mup")}  # fmt: skip


def slope(table, module, quantity, step):
    found = judged.check(table).set_index(["module", "quantity", "step"])
    return found.loc[(module, quantity, step)]


def test_sizes_are_those_of_a_loop_by_hand():
    """Two steps of plain gradient descent on one hidden layer of fixed weights, in float64."""

    def fixed(width):
        module = nn.Sequential(nn.Linear(3, width, bias=False), nn.Tanh(), nn.Linear(width, 2, bias=False))
        for part, scale in ((module[0], 0.3), (module[2], 0.2)):
            values = torch.arange(part.weight.numel(), dtype=torch.float32).sin() * scale
            part.weight.data = values.view_as(part.weight)
        return module.double()

    x = BATCH[:4, :3].double()
    table = coordinates(fixed, x, [5, 7], steps=2, seeds=2, optimizer="sgd", lr=0.7)
    projection = _projection_used(4, 2)
    v, w = (part.weight.detach().numpy() for part in (fixed(5)[0], fixed(5)[2]))
    inputs, first = x.numpy(), None
    for step in range(3):
        z = inputs @ v.T
        h = np.tanh(z)
        y = h @ w.T
        grad_y = projection / (4 * math.sqrt(2))
        grad_z = grad_y @ w * (1 - h**2)
        first = (z, y) if first is None else first
        rows = table[(table["width"] == 5) & (table["seed"] == 0) & (table["step"] == step)].set_index("module")
        for module, value, gradient, before in (("0", z, grad_z, first[0]), ("2", y, grad_y, first[1])):
            assert rows.loc[module, "activation_rms"] == pytest.approx(math.sqrt((value**2).mean()), rel=1e-12)
            assert rows.loc[module, "gradient_rms"] == pytest.approx(math.sqrt((gradient**2).mean()), rel=1e-12)
            if step:
                change = math.sqrt(((value - before) ** 2).mean())
                assert rows.loc[module, "update_rms"] == pytest.approx(change, rel=1e-9)
        v, w = v - 0.7 * grad_z.T @ inputs, w - 0.7 * grad_y.T @ h


def _projection_used(*shape):
    """Seen from outside: the gradient that arrives at an identity's output, without its factor."""
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            y = torch.zeros(shape, dtype=torch.float64) + self.weight * x.mean()
            y.register_hook(lambda gradient: seen.append(gradient.numpy().copy()))
            return y

    coordinates(lambda width: Spy(), BATCH, [1, 2], steps=1, seeds=2, optimizer="sgd")
    return seen[0] * (shape[0] * math.sqrt(shape[1]))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_gradients_go_as_the_readouts_weights(tables, optimizer):
    """1/sqrt(width) where their variance is 1/fan_in, 1/width where it is 1/fan_in²."""
    for rule, power in (("standard", -0.5), ("mup", -1.0)):
        for module in ("0", "2", "4"):
            assert slope(tables[rule, optimizer], module, "gradient", 0)["slope"] == pytest.approx(power, abs=0.06)


def test_adam_at_one_rate_changes_hidden_layers_with_the_width_and_mup_does_not(tables):
    """A step of Adam is of one size for every weight: aligned with n inputs it changes a unit by n times as much."""
    standard, mup = (slope(tables[rule, "adam"], "4", "update", 1) for rule in ("standard", "mup"))
    assert standard["slope"] == pytest.approx(1.0, abs=0.15)
    assert (standard["word"], mup["word"]) == ("fail", "pass")


def test_at_the_start_muPs_output_falls_as_the_root_of_the_width_and_that_passes(tables):  # noqa: N802
    row = slope(tables["mup", "adam"], "6", "activation", 0)
    assert row["slope"] == pytest.approx(-0.5, abs=0.15)
    assert row["word"] == "pass"


def test_the_verdicts(tables):
    words = {key: judged.verdict(judged.check(table)) for key, table in tables.items()}
    assert words["standard", "adam"] == words["standard", "sgd"] == "fail"
    assert words["mup", "adam"] == "pass"
    assert words["mup", "sgd"] != "fail"
    assert "mup parametrization: pass" in judged.sentence(judged.check(tables["mup", "adam"]))
    assert "standard parametrization: fail" in judged.sentence(judged.check(tables["standard", "adam"]))


def test_a_module_that_is_mup_by_hand_has_the_same_sizes_at_the_start(tables):
    by_hand = coordinates(mlp_made_mup, BATCH, WIDTHS, steps=1)
    ours = tables["mup", "adam"]
    for quantity in ("activation_rms", "gradient_rms"):
        one, other = (table.loc[table["step"] == 0, quantity].to_numpy() for table in (by_hand, ours))
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_smallest_width_is_the_same_in_both_parametrizations(tables):
    both = [table[table["width"] == WIDTHS[0]] for key, table in tables.items() if key[1] == "adam"]
    np.testing.assert_array_equal(both[0]["update_rms"], both[1]["update_rms"])


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.words = nn.Embedding(50, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 4 * width)
        self.back = nn.Linear(4 * width, width)
        self.conv = nn.Conv1d(width, width, 3)
        self.head = nn.Linear(width, 50)

    def forward(self, tokens):
        h = self.norm(self.words(tokens))
        h = h + self.back(torch.relu(self.mix(h)))
        return self.head(self.conv(h.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("optimizer", MUP)
def test_weights_are_told_apart_by_the_sides_that_grow(optimizer):
    found = powers_of(Model(8), Model(16), MUP[optimizer])
    kinds = {"words.weight": "input", "norm.weight": "input", "norm.bias": "input", "mix.weight": "hidden",
             "mix.bias": "input", "back.weight": "hidden", "conv.weight": "hidden",
             "head.weight": "output"}  # fmt: skip
    assert {name: found[name] for name in kinds} == {name: MUP[optimizer][kind] for name, kind in kinds.items()}
    assert (found["head.bias"].weight, found["head.bias"].lr) == (0, 0)


def test_tokens_and_any_shape_of_output_are_taken_and_the_callers_generators_left_alone():
    before = torch.get_rng_state()
    table = coordinates(Model, torch.randint(50, (4, 9), generator=torch.Generator().manual_seed(0)), [8, 16], seeds=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(table["module"]) == {"words", "norm", "mix", "back", "conv", "head"}
    assert table["activation_rms"].notna().all()
    again = coordinates(Model, torch.randint(50, (4, 9), generator=torch.Generator().manual_seed(0)), [8, 16], seeds=2)
    pd.testing.assert_frame_equal(table, again)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"widths": [64]}, UsageError, "a slope needs two widths or more"),
        ({"widths": [0, 64]}, UsageError, "a width must be at least 1, not 0"),
        ({"steps": 0}, UsageError, "steps must be from 1 to 1,000, not 0"),
        ({"seeds": 1}, UsageError, "an interval needs two seeds or more, not 1"),
        ({"lr": math.nan}, UsageError, "lr must be above 0, not nan"),
        ({"parametrization": "mpu"}, UsageError, "unknown parametrization 'mpu'; did you mean 'mup'?"),
        ({"optimizer": "nadam", "parametrization": "mup"}, UsageError, "muP's rules are known for adam and sgd, not"),
        ({"build": lambda width: width}, UsageError, "the builder returned int, not a torch.nn.Module"),
        ({"build": lambda width: 1 / 0}, UsageError, "the builder fails for width 64: ZeroDivisionError: division"),
        ({"build": lambda width: nn.Linear(3, width)}, WorkError,
         "the module does not take this input: RuntimeError: mat1 and"),
        ({"build": lambda width: nn.Sequential(*[nn.Linear(16, 16)] * (1 + (width > 64)))}, WorkError,
         "not every width runs the same layers"),
    ],
)  # fmt: skip
def test_bad_requests_get_one_line(options, error, message):
    given = {"build": mlp, "batch": BATCH, "widths": [64, 128], "steps": 1, "seeds": 2} | options
    with pytest.raises(error, match=message.replace("(", r"\(")) as caught:
        coordinates(**given)
    assert "\n" not in str(caught.value)


def test_the_figure_has_a_panel_a_quantity_and_step_and_the_words_as_marks(tables):
    table = tables["standard", "adam"]
    told = figure.summary(table, judged.check(table))
    drawn = figure.draw(told)
    grid = np.array(drawn.axes).reshape(3, 4)
    assert [axes.get_title() for axes in grid[0]] == ["step 0", "step 1", "step 2", "step 3"]
    (line,) = [line for line in grid[1, 1].lines if line.get_label() == "4"]
    means = table[(table["module"] == "4") & (table["step"] == 1)].groupby("width")["update_rms"].mean()
    np.testing.assert_allclose(line.get_ydata(), means)
    assert line.get_marker() == figure.STYLES["fail"][0]
    assert not grid[1, 0].lines, "nothing has changed at step 0"
    assert len({matplotlib.colors.to_hex(line.get_color()) for line in grid[0, 0].lines}) == 4


FILE = """
from torch import nn

def build(width):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))

model = build(8)
"""
ASKED = ["--input-shape", "6", "--widths", "32,64,128", "--seeds", "4"]


@pytest.fixture
def file(tmp_path):
    (tmp_path / "model.py").write_text(FILE)
    return f"{tmp_path}/model.py"


def run(*arguments):
    return CliRunner().invoke(main, ["probe", *map(str, arguments)])


def test_the_command_prints_a_row_a_layer_and_quantity_and_the_verdict(file, tmp_path):
    out = tmp_path / "out"
    done = run(f"{file}:build", *ASKED, "--check", "--out", out)
    assert done.exit_code == 3
    assert "Coordinate check of the standard parametrization: fail. " in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:4]] == [
        ["0", "activation"], ["0", "update"], ["0", "gradient"]]  # fmt: skip
    slopes = pd.read_parquet(out / "slopes.parquet")
    sizes = pd.read_parquet(out / "coordinates.parquet")
    pd.testing.assert_frame_equal(judged.check(sizes), slopes)
    assert (out / "coordinate_check.png").exists()
    assert run(f"{file}:build", *ASKED, "--parametrization", "mup", "--check").exit_code == 0


def test_csv_has_standard_output_to_itself_with_every_step(file):
    done = run(f"{file}:build", *ASKED, "--format", "csv", "--steps", "2")
    header, *rows = done.stdout.splitlines()
    assert header.startswith("parametrization,step,layer,module,call,kind,quantity,slope,low,high,expected,seeds,word")
    assert len(rows) == 3 * (2 + 3 + 3)


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        ("build", ["--suggest"], "--widths checks what is built: leave out --init, --suggest, --filter, --train and"),
        ("model", [], "model.py:model is no function of the width, but Sequential"),
        ("biuld", [], "model.py has no 'biuld'; did you mean 'build'?"),
        ("build", ["--optimizer", "adagrad", "--parametrization", "mup"], "muP's rules are known for adam and sgd"),
    ],
)
def test_a_bad_command_gets_one_line(file, target, more, message):
    done = run(f"{file}:{target}", *ASKED, *more)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    one_width = run("torchvision:resnet18", *ASKED)
    assert "torchvision:resnet18 has one width; name a function of yours" in one_width.stderr


def test_python_has_the_same_numbers_and_draws_them():
    found = ib.coordinates(mlp, BATCH, WIDTHS, steps=1, seeds=3)
    measured = coordinates(mlp, BATCH, WIDTHS, steps=1, seeds=3)
    pd.testing.assert_frame_equal(found.sizes, measured)
    assert str(found) == judged.sentence(judged.check(measured))
    assert found.word == "fail"
    assert len(found.draw().axes) == 3 * 2
