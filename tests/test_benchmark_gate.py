"""The gate on speed: when it fails, what it says. Nothing is timed here."""

import contextlib
import itertools
import json
import math

import pandas as pd
import pytest
from benchmarks import gate, history, measure, rule
from benchmarks.rule import Machine, Workload
from click.testing import CliRunner
from scipy.stats import t as student

HERE = Machine(cpu="Some CPU (family 6, model 1)", cores=2)
RATIOS = {"stack": [3.0, 3.03, 2.98, 3.01, 3.0], "report": [0.5, 0.505, 0.495, 0.5, 0.51]}
MEDIANS = {"stack": 3.0, "report": 0.5}


def baseline_told(**told):
    return {"date": "2026-01-01", "commit": "abc", "machine": HERE.model_dump(), "versions": {"torch": "2"},
            "workloads": {name: {"ratios": ratios} for name, ratios in RATIOS.items()}, **told}  # fmt: skip


def baselines_told(*told):
    return json.dumps({"machines": told or [baseline_told()]})


def fresh_told(ratios, cpu="Some CPU", torch="2"):
    """As pytest-benchmark writes it."""
    machine = {"cpu": {"brand_raw": cpu, "family": 6, "model": 1}, "cores": 2, "versions": {"torch": torch}}
    benches = [{"name": f"test_{name}", "extra_info": {"ratio": ratio}} for name, ratio in ratios.items()]
    return {"machine_info": machine, "benchmarks": [*benches, {"name": "test_of_no_ratio", "extra_info": {}}]}


@pytest.fixture
def compare(tmp_path):
    """Judge measured ratios by a baseline, both written as files."""

    def judged(ratios, baseline=None, only=(), **machine):
        paths = {name: tmp_path / f"{name}.json" for name in ("fresh", "baseline")}
        paths["fresh"].write_text(json.dumps(fresh_told(ratios, **machine)))
        told = baselines_told() if baseline is None else baseline
        paths["baseline"].write_text(told)
        options = [f"--{name}={path}" for name, path in paths.items()] + [f"--workload={name}" for name in only]
        return CliRunner().invoke(gate.main, ["compare", *options, f"--out={tmp_path / 'out'}"])

    return judged


def test_the_same_ratios_pass(compare, tmp_path):
    done = compare(MEDIANS)
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "out/comparison.csv")
    assert table["verdict"].tolist() == ["ok", "ok"]
    assert table["change"].tolist() == [0.0, 0.0]


def test_a_quarter_slower_fails_and_is_named(compare):
    done = compare({**MEDIANS, "stack": 3.0 / 1.25})
    assert done.exit_code == 1
    assert "WORSE: stack: slower than the baseline by more than noise" in done.output
    assert "WORSE: report" not in done.output


def test_within_noise_passes(compare):
    assert compare({**MEDIANS, "stack": 3.0 * 0.96}).exit_code == 0


def test_a_workload_cannot_vanish(compare, tmp_path):
    done = compare({"stack": 3.0})
    assert done.exit_code == 1
    assert "MISSING: report: in the baseline and not measured" in done.output
    assert compare(MEDIANS).exit_code == 0  # and the history reads what it wrote


def test_one_workload_is_judged_alone(compare, tmp_path):
    assert compare({"report": 0.5}, only=["report"]).exit_code == 0
    assert pd.read_csv(tmp_path / "out/comparison.csv")["workload"].tolist() == ["report"]
    assert compare({"stack": 2.0}, only=["stack"]).exit_code == 1
    done = compare(MEDIANS, only=["reports"])
    assert (done.exit_code, done.output) == (2, "Error: the baseline knows no 'reports', but stack, report\n")


def test_a_new_workload_is_said_and_passes(compare):
    done = compare({**MEDIANS, "another": 1.0})
    assert done.exit_code == 0
    assert "NEW: another: not in the baseline" in done.output


