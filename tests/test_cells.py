"""A grid's cells by their places: the plain product, less what is excluded, whichever is asked for first."""

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initbench.core.cell import Cell
from initbench.datasets import DATASETS
from initbench.grid import training_plan
from initbench.grid.cells import Grid
from initbench.grid.costs import bytes_of
from initbench.grid.study import Study
from initbench.grid.training_plan import plan_training

LEVELS = {"init": ["he_normal", "zeros", "ones"], "depth": [1, 2, 5], "lr": [0.1, 0.01], "nesterov": [False, True],
          "dropout": [0.0, 0.5], "l2": [0.1, 0.0], "residual": [False, True, 2]}  # fmt: skip
some_levels = st.fixed_dictionaries({}, optional={name: st.lists(st.sampled_from(of), min_size=1, unique=True)
                                                  for name, of in LEVELS.items()})  # fmt: skip
some_rules = st.lists(some_levels.filter(bool), max_size=3)
DIGITS = {"digits": DATASETS.make("digits").load(None, False)}


def as_dictionary(cell):
    return {**vars(cell), **{name: dict(cell.regularizers).get(name, 0.0) for name in ("dropout", "l2")}}


def plain_product(factors, rules, seeds):
    """All combinations, one after the other, those of a rule left out."""
    for *levels, seed in itertools.product(*factors.values(), range(seeds)):
        chosen = {**dict(zip(factors, levels, strict=True)), "seed": seed}
        strengths = tuple((name, chosen.pop(name)) for name in ("l2", "dropout") if name in chosen)
        cell = Cell(**chosen, regularizers=tuple((name, strength) for name, strength in strengths if strength))
        if not any(all(as_dictionary(cell)[name] in of for name, of in rule.items()) for rule in rules):
            yield cell


@settings(deadline=None)
@given(some_levels, some_rules, st.integers(1, 3), st.data())
def test_the_cells_are_the_plain_product(factors, rules, seeds, data):
    grid = Study(compare=factors, exclude=rules, seeds=seeds).cells()
    plain = list(plain_product(factors, rules, seeds))
    assert list(grid) == plain
    assert len(grid) == len(plain)
    places = data.draw(st.permutations(range(len(plain))))
    assert [grid[place] for place in places] == [plain[place] for place in places]
    assert list(grid.at(places)) == [plain[place] for place in places]
    start, stop = sorted(data.draw(st.tuples(*[st.integers(-len(plain) - 1, len(plain) + 1)] * 2)))
    assert list(grid[start:stop]) == plain[start:stop]
    assert list(pickle.loads(pickle.dumps(grid))) == plain


@settings(deadline=None)
@given(some_levels, some_rules, st.randoms(use_true_random=False))
def test_the_levels_are_those_of_cells_that_there_are_the_first_cells_first(factors, rules, random):
    grid = Study(compare=factors, exclude=rules, seeds=2).cells()
    some = grid.at(random.sample(range(len(grid)), len(grid) // 2))
    for cells in (grid, some):
        if len(cells):
            for name in (*LEVELS, "seed", "width"):
                assert cells.levels(name) == list(dict.fromkeys(as_dictionary(cell)[name] for cell in cells))


def test_an_empty_rule_excludes_everything_and_a_place_beyond_the_end_is_none():
    grid = Grid({"depth": [1, 2]}, [{}])
    assert (len(grid), list(grid)) == (0, [])
    assert Grid({"depth": [1, 2]})[-1].depth == 2


def test_a_stack_is_made_of_cells_that_are_not_there_yet():
    study = Study(compare={"lr": [0.3, 0.2, 0.1]}, fix={"width": 1000}, seeds=4)
    plan = plan_training(study.cells(), DIGITS, most=2)
    assert plan.stacks.sizes == [2, 1] * 4
    assert list(map(len, plan.stacks)) == plan.stacks.sizes
    assert [stack[0] for stack in plan.stacks] == list(plan.stacks.firsts())
    there = np.array([cell.lr == 0.2 or cell.seed == 3 for cell in plan.cells])
    left = [(cell.lr, cell.seed) for stack in plan.stacks.without(there) for cell in stack]
    assert left == [(lr, seed) for seed in range(3) for lr in (0.1, 0.3)]


@pytest.mark.parametrize(
    ("width", "most", "seeds", "workers", "sizes"),
    [
        (1000, 16, 10, 2, {16, 17}),  # large networks: about as many as on this machine are best
        (10, 16, 10, 2, {50}),  # small ones: a seed's all, which move no more memory
        (10, 16, 1, 2, {16, 17}),  # but not where one stack would keep a core busy at the end
        (10, 16, 1, 8, {8, 2}),  # and every core has work
        (10, 1, 10, 2, {1}),  # an engine that trains one at a time
    ],
)
def test_small_networks_are_stacked_in_larger_numbers_where_there_are_enough(width, most, seeds, workers, sizes):
    study = Study(compare={"lr": [1 / (1 + n) for n in range(50)]}, fix={"width": width}, seeds=seeds)
    stacks = plan_training(study.cells(), DIGITS, most, workers).stacks
    assert set(stacks.sizes) == sizes
    assert len({cell for stack in stacks for cell in stack}) == sum(stacks.sizes) == 50 * seeds


def test_a_stack_fits_into_memory_however_small_its_networks_are(monkeypatch):
    cells = Study(compare={"lr": [1 / (1 + n) for n in range(50)]}, seeds=10).cells()
    one = bytes_of(cells[0], DIGITS["digits"])
    monkeypatch.setattr(training_plan, "memory", lambda device: 2 * (5 * one + one // 2))
    assert set(plan_training(cells, DIGITS, 16, workers=2).stacks.sizes) == {5}


def test_a_plan_takes_tens_of_bytes_a_cell(monkeypatch):
    monkeypatch.setattr(training_plan, "REMEMBERED", 16)
    monkeypatch.setattr(training_plan, "identity", training_plan.identity.__wrapped__)

    def peak(cells):
        study = Study(compare={"lr": [1 / (1 + n) for n in range(cells // 100)]}, seeds=100)
        tracemalloc.start()
        plan = plan_training(study.cells(), DIGITS)
        assert plan.distinct == cells
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)  # what is made once a process
    assert (peak(4000) - peak(2000)) / 2000 < 250
