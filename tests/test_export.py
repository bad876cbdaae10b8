"""Exports, read back by the programs that they are for: numbers as in the tables, each run once, nothing sent."""

import csv
import json
import os
import shutil
import struct
import sys

import numpy as np
import page_results as made
import pandas as pd
import pyarrow.parquet as pq
import pytest
import without_torch
from click.testing import CliRunner
from filelock import FileLock

from initbench.analysis.export import TARGETS, export
from initbench.analysis.results import Results
from initbench.cli import main

TRACKERS = ["tensorboard", "mlflow", "wandb"]
STATUSES = ["finished", "diverged", "impossible", "failed"]
FACTORS = ["init", "lr", "nesterov", "depth"]
METRICS = ["test_accuracy", "test_loss", "diverged_at"]


def tables(key=0):
    """Two learning rates and two seeds, a status each; numbers of many digits, and one that float32 cannot hold."""
    runs = made.runs(**{**made.FEW, "init": ["normal(std=0.01)"], "activation": ["relu"], "lr": [0.1, 0.3]})
    runs = runs.assign(status=STATUSES, note=["", "", 'a "quoted", note\nof two lines', ""], study="few")
    runs["test_accuracy"] = [1 / 3 + key, np.nan, np.nan, np.nan]
    runs["test_loss"] = [np.pi, 1e50, np.nan, np.nan]
    runs["diverged_at"] = pd.array([pd.NA, 7, pd.NA, pd.NA], dtype="Int64")
    steps = [(cell, step, 1 / (3 + step)) for cell in runs["cell_id"] for step in (0, 5, 10)]
    curves = pd.DataFrame(steps, columns=["cell_id", "step", "train_loss"])
    layers = curves.merge(pd.DataFrame({"layer": [1, 2]}), how="cross").rename(columns={"train_loss": "dead_fraction"})
    layers["dead_fraction"] /= layers["layer"]
    return {"runs": runs, "curves": curves, "layer_curves": layers}


def training(path, **manifest):
    study = {"kind": "train", "name": "few", "question": "Which?", "compare": {"lr": [0.1, 0.3]}, "seeds": 2}
    return made.folder(path, study, tables(), **manifest)


def propagation(path):
    rows = [(init, "relu", seed, layer, value**layer * (1 + seed))
            for init, value in (("he_normal", 1.0), ("xavier_normal", 0.5)) for seed in range(2)
            for layer in (1, 2, 3)]  # fmt: skip
    layers = pd.DataFrame(rows, columns=["init", "activation", "seed", "layer", "z_second_moment"])
    laws = layers[layers["seed"] == 0].drop(columns="seed").assign(law="mean_field", note="")
    verdicts = pd.DataFrame({"init": ["he_normal", "xavier_normal"], "activation": "relu", "direction": "forward",
                             "word": ["stable", "vanishing"], "p_value": [0.25, np.nan]})  # fmt: skip
    study = {"kind": "variance", "init": ["he_normal", "xavier_normal"], "activation": ["relu"], "widths": [8, 8, 8, 8],
             "seeds": 2}  # fmt: skip
    return made.folder(path, study, {"layers": layers, "predictions": laws, "verdicts": verdicts})


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return training(tmp_path_factory.mktemp("results") / "few")


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def exported(few, exports):
    """Tracker -> what its own program reads of `few`: exported until interrupted, then in part, all, again, in part."""
    read = {}

    def of(tracker):
        if tracker not in read:
            require(tracker)
            with pytest.raises(KeyboardInterrupt):
                export(few, tracker, exports, progress=interrupt)
            for where in ({"lr": ["0.3"]}, {}, {}, {"lr": ["0.3"]}):
                export(few, tracker, exports, where)
            read[tracker] = READERS[tracker](exports)
        return read[tracker]

    return of


def require(tracker):
    for module in TARGETS.make(tracker).needs:
        pytest.importorskip(module)


def interrupt(done, of):
    raise KeyboardInterrupt