def test_faster_passes_and_asks_for_a_new_baseline(compare):
    done = compare({**MEDIANS, "stack": 4.0})
    assert done.exit_code == 0
    assert "BETTER: stack: faster than the baseline: renew it" in done.output


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("{}", "baseline.json: machines: Field required"),
        ("[]", "baseline.json: the whole: Input should be a valid dictionary or instance of Baselines"),
        (baselines_told(baseline_told(workloads={})), "machines.0.workloads: Dictionary should have at least 1 item"),
        (baselines_told(baseline_told(workloads={"stack": {"ratios": [1.0, 0.0, 1.0]}})),
         "workloads.stack.ratios.1: Input should be greater than 0"),
    ],
)  # fmt: skip
def test_a_broken_baseline_gets_one_line(compare, tmp_path, baseline, message):
    done = compare(MEDIANS, baseline)
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert message in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [("nowhere.json", "nowhere.json cannot be read: No such file or directory"),
     ("baseline.json", "baseline.json is no JSON of the benchmarks: KeyError 'machine_info'")],
)  # fmt: skip
def test_what_is_no_measurement_gets_one_line(tmp_path, given, message):
    (tmp_path / "baseline.json").write_text(baselines_told())
    options = [f"--fresh={tmp_path / given}", f"--baseline={tmp_path / 'baseline.json'}", f"--out={tmp_path}"]
    done = CliRunner().invoke(gate.main, ["compare", *options])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert message in done.output


def test_a_workload_that_cannot_run_is_no_measurement(monkeypatch):
    monkeypatch.setattr(measure, "WORKLOADS", "tests/benchmarks/nowhere.py")
    with pytest.raises(measure.BadInput, match=r"nowhere\.py cannot be measured: pytest ended with 4"):
        measure.measure()


def test_another_machine_gets_twice_the_allowance_and_is_told(compare, tmp_path):
    slower = {**MEDIANS, "stack": 3.0 * 0.93}
    assert compare(slower).exit_code == 1
    done = compare(slower, cpu="Other CPU", torch="3")
    assert done.exit_code == 0
    assert "Another machine than the baseline's: allowances are doubled (Other CPU" in done.output
    assert "Other versions than the baseline's: torch 3 (baseline: 2)." in done.output
    own = Workload(ratios=RATIOS["stack"]).allowance
    wider = pd.read_csv(tmp_path / "out/comparison.csv").set_index("workload").loc["stack", "allowance"]
    assert math.log(1 - wider) == pytest.approx(2 * math.log(1 - own), rel=1e-4)


def test_each_machine_is_held_against_its_own_baseline(compare):
    slow = {name: {"ratios": [ratio / 2 for ratio in ratios]} for name, ratios in RATIOS.items()}
    there = {"cpu": "Other CPU (family 6, model 1)", "cores": 2}
    both = baselines_told(baseline_told(), baseline_told(machine=there, workloads=slow, date="2026-01-02"))
    as_slow = {name: ratio / 2 for name, ratio in MEDIANS.items()}
    assert compare(MEDIANS, both).exit_code == 0
    assert compare(as_slow, both).exit_code == 1
    done = compare(as_slow, both, cpu="Other CPU")
    assert done.exit_code == 0
    assert "Another machine" not in done.output
    output = compare(as_slow, both, cpu="Third CPU").output
    assert "Another machine than the baseline's: allowances are doubled (Third CPU" in output
    assert "baseline: Other CPU" in output  # the newest


def test_the_allowance_by_hand():
    """Logarithms -0.02, 0, 0, 0.02, 0.04 about 0: absolute deviations 0, 0, 0.02, 0.02, 0.04, their median 0.02."""
    workload = Workload(ratios=[2 * math.exp(step) for step in (-0.02, 0.0, 0.04, 0.02, 0.0)])
    assert workload.ratio == 2.0
    assert workload.noise == pytest.approx(1.4826 * 0.02)
    assert student.ppf(0.999, 4) == pytest.approx(7.173, abs=1e-3)  # as in printed tables
    assert workload.allowance == pytest.approx(1 - math.exp(-7.173 * 1.4826 * 0.02 * math.sqrt(1.2)), abs=1e-4)


