"""The loss around paths of training: against numpy's gradient descent, components and loss, on a quadratic."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import initbench as ib
from initbench import reference
from initbench.analysis.figures import relation
from initbench.analysis.figures.relation import Drawing, Line
from initbench.analysis.measures import MEASURES
from initbench.cli import main
from initbench.core.cell import Cell
from initbench.datasets import DATASETS
from initbench.grid import landscape
from initbench.grid.landscape import PathOfTraining, Surface, View
from initbench.recipe.samples import split

QUADRATIC = {"depth": 0, "loss": "mean_squared_error", "validation": 0.9, "lr": 0.05}


def digits(validation=0.9):
    data = split(DATASETS.make("digits").load(None, False), "standardize", validation, 0)
    return data.to(torch.device("cpu"), torch.float64)


def squares(data):
    """The loss of a linear network by numpy: parameters, `10 65` flattened weights first, -> loss and gradient."""
    x, targets = data.train.images.numpy(), np.eye(10)[data.train.labels.numpy()]

    def of(parameters):
        weight, bias = parameters[:640].reshape(10, 64), parameters[640:]
        residual = x @ weight.T + bias - targets
        gradient = 2 * np.concatenate([(residual.T @ x).ravel(), residual.sum(axis=0)]) / residual.size
        return np.mean(residual**2), gradient

    return of


def descent(data, start, steps, lr=0.05):
    """The path of full-batch gradient descent, `steps + 1 parameters`."""
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - lr * squares(data)(path[-1])[1])
    return np.array(path)


def test_the_path_of_a_linear_network_is_that_of_gradient_descent_on_squares():
    data = digits()
    path = PathOfTraining(Cell(**QUADRATIC, batch_size=0, steps=30), data, points=30)
    truth = descent(data, path.parameters[0], 30)
    assert path.steps == list(range(31))
    np.testing.assert_allclose(path.parameters, truth, rtol=1e-9, atol=1e-12)
    ways = np.cumsum(np.linalg.norm(np.diff(truth, axis=0), axis=1))
    np.testing.assert_allclose(path.detours[1:], ways / np.linalg.norm(truth[1:] - truth[0], axis=1), rtol=1e-9)
    assert np.isnan(path.detours[0])


def test_few_points_of_a_path_are_spread_over_it_and_its_length_is_of_every_update():
    data = digits()
    every, few = (PathOfTraining(Cell(**QUADRATIC, batch_size=10, steps=40), data, points) for points in (40, 4))
    assert few.steps == [0, 10, 20, 30, 40]
    np.testing.assert_array_equal(few.parameters, every.parameters[::10])
    np.testing.assert_array_equal(few.detours, every.detours[::10])


def test_who_looks_on_changes_nothing():
    data, cell = digits(), Cell(depth=1, width=8, steps=12, regularizers=(("dropout", 0.2),))
    seen = []
    outcome = reference.train(cell, data, lambda step, model: seen.append(step))
    assert seen == list(range(13))
    assert outcome == reference.train(cell, data)


def test_a_path_ends_where_its_parameters_are_no_numbers():
    path = PathOfTraining(Cell(**QUADRATIC | {"lr": 1e30}, batch_size=0, steps=50), digits(), points=50)
    assert path.status == "diverged"
    assert len(path.steps) < 51
    assert np.isfinite(path.parameters).all()


@pytest.mark.parametrize("factors", [{}, {"depth": 2, "width": 9, "activation": "tanh", "loss": "cross_entropy",
                                          "residual": True}])  # fmt: skip
def test_the_surface_is_the_training_loss_at_any_parameters(factors):
    data, cell = digits(), Cell(**QUADRATIC | factors)
    model = reference.MLP(cell, 64, 10).double()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).numpy()
        loss, _ = reference.evaluate(model, reference.evaluation_loader(data.train_sample), loss=cell.loss)
        assert Surface(cell, data)(flat) == pytest.approx(loss, rel=1e-12)


def found(resolution=9):
    cells = [Cell(**QUADRATIC, batch_size=size, steps=20) for size in (0, 10)]
    return cells, landscape.landscape(cells, digits(), View(points=20, resolution=resolution, margin=0.5))


def test_the_plane_is_numpys_of_all_paths_together():
    cells, (_, tables) = found()
    points = np.concatenate([PathOfTraining(cell, digits(), 20).parameters for cell in cells])
    centred = points - points.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    here = pd.concat(tables)
    for number, name in enumerate(("component_1", "component_2")):
        truth = centred @ directions[number]
        sign = np.sign(truth[0] * here[name].iloc[0])  # a direction has no sign
        np.testing.assert_allclose(here[name], sign * truth, atol=1e-10)
    np.testing.assert_allclose(here["explained"], (lengths[:2] ** 2).sum() / (lengths**2).sum(), rtol=1e-10)
    losses = [squares(digits())(point)[0] for point in points]
    np.testing.assert_allclose(here["train_loss"], losses, rtol=1e-12)


def test_the_grid_has_the_loss_of_its_points_which_on_squares_is_elliptical():
    cells, (grid, tables) = found()
    here = pd.concat(tables)
    for name in ("component_1", "component_2"):
        low, high = here[name].min(), here[name].max()
        ends = (low - 0.5 * (high - low), high + 0.5 * (high - low))
        np.testing.assert_allclose((grid[name].min(), grid[name].max()), ends)
    assert len(grid) == len(grid.drop_duplicates(["component_1", "component_2"])) == 81
    # the plane spanned anew, from the paths' own coordinates: point = mean + x u + y v
    points = np.concatenate([PathOfTraining(cell, digits(), 20).parameters for cell in cells])
    places = here[["component_1", "component_2"]].to_numpy()
    span = np.linalg.lstsq(places, points - points.mean(axis=0), rcond=None)[0]
    x, y = grid["component_1"].to_numpy(), grid["component_2"].to_numpy()
    losses = [squares(digits())(points.mean(axis=0) + place @ span)[0] for place in np.stack([x, y], axis=1)]
    np.testing.assert_allclose(grid["train_loss"], losses, rtol=1e-9)
    # a quadratic form exactly, and a convex one
    terms = np.stack([x**2, x * y, y**2, x, y, np.ones_like(x)], axis=1)
    form, *_ = np.linalg.lstsq(terms, grid["train_loss"].to_numpy(), rcond=None)
    np.testing.assert_allclose(terms @ form, grid["train_loss"], rtol=1e-9)
    assert min(form[0], form[2], 4 * form[0] * form[2] - form[1] ** 2) > 0


STUDY = """
question = "Where do the paths go?"
[parts.paths]
kind = "landscape"
seeds = 2
compare = { activation = ["tanh", "relu"], batch_size = [0, 20] }
fix = { depth = 1, width = 6, epochs = 4, validation = 0.9 }
points = 4
resolution = 5

