"""The self-measurement, by a clock that is made up, and what is kept of it."""

import itertools
import json

import pytest
import torch

from initbench.engine import tuning
from initbench.engine.products import available
from initbench.engine.training import tune
from initbench.engine.tuning import Tuning
from initbench.grid import training
from initbench.grid.study import Study
from initbench.grid.training import prepare, run_training


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "initbench" / "tuning.json"


def test_the_first_of_those_that_take_hardly_longer_is_chosen():
    assert tune.fastest({"a": 1.02, "b": 1.0, "c": 2.0}) == "a"
    assert tune.fastest({"a": 1.1, "b": 1.0, "c": 0.5}) == "c"


def test_the_measurement_follows_the_clock():
    """Where every call takes a second, the first routine wins, and the largest stack."""
    found = tune.measure(itertools.count().__next__)
    assert found == Tuning(*[available()[0]] * 3, stack=tune.STACKS[-1])


def test_the_measurement_leaves_the_threads_as_they_were():
    before = torch.get_num_threads()
    assert tune.measure().stack in tune.STACKS
    assert torch.get_num_threads() == before


def test_it_is_measured_once_a_machine(cache):
    found = [tuning.kept(lambda: Tuning(stack=24)), tuning.kept(lambda: pytest.fail("measured again"))]
    assert found == [Tuning(stack=24)] * 2
    assert json.loads(cache.read_text())[tuning.machine()]["stack"] == 24


@pytest.mark.parametrize("content", ["", "[]", '{"%s": 3}', '{"%s": {"stack": 0}}', '{"%s": {"forward": "magic"}}',
                                     '{"%s": {"forward": []}}', '{"%s": {"stack": "32"}}'])  # fmt: skip
def test_a_damaged_file_is_measured_again_and_mended(cache, content):
    cache.parent.mkdir()
    cache.write_text(content.replace("%s", tuning.machine()))
    assert tuning.kept(lambda: Tuning(stack=16)) == Tuning(stack=16)
    assert tuning.kept(lambda: pytest.fail("measured again")) == Tuning(stack=16)


def test_other_machines_stay_in_the_file(cache):
    cache.parent.mkdir()
    cache.write_text('{"another": {"stack": 64}}')
    tuning.kept(lambda: Tuning(stack=16))
    assert json.loads(cache.read_text())["another"] == {"stack": 64}


def test_where_nothing_can_be_kept_it_is_measured_each_time(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert [tuning.kept(lambda size=size: Tuning(stack=size)).stack for size in (16, 24)] == [16, 24]


def test_an_interrupted_study_goes_on_as_it_was_tuned_before(tmp_path, monkeypatch):
    """Another tuning adds up in another order: the end must be as if nothing had happened."""
    study = Study(compare={"lr": [0.1 / (1 + n) for n in range(20)]}, fix={"steps": 3, "width": 8}, seeds=2)
    monkeypatch.setattr(training, "tuned", lambda _: Tuning(stack=10))
    whole = run_training(prepare(study), tmp_path / "whole")
    halted = tmp_path / "halted"

    def stop(done, of):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(prepare(study), halted, progress=stop)
    monkeypatch.setattr(training, "tuned", lambda _: Tuning("joined", "joined", "joined", stack=4))
    again = run_training(prepare(study), halted)
    columns = ["cell_id", "test_loss", "stack_size"]
    assert again.read_parts("runs").sort_values("training_id")[columns[1:]].to_numpy().tolist() == (
        whole.read_parts("runs").sort_values("training_id")[columns[1:]].to_numpy().tolist())  # fmt: skip
    assert again.manifest["tuning"] == {"forward": "batched", "gradient": "batched", "evaluation": "batched",
                                        "stack": 10}  # fmt: skip