def read_tensorboard(into):
    """A list of runs: name, factors, whether it went well, final numbers, and curves as steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    found = []
    for file in sorted(into.glob("tensorboard/**/*tfevents*")):
        events = EventAccumulator(str(file.parent)).Reload()
        plugin = {tag: events.SummaryMetadata(tag).plugin_data.content for tag in events.Tags()["tensors"]}
        if metadata.SESSION_START_INFO_TAG not in plugin:
            continue
        asked = metadata.parse_session_start_info_plugin_data(plugin[metadata.SESSION_START_INFO_TAG]).hparams
        ended = metadata.parse_session_end_info_plugin_data(plugin[metadata.SESSION_END_INFO_TAG])
        values = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        found.append({
            "name": file.parent.name.rpartition("-")[0],
            "config": {name: getattr(value, value.WhichOneof("kind")) for name, value in asked.items()},
            "done": ended.status == 1,
            "numbers": {tag: points[0][1] for tag, points in values.items() if "/" not in tag},
            "curves": {tag: points for tag, points in values.items() if "/" in tag},
        })  # fmt: skip
    return found


def read_mlflow(into):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{into / 'mlflow.db'}")
    assert {e.name for e in client.search_experiments()} == {"Default", "few"}
    found = []
    for run in client.search_runs([client.get_experiment_by_name("few").experiment_id]):
        points = {name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
                  for name in run.data.metrics if "curves/" in name}  # fmt: skip
        numbers = {name: value for name, value in run.data.metrics.items() if name not in points}
        found.append({"name": run.info.run_name, "config": run.data.params, "done": run.info.status == "FINISHED",
                      "numbers": numbers, "curves": points})  # fmt: skip
    return found


def read_wandb(into):
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for file in into.glob("wandb/*/*.wandb"):
        run = {"summary": {}, "curves": {}}
        for record in map(Record.FromString, leveldb_log(file.read_bytes())):
            if record.WhichOneof("record_type") == "run":
                assert (record.run.run_group, record.run.project, record.run.notes) == ("few", "initbench", "Which?")
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                run |= {"name": record.run.display_name, "config": config}
            for item in record.summary.update:
                run["summary"][item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
            if record.WhichOneof("record_type") == "history":
                for item in record.history.item:
                    name = item.key or "/".join(item.nested_key)
                    run["curves"].setdefault(name, []).append((record.history.step.num, json.loads(item.value_json)))
            if record.WhichOneof("record_type") == "exit":
                run["done"] = record.exit.exit_code == 0
        run["numbers"] = {name: value for name, value in run.pop("summary").items() if "/" not in name}
        run["curves"] = {name: points for name, points in run["curves"].items() if "/" in name}
        found.append(run)
    return found


def leveldb_log(data):
    """The records of a LevelDB log, which a .wandb file is after 7 bytes of its own."""
    place, record = 7, b""
    while place + 7 <= len(data):
        if 2**15 - place % 2**15 < 7:  # no header begins so late in a block
            place += 2**15 - place % 2**15
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


@pytest.mark.parametrize("tracker", TRACKERS)
def test_each_run_is_there_once_whatever_was_exported_before(exported, tracker):
    runs = tables()["runs"]
    assert sorted(run["name"] for run in exported(tracker)) == sorted(runs["name"] + "-seed" + runs["seed"].astype(str))


@pytest.mark.parametrize("tracker", TRACKERS)
def test_factors_are_the_configuration(exported, tracker):
    found = {(run["config"]["lr"], run["config"]["seed"]): run["config"] for run in exported(tracker)}
    text = tracker == "mlflow"  # its parameters are texts
    for row in tables()["runs"].to_dict("records"):
        config = found[(str(row["lr"]), str(row["seed"])) if text else (row["lr"], row["seed"])]
        assert all(config[name] == (str(row[name]) if text else row[name]) for name in FACTORS)
        assert not {"cell_id", "name", "status", "test_loss"} & set(config)


@pytest.mark.parametrize("tracker", TRACKERS)
def test_final_numbers_are_those_of_the_table(exported, tracker):
    found = {(float(run["config"]["lr"]), int(run["config"]["seed"])): run for run in exported(tracker)}
    for row in tables()["runs"].to_dict("records"):
        run = found[row["lr"], row["seed"]]
        expected = {name: as_held(tracker, row[name]) for name in METRICS if not pd.isna(row[name])}
        assert {name: run["numbers"][name] for name in METRICS if name in run["numbers"]} == {
            name: value for name, value in expected.items() if np.isfinite(value)
        }
        assert run["done"] == (row["status"] == "finished")


@pytest.mark.parametrize("tracker", TRACKERS)
def test_curves_are_those_of_the_tables_by_step(exported, tracker):
    expected = {"curves/train_loss": [(step, as_held(tracker, 1 / (3 + step))) for step in (0, 5, 10)]}
    for layer in (1, 2):
        points = [(step, as_held(tracker, 1 / (3 + step) / layer)) for step in (0, 5, 10)]
        expected[f"layer_curves/layer{layer}/dead_fraction"] = points
    assert [run["curves"] for run in exported(tracker)] == [expected] * 4


def as_held(tracker, value):
    """Scalars of TensorBoard are float32; what that cannot hold is left out there."""
    with np.errstate(over="ignore"):
        return float(np.float32(value)) if tracker == "tensorboard" else value


def test_results_made_anew_are_other_runs(tmp_path):
    require("tensorboard")
    for key in ("0123456789abcdef", "fedcba9876543210"):
        export(training(tmp_path / "few", key=key), "tensorboard", tmp_path / "exports")
    assert len(read_tensorboard(tmp_path / "exports")) == 8


def test_a_run_that_mlflow_has_half_is_logged_anew(few, exports, exported, tmp_path):
    assert len(exported("mlflow")) == 4
    from mlflow.tracking import MlflowClient

    shutil.copy(exports / "mlflow.db", tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    half = client.search_runs([client.get_experiment_by_name("few").experiment_id])[0].info
    client.update_run(half.run_id, status="RUNNING")
    export(few, "mlflow", tmp_path)
    runs = client.search_runs([half.experiment_id])
    assert half.run_id not in [run.info.run_id for run in runs]
    assert len({run.data.tags["initbench.id"] for run in runs}) == len(runs) == 4
    assert {run.data.tags["status"] for run in runs} == set(STATUSES)


def test_tensorboard_is_told_which_factors_and_metrics_there_are(exports, exported):
    assert exported("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(exports / "tensorboard")).Reload()
    told = metadata.parse_experiment_plugin_data(events.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content)
    levels = {info.name: list(info.domain_discrete) for info in told.hparam_infos}
    assert levels["lr"] == [0.1, 0.3]
    assert {info.name for info in told.hparam_infos if info.differs} == {"lr", "seed", "data_seed"}
    assert {"test_accuracy", "test_loss"} <= {info.name.tag for info in told.metric_infos}
    assert not any("/" in info.name.tag for info in told.metric_infos)
    assert made.MANIFEST["commit"] in str(events.Tensors("few")[0].tensor_proto.string_val)


def test_a_network_that_was_propagated_through_is_a_run_whose_steps_are_layers(tmp_path):
    require("tensorboard")
    export(propagation(tmp_path / "deep"), "tensorboard", tmp_path / "exports")
    found = {run["name"]: run for run in read_tensorboard(tmp_path / "exports")}
    assert set(found) == {f"{init}-relu-seed{seed}" for init in ("he_normal", "xavier_normal") for seed in (0, 1)}
    run = found["xavier_normal-relu-seed1"]
    assert run["config"] == {"init": "xavier_normal", "activation": "relu", "seed": 1, "widths": "8, 8, 8, 8",
                             "seeds": 2}  # fmt: skip
    assert run["curves"] == {
        "layers/z_second_moment": [(1, 1.0), (2, 0.5), (3, 0.25)],
        "predictions/mean_field/z_second_moment": [(1, 0.5), (2, 0.25), (3, 0.125)],
    }
    assert found["he_normal-relu-seed0"]["curves"]["verdicts/forward/p_value"] == [(0, 0.25)]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_are_the_same_to_the_last_bit(few, tmp_path, form):
    export(few, form, tmp_path)
    for name, table in tables().items():
        pd.testing.assert_frame_equal(READ[form](tmp_path / f"{name}.{form}", table), table, check_exact=True)


def read_csv(path, like):
    """Python's own reader; an empty field is a text without letters, or a number that is missing."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = {"float64": lambda text: float(text or "nan"), "int64": int, "bool": {"True": True, "False": False}.get,
            "Int64": lambda text: int(text) if text else pd.NA}  # fmt: skip
    columns = {name: [read.get(str(dtype), str)(row[name]) for row in rows] for name, dtype in like.dtypes.items()}
    return pd.DataFrame(columns).astype(like.dtypes.to_dict())