def test_repeats_without_noise_allow_the_floor_and_one_bad_second_changes_nothing():
    assert Workload(ratios=[1.0, 1.0, 1.0, 1.0]).allowance == rule.FLOOR
    assert Workload(ratios=[1.0, 1.0, 1.0, 0.3]).allowance == rule.FLOOR


@pytest.mark.parametrize(("later", "code"), [([2.4, 2.4], 1), ([3.0, 2.4], 1), ([3.0, 3.0], 0)])
def test_what_looks_worse_is_measured_twice_more_and_the_median_decides(tmp_path, monkeypatch, later, code):
    queue, asked = [{**MEDIANS, "stack": 2.4}, *({"stack": ratio} for ratio in later)], []

    def measured(which=()):
        asked.append(list(which))
        return rule.Fresh(ratios=queue.pop(0), machine=HERE, versions={"torch": "2"})

    monkeypatch.setattr(gate, "measure", measured)
    (tmp_path / "baseline.json").write_text(baselines_told())
    options = [f"--baseline={tmp_path / 'baseline.json'}", f"--out={tmp_path}"]
    done = CliRunner().invoke(gate.main, ["compare", *options])
    assert done.exit_code == code, done.output
    assert asked == [[], ["stack"], ["stack"]]


@pytest.mark.parametrize(
    ("there", "turns", "verdict"),
    [([3.0, 3.1, 2.9, 3.0, 3.05, 3.0, 2.95], 7, "worse"),  # the baseline's commit is as fast as ever: ours is slower
     ([2.4, 2.5, 2.3], 3, "ok"),  # it is as slow here as ours: the machine is, and three turns tell
     ([2.9, 2.4, 2.3, 2.2], 4, "ok"),  # or four
     ([2.5, 3.5, 2.5, 3.4, 2.7, 3.2, 2.8], 14, "worse"),  # slower by a fifth, which 14 turns know and 7 do not
     ([3.6, 4.0, 1.4, 2.9, 2.4, 2.0, 2.5], 21, "open")],  # slower by a tenth at most, and nothing is sure
)  # fmt: skip
def test_what_looks_slower_is_measured_in_turns_with_the_baselines_commit(tmp_path, monkeypatch, there, turns, verdict):
    asked, theirs = [], itertools.cycle(there)

    @contextlib.contextmanager
    def checked_out(commit):
        assert commit == "abc"
        yield tmp_path

    def measured(which=(), root=None):
        asked.append((list(which), root))
        ratios = {"stack": next(theirs)} if root else {**MEDIANS, "stack": 2.4}
        return rule.Fresh(ratios=ratios, machine=HERE, versions={"torch": "2"})

    monkeypatch.setattr(gate, "checked_out", checked_out)
    monkeypatch.setattr(gate, "measure", measured)
    (tmp_path / "baseline.json").write_text(baselines_told())
    options = [f"--baseline={tmp_path / 'baseline.json'}", f"--out={tmp_path}"]
    done = CliRunner().invoke(gate.main, ["compare", *options])
    assert done.exit_code == (verdict == "worse"), done.output
    assert "measured beside abc 3 to 7 times: stack" in done.output
    assert asked == [([], None), *[(["stack"], None), (["stack"], tmp_path)] * turns]
    assert pd.read_csv(tmp_path / "comparison.csv")["verdict"].tolist() == [verdict, "ok"]
    assert ("OPEN: stack: slower on average than abc beside it" in done.output) == (verdict == "open")


def test_another_machines_ratio_alone_is_no_evidence(tmp_path, monkeypatch):
    there = Machine(cpu="Other CPU", cores=2)
    slow = rule.Fresh(ratios={**MEDIANS, "stack": 2.0}, machine=there, versions={"torch": "2"})
    monkeypatch.setattr(gate, "measure", lambda *_: slow)
    (tmp_path / "baseline.json").write_text(baselines_told())
    done = CliRunner().invoke(gate.main, ["compare", f"--baseline={tmp_path / 'baseline.json'}", f"--out={tmp_path}"])
    assert done.exit_code == 0, done.output
    assert "UNJUDGED: stack: looks slower, but on another machine only abc beside it could tell" in done.output


