"""Results folders for the tests of the page, made without a training: small ones of every kind, and a whole sweep."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import tomli_w

HOSTILE = "<script>alert(1)</script>"
MANIFEST = {
    "layout": 1,
    "key": "0123456789abcdef",
    "versions": {"python": "3.11.7", "initbench": "0.1.0", "torch": "2.14.1", "numpy": "2.4.6"},
    "commit": "364ad5a3c0ffee00364ad5a3c0ffee00364ad5a3+",
    "device": "CPU, 2 threads",
    "started": "2026-11-25T15:43:17+00:00",
    "seconds": 2.145,
}
LEVELS = {
    "init": ["xavier_normal", "he_normal", "normal", "uniform", "zeros", "ones"],
    "activation": ["relu", "tanh", "sigmoid"],
    "depth": [1, 2, 3],
    "lr": [0.1, 0.01, 0.001],
    "momentum": [0.0, 0.9],
    "nesterov": [False, True],
    "optimizer": ["sgd", "adam"],
    "batch_size": [32, 64],
    "width": [50, 100],
    "seed": [0, 1],
}
"""Of the lecture's sweep: 10,368 runs."""
ASKED = ["cell_id", "training_id", "study", "name", "init", "activation", "depth", "width", "dataset", "loss",
         "optimizer", "lr", "momentum", "nesterov", "batch_size", "steps", "seed", "data_seed"]  # fmt: skip


NAMED = [factor for factor in LEVELS if factor != "seed"]


