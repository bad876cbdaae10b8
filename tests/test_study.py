"""Study files: what they mean, and what is wrong with a bad one, in one line."""

from pathlib import Path

import numpy as np
import pytest

import initbench
from initbench import studies
from initbench.core.errors import UsageError
from initbench.grid.factors import lecture_name
from initbench.grid.study import Study, default_study, read_study, resolve, with_settings
from initbench.recipe.samples import held_out

STUDIES = Path(initbench.__file__).parent.parent / "studies"
LECTURE = STUDIES / "mlp_mnist_200_steps.toml"


def test_the_lectures_sweep_has_exactly_its_10368_cells():
    cells = list(read_study(LECTURE).cells())
    assert len(cells) == len(set(cells)) == 10_368
    factors = ("init", "activation", "depth", "lr", "momentum", "nesterov", "optimizer", "batch_size", "width", "seed")
    assert [len({getattr(cell, name) for cell in cells}) for name in factors] == [6, 3, 3, 3, 2, 2, 2, 2, 2, 2]
    assert {(cell.steps, cell.validation, cell.dataset) for cell in cells} == {(200, 0.16667, "digits")}
    names = [lecture_name(cell) for cell in cells]
    assert len(set(names)) == 10_368 / 2
    assert "he-relu-2-0.01-0.9-64-100-sgd-True" in names


def test_the_lectures_sweep_is_on_mnist_where_asked_and_holds_out_10000_images():
    (options,) = studies.read(LECTURE, full=True).parts.values()
    full, fashion = Study(**options), resolve(read_study(LECTURE), (), "fashion_mnist")
    for study, dataset in ((full, "mnist"), (fashion, "fashion_mnist")):
        cells = list(study.cells())
        assert len(cells) == 10_368
        assert {(cell.dataset, held_out(60_000, cell.validation)) for cell in cells} == {(dataset, 10_000)}


TRAINING = [
    pytest.param(options, id=f"{path.stem}-{part}")
    for path in sorted(STUDIES.glob("*.toml"))
    for part, options in studies.read(path).parts.items()
    if options.get("kind", "train") == "train"
]


@pytest.mark.parametrize("options", TRAINING)
def test_every_study_of_training_reads_back_as_itself(options):
    study = Study(**options)
    assert list(Study(**study.as_toml()).cells()) == list(study.cells())


def test_the_default_study_is_the_lectures_factors():
    ours, theirs = default_study(), read_study(LECTURE)
    assert set(ours.factors) >= set(theirs.compare)


def test_equal_levels_are_one():
    study = Study(compare={"init": ["he", "he_normal"], "lr": [0.1, 0.10]})
    assert len(list(study.cells())) == 1


def test_excluded_cells_are_left_out():
    rule = {"init": "he", "depth": [1, 2]}
    study = Study(compare={"init": ["xavier", "he_normal"], "depth": [1, 2, 3]}, exclude=[rule], seeds=[4, 7])
    kept = [(cell.init, cell.depth, cell.seed) for cell in study.cells()]
    assert kept == [("xavier_normal", depth, seed) for depth in (1, 2, 3) for seed in (4, 7)] + [
        ("he_normal", 3, 4), ("he_normal", 3, 7)]  # fmt: skip


def test_an_exclusion_may_name_what_the_study_does_not():
    study = Study(compare={"init": ["he", "zeros"]}, exclude=[{"init": "zeros", "momentum": 0.0, "dropout": 0.0}])
    assert [cell.init for cell in study.cells()] == ["he_normal"]


def test_levels_may_be_tuples_ranges_and_numpys():
    study = Study(compare={"depth": range(1, 3), "lr": np.array([0.1, 0.2]), "init": ("he",)}, seeds=np.int64(2))
    assert len(list(study.cells())) == 8


def test_regularizers_are_factors():
    (off, on) = Study(compare={"dropout": [0.0, 0.5]}, fix={"l2": 0.1}).cells()
    assert (off.regularizers, on.regularizers) == ((("l2", 0.1),), (("l2", 0.1), ("dropout", 0.5)))