[[expect]]
claim = "A plane holds more than nothing"
part = "paths"
measure = "recorded(of=explained)"
where = { activation = "tanh" }
between = [0, 1.0001]

[[figure]]
name = "paths"
title = "Two paths"
part = "paths"
table = "landscapes"
measure = "each(of=train_loss)"
where = { seed = 0 }
x = "component_1"
y = "component_2"
panel = "activation"
[figure.over]
part = "paths"
table = "curves"
x = "component_1"
y = "component_2"
hue = "batch_size"
where = { seed = 0, activation = "relu" }
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(STUDY, encoding="utf-8")
    return lambda: CliRunner().invoke(main, ["run", "study.toml"])


def test_a_landscape_is_a_part_of_a_study(run, monkeypatch):
    done = run()
    assert done.exit_code == 0, done.output
    assert "1 of 1 expectations held" in done.stdout
    results = ib.load("results/study/paths")
    curves, grids = results.curves, results.table("landscapes")
    # networks of one activation and seed share a plane; each path is kept at its start and at four steps
    assert len(grids) == 2 * 2 * 25
    assert curves.groupby(["activation", "batch_size", "seed"]).size().eq(5).all()
    assert curves.groupby(["activation", "seed"])["explained"].nunique().eq(1).all()
    assert set(curves.groupby("batch_size")["step"].max()) == {4, 32}
    drawn = pd.read_csv("reports/study/paths.csv")
    assert len(drawn[drawn.source == "measured"]) == 50
    assert drawn[drawn.source == "line"].groupby("hue").size().to_dict() == {0: 5, 20: 5}
    # the same command again computes nothing
    monkeypatch.setattr(landscape, "landscape", lambda *_: pytest.fail("computed again"))
    assert run().stdout == done.stdout


def test_paths_are_drawn_level_by_level_from_a_marked_start():
    places = [(x, y) for x in (0.0, 1.0, 2.0) for y in (0.0, 1.0)]
    rows = pd.DataFrame(places, columns=["x", "y"]).assign(seed=0, source="measured")
    rows["value"] = rows.x + rows.y + 1
    line = pd.DataFrame({"x": [2.0, 0.5, 1.5, 2.0, 1.0], "y": [1.0, 0.5, 0.0, 1.0, 0.2], "hue": [0, 0, 0, 32, 32]})
    over = Line(part="", table="curves", x="x", y="y", hue="batch_size")
    drawing = Drawing(measure="each(of=train_loss)", x="x", y="y", over=over)
    summary = relation.summary(rows, drawing, MEASURES.make(drawing.measure), line)
    figure = relation.draw(summary)
    axes = figure.axes[0]
    paths, starts = axes.get_lines()[::2], axes.get_lines()[1::2]
    # in the order of its rows, not sorted
    np.testing.assert_array_equal(paths[0].get_xydata(), [(2, 1), (0.5, 0.5), (1.5, 0)])
    np.testing.assert_array_equal(paths[1].get_xydata(), [(2, 1), (1, 0.2)])
    assert [tuple(start.get_xydata()[0]) for start in starts] == [(2, 1), (2, 1)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "32"]
    assert figure.legends[0].get_title().get_text() == "batch size"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("points = 4", "points = 1", "part paths: points: Input should be greater than or equal to 2"),
        ("points = 4", "pionts = 4", "part paths: unknown key 'pionts'"),
        (
            "points = 4",
            "tune = { lr = [0.1, 1.0] }",
            "a landscape has nothing to choose by: compare or fix what is tuned",
        ),
        ("depth = 1", "depth = 1, batch_norm = true", "batch normalization has running moments besides"),
        ("depth = 1", "depth = 1, stochastic_depth = 0.5", "stochastic depth skips residual branches; set residual"),
        ("depth = 1", "depht = 1", "unknown factor 'depht'; did you mean 'depth'?"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_before_any_work(run, old, new, message):
    Path("study.toml").write_text(STUDY.replace(old, new, 1), encoding="utf-8")
    done = run()
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert message in done.stderr
    assert not Path("results").exists()


def test_a_loss_that_rises_is_counted_by_steps():
    rows = pd.DataFrame({"step": [30, 0, 10, 20, 40], "train_loss": [3.0, 2.0, 1.0, 1.0, 5.0]})
    assert MEASURES.make("rises").value(rows) == pytest.approx(2 / 4)  # 2 1 1 3 5