def folder(path, study, tables, **manifest):
    """A finished results folder with these tables."""
    path.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        frame.to_parquet(path / f"{name}.parquet", index=False)
    (path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    told = {**MANIFEST, "kind": study["kind"], **manifest, "tables": list(tables)}
    (path / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    return path


def runs(**levels):
    """A table of runs over the levels given, the sweep's for all other factors; every twentieth diverged."""
    chosen = {**LEVELS, **levels}
    table = pd.DataFrame(list(itertools.product(*chosen.values())), columns=list(chosen))
    count = len(table)
    noise = np.random.default_rng(0)
    good = table["init"].isin(["he_normal", "xavier_normal"]).to_numpy()
    accuracy = np.clip(0.1 + 0.7 * good + noise.normal(0, 0.05, count), 0.05, 0.99)
    table = table.assign(
        cell_id=[f"{number:016x}" for number in range(count)],
        training_id=[f"{number:016x}" for number in range(count)],
        study="sweep", dataset="digits", loss="cross_entropy", steps=200, data_seed=table["seed"],
        name=["-".join(map(str, row)) for row in table[NAMED].itertuples(index=False)],
    )[ASKED]  # fmt: skip
    lost = np.arange(count) % 20 == 19
    table["status"] = np.where(lost, "diverged", "finished")
    table["note"] = ""
    table["diverged_at"] = pd.array(np.where(lost, 7, 0), dtype="Int64")
    table.loc[~lost, "diverged_at"] = pd.NA
    for name, values in {
        "train_loss": -np.log(accuracy), "train_accuracy": accuracy, "val_loss": 0.1 - np.log(accuracy),
        "val_accuracy": accuracy - 0.01, "test_loss": 0.2 - np.log(accuracy), "test_accuracy": accuracy - 0.02,
    }.items():  # fmt: skip
        table[name] = np.where(lost, np.nan, values)
    return table.assign(seconds=noise.uniform(0.1, 2, count).round(4), device="CPU, 2 threads", engine="stacked")


def training(path, **levels):
    """A folder of a training study over the levels given."""
    table = runs(**levels)
    compared = {name: values for name, values in {**LEVELS, **levels}.items() if name != "seed" and len(values) > 1}
    fixed = {name: values[0] for name, values in {**LEVELS, **levels}.items() if name != "seed" and len(values) == 1}
    study = {"question": "What decides?", "kind": "train", "name": "sweep", "seeds": int(table["seed"].nunique()),
             "compare": compared, "tune": {}, "fix": fixed}  # fmt: skip
    return folder(path, study, {"runs": table}, cells=len(table), trainings=len(table), engine="stacked")


def sweep(path):
    """10,368 runs."""
    return training(path)


FEW = {"depth": [2], "momentum": [0.0], "nesterov": [False], "optimizer": ["sgd"], "batch_size": [64], "width": [50]}
"""One level of most factors: 6 x 3 x 3 x 2 runs."""


def calibration(path):
    rows = [(case, honest, seed, (seed % 20 == 0) if honest else True)
            for case, honest in (("he, relu", True), ("he as if xavier", False)) for seed in range(100)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["case", "honest", "repetition", "alarm"]).assign(width=100, batch=16)
    return folder(path, {"kind": "calibration", "repetitions": 100}, {"alarms": table})


def jacobian(path):
    rows = [(init, "relu", seed, scope, layer, value ** (20 if scope == "network" else 1) * (1 + seed / 100))
            for init, value in (("he_normal", 1.0), ("xavier_normal", 0.5)) for seed in range(3)
            for scope, layer in (("layer", 1), ("layer", 2), ("network", 2))]  # fmt: skip
    names = ["init", "activation", "seed", "scope", "layer", "squared_singular_value"]
    table = pd.DataFrame(rows, columns=names).assign(predicted_squared_singular_value=1.0, singular_max=np.nan)
    return folder(path, {"kind": "jacobian", "init": ["he_normal", "xavier_normal"], "activation": "relu", "seeds": 3},
                  {"jacobians": table})  # fmt: skip


def phase(path):
    table = pd.DataFrame({"activation": "tanh", "init": "", "seed": 0, "weight_variance": [0.5, 1.0, 2.0],
                          "bias_variance": 0.1, "xi_c": [2.0, np.inf, 5.0], "xi_q": [1.0, 2.0, 1.5],
                          "phase": ["ordered", "critical", "chaotic"]})  # fmt: skip
    return folder(path, {"kind": "phase", "activation": "tanh", "weight_variances": [0.5, 1.0, 2.0]}, {"phases": table})


def tuned(path):
    """Three initializers, each at the better of two rates, with 12 seeds; a fourth shares no depth with them."""
    noise, rows = np.random.default_rng(1), []
    for init, gain in (("he_normal", 0.0), ("xavier_normal", -0.1), ("normal", 0.001), ("zeros", -0.5)):
        for lr, seed in itertools.product((0.1, 0.01), range(12)):
            accuracy = 0.8 + gain - (lr == 0.01) * 0.05 + noise.normal(0, 0.01)
            rows.append((init, lr, seed, 9 if init == "zeros" else 2, accuracy, accuracy + noise.normal(0, 0.002)))
    chosen = pd.DataFrame(rows, columns=["init", "lr", "seed", "depth", "test_accuracy", "val_accuracy"])
    table = runs(**{**FEW, "init": ["he_normal"], "activation": ["relu"], "lr": [0.1], "seed": range(len(chosen))})
    names = chosen["init"] + "-" + chosen["lr"].astype(str)
    table = table.assign(**chosen, data_seed=chosen["seed"], name=names, status="finished", diverged_at=pd.NA)
    study = {"question": "Which is best?", "kind": "train", "name": "tuned", "seeds": 12, "fix": {},
             "compare": {"init": chosen["init"].unique().tolist(), "depth": [2, 9]},
             "tune": {"lr": [0.1, 0.01]}}  # fmt: skip
    return folder(path, study, {"runs": table}, cells=len(table), trainings=len(table), engine="stacked")


def landscape(path):
    """A bowl, with two straight paths down its side, and one that turns."""
    side = np.linspace(-2, 2, 9)
    x, y = (axis.ravel() for axis in np.meshgrid(side, side))
    grid = pd.DataFrame({"component_1": x, "component_2": y, "train_loss": x**2 + y**2 + 0.1, "depth": 1, "seed": 0})
    rows = [(lr, seed, step, place, 0.5, place**2 + 0.35 + 0.01 * seed, 1.0 + lr if step else np.nan)
            for lr in (0.1, 0.5) for seed in (0, 1) for step, place in ((0, -2.0), (5, -1.0), (10, -lr))]  # fmt: skip
    names = ["lr", "seed", "step", "component_1", "component_2", "train_loss", "detour"]
    curves = pd.DataFrame(rows, columns=names).assign(depth=1, explained=0.8, status="finished")
    grids = pd.concat([grid, grid.assign(seed=1)], ignore_index=True)
    study = {"kind": "landscape", "name": "bowl", "seeds": 2, "compare": {"lr": [0.1, 0.5]}, "fix": {"depth": 1},
             "points": 2, "resolution": 9, "margin": 0.2}  # fmt: skip
    return folder(path, study, {"landscapes": grids, "curves": curves})


def curve(path):
    """The loss halves with each update, or every second one."""
    steps = np.arange(0, 13)
    rows = [pd.DataFrame({"step": steps, "train_loss": 0.5 ** (steps / every), "depth": depth, "lr": 0.1, "seed": seed})
            for depth, every in ((1, 2), (3, 1)) for seed in (0, 1)]  # fmt: skip
    table = pd.concat(rows, ignore_index=True).assign(init="identity", activation="linear")
    study = {"kind": "curve", "dataset": "digits", "depth": [1, 3], "lr": [0.1, 0.1], "seeds": 2, "steps": 12}
    return folder(path, study, {"curves": table})