READ = {"csv": read_csv, "parquet": lambda path, like: pd.read_parquet(path).astype({"diverged_at": "Int64"})
        if "diverged_at" in like else pd.read_parquet(path)}  # fmt: skip


def test_parquet_has_plain_types_and_says_where_it_comes_from(few, tmp_path):
    export(few, "parquet", tmp_path)
    schema = pq.read_schema(tmp_path / "runs.parquet")
    assert {str(kind) for kind in schema.types} == {"string", "int64", "double", "bool"}
    assert {name: json.loads(told) for name, told in schema.metadata.items()} == {b"initbench": Results(few).manifest}


def test_parts_of_a_study_have_a_folder_each(tmp_path):
    training(tmp_path / "both" / "trained")
    propagation(tmp_path / "both" / "propagated")
    export(tmp_path / "both", "csv", tmp_path / "exports")
    written = {str(path.relative_to(tmp_path / "exports")) for path in tmp_path.glob("exports/*/*.csv")}
    assert written == {
        *(f"trained/{name}.csv" for name in ("runs", "curves", "layer_curves")),
        *(f"propagated/{name}.csv" for name in ("layers", "predictions", "verdicts")),
    }


def test_a_part_of_the_runs_has_their_curves_alone(few, tmp_path):
    export(few, "csv", tmp_path, {"lr": ["0.3"]})
    kept = tables()["runs"].query("lr == 0.3")["cell_id"]
    assert list(pd.read_csv(tmp_path / "runs.csv", dtype=str)["cell_id"]) == list(kept)
    assert list(pd.read_csv(tmp_path / "curves.csv", dtype=str)["cell_id"].unique()) == list(kept)


