"""`initbench status --check` names every file that is not as it was written, of any kind of results; no torch."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import without_torch
from click.testing import CliRunner

from initbench.analysis.results import faults_of, load
from initbench.cli import main
from initbench.core.errors import UsageError

SHAPE = 'init = ["he"]\nactivation = ["relu"]\ndepth = 2\nwidth = 8\nseeds = 2\n'
STUDIES = {
    "variance": SHAPE + "batch = 8\n",
    "jacobian": SHAPE,
    "phase": 'activation = "tanh"\nweight_variances = [1.0, 2.0]\nbias_variances = [0.1]\n',
    "train": '[fix]\nsteps = 2\nwidth = 4\ndepth = 1\n[compare]\ninit = ["he", "zeros"]\n',
}
"""Of each kind, one that takes no time."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Kind -> a finished folder of it."""
    folder = tmp_path_factory.mktemp("finished")
    for kind, text in STUDIES.items():
        study = folder / f"{kind}.toml"
        study.write_text(f'question = "?"\nkind = "{kind}"\n{text}')
        done = _run("run", study, "--out", folder / kind, "--reports", folder / "reports", "--no-figures")
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(params=STUDIES)
def out(request, finished, tmp_path):
    """A copy of the finished folder of each kind."""
    return Path(shutil.copytree(finished / request.param, tmp_path / request.param))


def _run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_whole_results(out):
    done = _run("status", out, "--check")
    assert (done.exit_code, done.stdout) == (0, "all files are as they were written\n")


def test_every_file_is_guarded(out):
    """Each damaged in turn: it is named, alone."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in (".lock", "answer.json")]
    assert len(files) > 2
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done = _run("status", out, "--check")
        assert done.exit_code == 3
        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [str(path)]
        path.write_bytes(content)


def test_missing_files_are_named(out):
    told = json.loads((out / "manifest.json").read_text())
    for name in told["tables"]:
        (out / f"{name}.parquet").unlink()
    (out / "study.toml").unlink()
    expected = {str(out / name): "missing" for name in ("study.toml", *(f"{name}.parquet" for name in told["tables"]))}
    assert {str(path): why for path, why in faults_of(out)} == expected


def test_a_missing_manifest_is_named(out):
    (out / "manifest.json").unlink()
    assert [(fault.path.name, fault.why) for fault in faults_of(out)] == [("manifest.json", "missing")]


def test_what_is_not_ours_among_the_parts_is_named(finished, tmp_path):
    out = Path(shutil.copytree(finished / "train", tmp_path / "out"))
    part = next(out.glob("parts/*.parquet"))
    (out / "parts/mine.parquet").write_text("mine")
    other = part.with_name(part.name.replace(part.name.partition("-")[2][:16], "0" * 16))
    shutil.copy(part, other)
    assert {(fault.path, fault.why) for fault in faults_of(out)} == {
        (out / "parts/mine.parquet", "not one of ours"), (other, "of another study")}  # fmt: skip


def test_what_was_set_aside_is_no_fault(finished, tmp_path):
    out = Path(shutil.copytree(finished / "train", tmp_path / "out"))
    for path in (out / "runs.parquet.damaged", out / "parts/x.runs.parquet.damaged.2"):
        path.write_text("set aside")
    assert faults_of(out) == []


def test_the_parts_of_a_study_file_are_checked(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out/jacobian/jacobians.parquet").write_bytes(b"")
    assert [str(fault.path.relative_to(tmp_path)) for fault in faults_of(tmp_path / "out")] == [
        "out/jacobian/jacobians.parquet"
    ]


def test_each_of_several_results_has_its_state(finished):
    told = _run("status", finished)
    assert told.exit_code == 0, told.output
    finished_ones = [told.output.split(f"{name}:\n")[1].splitlines()[0] for name in STUDIES]
    assert finished_ones == ["state      finished"] * len(STUDIES)
    with pytest.raises(UsageError, match=r"holds results in folders of their own: jacobian, phase, train, variance$"):
        load(finished)


def test_results_put_aside_are_none_of_the_folders(finished, tmp_path):
    shutil.copytree(finished / "train", tmp_path / "out/layout1")
    assert (
        _run("status", tmp_path / "out").stderr
        == f"Error: {tmp_path / 'out'} holds no results: there is no manifest.json\n"
    )


def test_a_manifest_leads_nowhere_else(finished, tmp_path):
    out = Path(shutil.copytree(finished / "train", tmp_path / "out"))
    told = json.loads((out / "manifest.json").read_text())
    told["sums"]["../secret"] = "0" * 64
    del told["seal"]
    (out / "manifest.json").write_text(json.dumps(told))
    (tmp_path / "secret").write_text("secret")
    assert faults_of(out) == []


@pytest.mark.parametrize("sums", [3, ["study.toml"], {"study.toml": 3}, {"runs.parquet": None}])
def test_a_strange_manifest_is_told_and_no_failure(finished, tmp_path, sums):
    out = Path(shutil.copytree(finished / "train", tmp_path / "out"))
    told = {**json.loads((out / "manifest.json").read_text()), "sums": sums}
    del told["seal"]
    (out / "manifest.json").write_text(json.dumps(told))
    assert _run("status", out, "--check").exit_code == 3


def test_a_folder_without_results(tmp_path):
    done = _run("status", tmp_path, "--check")
    assert (done.exit_code, done.stderr) == (2, f"Error: {tmp_path} holds no results: there is no manifest.json\n")
    with pytest.raises(UsageError, match="holds no results"):
        faults_of(tmp_path / "nothing")


def test_status_tells_of_a_damaged_table_in_one_line(finished, tmp_path):
    out = Path(shutil.copytree(finished / "train", tmp_path / "out"))
    pd.DataFrame({"x": [1]}).to_parquet(out / "runs.parquet")
    done = _run("status", out)
    told = f"Error: {out / 'runs.parquet'}: not as it was written; the command that wrote it makes it anew\n"
    assert (done.exit_code, done.stderr) == (1, told)


def test_torch_is_not_needed(finished):
    code = f"""
from initbench.cli import main
main(["status", {str(finished / "train")!r}, "--check"])
"""
    without_torch.run(code)