@pytest.mark.parametrize("name", ["a,b.npz", "a, 1(x).npz", "a),b(.npz", 'a",b.npz'])
def test_a_path_within_quotes_may_have_commas_and_brackets(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    samples, labels = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    np.savez(name, x_train=samples, y_train=labels, x_test=samples, y_test=labels)
    for text in (f"npz(path={name!r}),digits", f'[npz(path={name!r}), "digits"]'):
        dataset = with_settings(default_study(), [("dataset", text)]).compare["dataset"]
        assert dataset == [f"npz(path={name!r})", "digits"]


def test_settings_take_the_place_of_the_studys_factors():
    study = with_settings(read_study(LECTURE), [("lr", "0.5"), ("init", "he, normal(std=0.1)"), ("seeds", "3"),
                                                ("dataset", "digits"), ("dropout", "[0.0, 0.5]")])  # fmt: skip
    cells = list(study.cells())
    assert {cell.lr for cell in cells} == {0.5}
    assert {cell.init for cell in cells} == {"he_normal", "normal(std=0.1)"}
    assert {cell.seed for cell in cells} == {0, 1, 2}
    assert {cell.dataset for cell in cells} == {"digits"}
    assert {cell.strength("dropout") for cell in cells} == {0.0, 0.5}


BAD = [
    ({"compar": {}}, "unknown key 'compar'; did you mean 'compare'?"),
    ({"compare": {"init": ["hee"]}}, "compare.init: unknown initializer 'hee'; did you mean 'he'?"),
    ({"compare": {"inti": ["he"]}}, "compare.inti: unknown factor 'inti'; did you mean 'init'?"),
    ({"compare": {"lr": []}}, "compare.lr: a factor needs at least one level, none was given"),
    ({"compare": {"lr": ["fast"]}}, "compare.lr: input should be a valid number, not 'fast'"),
    ({"compare": {"lr": [-1.0]}}, "compare.lr: input should be greater than 0, not -1.0"),
    ({"compare": {"lr": [float("nan")]}}, "compare.lr: input should be greater than 0, not nan"),
    ({"compare": {"lr": [float("inf")]}}, "compare.lr: inf is out of range; accepted: 1e-30 to 1e+30"),
    ({"fix": {"mixup": 1e-320}}, "fix.mixup: 9.99989e-321 is out of range; accepted: 1e-30 to 1e+30"),
    ({"fix": {"lr": {}}}, "fix.lr: a level is a number, a word, true or false, not {}"),
    ({"compare": {"seed": [7, 8]}}, "the factor 'seed' is given as seeds = 3 or seeds = [7, 8]"),
    ({"fix": {"lr": 10**5000}}, "fix.lr: input should be a valid number, not a int that is too long"),
    ({"fix": {"optimizer": "adam(eps=-1)"}}, "fix.optimizer: adam: eps must be above 0, not -1"),
    ({"name": ".."}, "name: string should match pattern '^[A-Za-z0-9_][A-Za-z0-9_.-]*$', not '..'"),
    ({"question": "\ud800"}, "question: not a text that can be written"),
    ({"compare": {"depth": [1.5]}}, "compare.depth: input should be a valid integer, not 1.5"),
    ({"compare": {"nesterov": [1]}}, "compare.nesterov: input should be a valid boolean, not 1"),
    ({"fix": {"dropout": 1.5}}, "fix.dropout: must be below 1, not 1.5"),
    ({"fix": {"lr": [0.1, 0.2]}}, "fix.lr: a fixed factor has one level; compare or tune one that has several"),
    ({"compare": {"lr": 0.1}, "fix": {"lr": 0.1}},
     "the factor 'lr' is given twice; it is either compared, tuned or fixed"),
    ({"kind": "vary"}, "kind: input should be 'train', not 'vary'"),
    ({"seeds": 0}, "seeds: at least one is needed"),
    ({"seeds": [1, 1]}, "seeds: one is given twice"),
    ({"seeds": "many"}, "seeds: give how many, or a list of whole numbers, not 'many'"),
    ({"seeds": 10**9}, "the grid has 1,000,000,000 cells; at most 1,000,000 are accepted"),
    ({"compare": {"lr": [x / 1000 for x in range(1, 1001)], "width": list(range(1, 1001)), "depth": list(range(1000))}},
     "the grid has 1,000,000,000 cells; at most 1,000,000 are accepted"),
    ({"name": "../up"}, "name: string should match pattern '^[A-Za-z0-9_][A-Za-z0-9_.-]*$', not '../up'"),
    ({"exclude": [{"lrr": 1}]}, "exclude 1.lrr: unknown factor 'lrr'; did you mean 'lr'?"),
    ({"fix": {"optimizer": "adam(beta1=2)"}}, "fix.optimizer: adam: beta1 must be at least 0 and below 1, not 2"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), BAD, ids=lambda part: part if isinstance(part, str) else "")
def test_a_bad_study_gets_one_line(given, message):
    with pytest.raises(UsageError) as told:
        Study(**given)
    assert str(told.value) == message


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbf[compare]\nlr = [0.1, 0.2]\n")
    assert len(read_study(path).cells()) == 2


def test_a_bad_file_is_named(tmp_path):
    path = tmp_path / "study.toml"
    with pytest.raises(UsageError, match=r"cannot read the study .*study\.toml: No such file"):
        read_study(path)
    path.write_text("[compare\n")
    with pytest.raises(UsageError, match=r"study\.toml is not TOML: "):
        read_study(path)
    path.write_text("[compare]\nlrr = [1]\n")
    with pytest.raises(UsageError, match=r"study\.toml: compare\.lrr: unknown factor 'lrr'; did you mean 'lr'\?"):
        read_study(path)
    for deep in ("[fix]\nlr = " + "[" * 3000 + "]" * 3000, "lr = " + "1" * 5000):
        path.write_text(deep)
        with pytest.raises(UsageError, match=r"study\.toml"):
            read_study(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        read_study(path)