def test_levels_may_be_written_as_their_aliases(tmp_path):
    assert tell(propagation(tmp_path / "deep"), "--to", "csv", "--into", tmp_path, "--where", "init=xavier")[0] == 0
    assert set(pd.read_csv(tmp_path / "layers.csv")["init"]) == {"xavier_normal"}


def tell(*arguments):
    done = CliRunner().invoke(main, ["export", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_command_writes_beside_results_and_says_where(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("runs", "curves", "layer_curves")
    assert tell(few, "--to", "csv") == (0, "".join(f"Table:   exports/few/{name}.csv\n" for name in names))


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_missing_extra_is_told_in_a_line(few, tmp_path, monkeypatch, tracker):
    monkeypatch.setitem(sys.modules, TARGETS.make(tracker).needs[0], None)
    told = f'Error: {tracker} needs a package that is not installed: pip install "initbench[{tracker}]"\n'
    assert tell(few, "--to", tracker, "--into", tmp_path / "exports") == (2, told)
    assert not (tmp_path / "exports").exists()


def test_a_study_that_is_no_set_of_runs_goes_to_files_alone(tmp_path):
    require("tensorboard")
    code, told = tell(made.phase(tmp_path / "plane"), "--to", "tensorboard", "--into", tmp_path / "exports")
    assert (code, told.count("\n")) == (2, 1)
    assert "is a study of kind phase, which is no set of runs" in told
    assert tell(tmp_path / "plane", "--to", "csv", "--into", tmp_path / "exports")[0] == 0


@pytest.mark.parametrize(("arguments", "told"), [
    (["--to", "tensorbord"], "unknown target 'tensorbord'; did you mean 'tensorboard'?"),
    (["--to", "csv", "--where", "ini=he_normal"], "has no factor 'ini'; did you mean 'init'?"),
    (["--to", "csv", "--where", "lr=0.2"], "nothing has lr = 0.2"),
])  # fmt: skip
def test_what_is_not_there_is_told_in_a_line(few, tmp_path, arguments, told):
    code, message = tell(few, *arguments, "--into", tmp_path / "exports")
    assert (code, message.count("\n")) == (2, 1)
    assert told in message


def test_unfinished_results_are_not_exported(few, tmp_path):
    half = shutil.copytree(few, tmp_path / "half")
    manifest = json.loads((half / "manifest.json").read_text())
    del manifest["tables"]
    (half / "manifest.json").write_text(json.dumps(manifest))
    assert tell(half, "--to", "csv")[1] == f"Error: {half} is not finished; the command that began it goes on there\n"


def test_two_exports_do_not_write_to_one_folder_at_a_time(few, tmp_path):
    with FileLock(tmp_path / ".lock"):
        code, told = tell(few, "--to", "csv", "--into", tmp_path)
    assert (code, told) == (1, f"Error: another export is at work in {tmp_path}; wait for it, or give another --into\n")


def test_trackers_work_without_torch_and_ask_no_other_machine(few, exports, exported, tmp_path):
    for tracker in TRACKERS:
        assert exported(tracker)
    shutil.copy(exports / "mlflow.db", tmp_path)  # to make one takes seconds
    code = f"""
import atexit, os, socket
from pathlib import Path
asked, look, connect = [], socket.getaddrinfo, socket.socket.connect
atexit.register(lambda: asked and os._exit(1))  # the last of all: trackers report at the end too
def noted(host):
    if host not in ("localhost", "127.0.0.1", "::1"):
        asked.append(host)
        raise OSError("no other machine")
def looked(host, *more, **options):
    noted(host)
    return look(host, *more, **options)
def connected(self, address):
    if isinstance(address, tuple):
        noted(address[0])
    return connect(self, address)
socket.getaddrinfo, socket.socket.connect = looked, connected
from initbench.analysis.export import export
for tracker in {TRACKERS}:
    export(Path({str(few)!r}), tracker, Path({str(tmp_path)!r}))
"""
    theirs = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
    without_torch.run(code, env=theirs)  # in CI and under pytest MLflow never reports
    assert len(read_tensorboard(tmp_path)) == len(read_wandb(tmp_path)) == 4