def test_a_commit_is_checked_out_for_a_while():
    with measure.checked_out(measure.commit().removesuffix("+")) as there:
        assert (there / "initbench/__init__.py").is_file()
    assert not there.exists()
    with measure.checked_out("no-such-commit") as there:
        assert there is None


def test_a_baseline_is_renewed_from_repeats_and_judges_at_once(tmp_path, monkeypatch, compare):
    runs = [{name: ratios[number] for name, ratios in RATIOS.items()} for number in range(5)]
    fresh = [rule.Fresh(ratios=run, machine=HERE, versions={"torch": "2"}) for run in runs]
    monkeypatch.setattr(gate, "measure", lambda: fresh.pop(0))
    path = tmp_path / "renewed" / "baseline.json"
    done = CliRunner().invoke(gate.main, ["renew", "--repeats=5", f"--baseline={path}"])
    assert done.exit_code == 0, done.output
    told = json.loads(path.read_text())
    assert told["machines"][0]["workloads"]["stack"]["ratios"] == RATIOS["stack"]
    assert told["machines"][0]["workloads"]["stack"]["ratio"] == 3.0
    assert compare(MEDIANS, path.read_text()).exit_code == 0


def test_a_renewed_baseline_leaves_those_of_other_machines(tmp_path, monkeypatch):
    there = Machine(cpu="Other CPU", cores=8)
    (path := tmp_path / "baseline.json").write_text(baselines_told(baseline_told(), baseline_told(machine=dict(there))))
    fresh = rule.Fresh(ratios={"stack": 7.0}, machine=HERE, versions={})
    monkeypatch.setattr(gate, "measure", lambda: fresh)
    done = CliRunner().invoke(gate.main, ["renew", "--repeats=3", f"--baseline={path}"])
    assert done.exit_code == 0, done.output
    machines = rule.Baselines(**json.loads(path.read_text())).machines
    assert [each.machine for each in machines] == [there, HERE]
    assert [each.workloads["stack"].ratio for each in machines] == [3.0, 7.0]


def test_a_baseline_too_noisy_to_see_a_quarter_is_told(tmp_path, monkeypatch):
    noisy = iter([1.0, 1.2, 0.8, 1.1, 0.9])
    monkeypatch.setattr(gate, "measure", lambda: rule.Fresh(ratios={"stack": next(noisy)}, machine=HERE, versions={}))
    done = CliRunner().invoke(gate.main, ["renew", "--repeats=5", f"--baseline={tmp_path / 'baseline.json'}"])
    assert done.exit_code == 1
    assert "stack is too noisy: it may fall by" in done.output


def test_the_history_grows_and_is_drawn_relative_to_todays_baseline(compare, tmp_path, monkeypatch):
    days = iter(["2026-01-01", "2026-01-02"])
    monkeypatch.setattr(gate, "now", lambda: next(days))
    compare(MEDIANS)
    compare({**MEDIANS, "stack": 2.4})
    told = pd.read_csv(tmp_path / "out/history.csv")
    assert told["verdict"].tolist() == ["ok", "ok", "worse", "ok"]
    drawn = history.summary(told, rule.Baseline(**baseline_told()))
    assert drawn["comparison"].tolist() == [1, 1, 2, 2]
    assert drawn["relative"].tolist() == pytest.approx([1.0, 1.0, 0.8, 1.0])
    figure = history.draw(drawn)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["stack", "report"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([1.0, 0.8])
    assert (tmp_path / "out/history.png").read_bytes().startswith(b"\x89PNG")


def test_a_history_that_is_none_gets_one_line(compare, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/history.csv").write_text("a,b\n1,2\n")
    done = compare(MEDIANS)
    assert done.exit_code == 2
    assert "history.csv is no history of the benchmarks" in done.output
