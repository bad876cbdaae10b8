"""TensorBoard's event files, written with its own protocol buffers: neither TensorFlow nor torch is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from initbench.analysis.export.catalogue import Progress, Target, register
from initbench.analysis.export.parts import Export
from initbench.analysis.export.runs import Run, runs_of
from initbench.core.files import make_folder, write_whole

FILE = "events.out.tfevents.0.initbench"
"""TensorBoard looks for ``tfevents`` in a name; one that does not change is there once."""
MOST_LEVELS = 50
"""Of a factor, for the interface to list them; a factor of more numbers is a range."""
KINDS: dict[Any, Any] = {bool: bool, float: (int, float), str: object}
"""Kinds of levels that TensorBoard knows, and what each is made of."""
LONGEST = 120
"""Letters of a run's name in its folder's."""


@register("tensorboard", summary="Event files: factors as hyper-parameters, final numbers and curves as scalars"
          " (float32).", source="https://www.tensorflow.org/tensorboard")  # fmt: skip
def tensorboard() -> Target:
    return Target(_write, needs=("tensorboard",))


def _write(export: Export, progress: Progress) -> list[str]:
    """A folder a run, which is there only when whole, and the experiment's own file above them."""
    folder, runs = export.into / "tensorboard", runs_of(export)
    whole = replace(export, parts=[replace(part, where={}) for part in export.parts])
    _write_events(folder, _experiment(export, runs_of(whole)))  # what an earlier export left there is of it too
    for done, run in enumerate(runs, 1):
        if not (_folder(folder, run) / FILE).exists():
            _write_events(_folder(folder, run), _events(run))
        progress(done, len(runs))
    return [f"Runs:    {folder}/ ({len(runs):,})", f"Look:    tensorboard --logdir {folder}"]


def _folder(folder: Path, run: Run) -> Path:
    name = "".join(letter if letter.isalnum() or letter in "-_.=()" else "_" for letter in run.name)
    return folder / run.part.name / f"{name[:LONGEST]}-{run.id}"


def _write_events(folder: Path, events: Iterable[Any]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    def write(path: Path) -> None:
        with path.open("wb") as file:
            records = RecordWriter(file)
            for event in events:
                records.write(event.SerializeToString())

    make_folder(folder)
    write_whole(folder / FILE, write)


def _events(run: Run) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    start, end = run.times
    yield Event(wall_time=start, file_version="brain.Event:2")
    yield Event(wall_time=start, summary=hparams_pb(run.config, trial_id=run.id, start_time_secs=start))
    yield Event(wall_time=start, summary=_text("run", {"status": run.status, **run.words}))
    for step, values in [(0, run.numbers), *run.steps()]:
        found = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if _held(value)]
        yield Event(wall_time=end, step=step, summary=Summary(value=found))
    told = SessionEndInfo(status="STATUS_SUCCESS" if run.done else "STATUS_FAILURE", end_time_secs=end)
    yield Event(wall_time=end, summary=_hyper(SESSION_END_INFO_TAG, session_end_info=told))


def _experiment(export: Export, runs: list[Run]) -> Iterator[Any]:
    """Which hyper-parameters and metrics there are, so that the interface need not take every curve for a metric."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.api_pb2 import Experiment
    from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG
    from tensorboard.plugins.hparams.summary_v2 import Metric

    start = min(run.times[0] for run in runs)
    factors = [_factor(name, list(dict.fromkeys(run.config[name] for run in runs if name in run.config)))
               for name in dict.fromkeys(name for run in runs for name in run.config)]  # fmt: skip
    metrics = [Metric(name).as_proto() for name in dict.fromkeys(name for run in runs for name in run.numbers)]
    told = Experiment(hparam_infos=factors, metric_infos=metrics, time_created_secs=start)
    yield Event(wall_time=start, file_version="brain.Event:2")
    yield Event(wall_time=start, summary=_hyper(EXPERIMENT_TAG, experiment=told))
    for part in export.parts:
        about = {"question": part.question, **part.results.manifest}
        yield Event(wall_time=start, summary=_text(part.study, about))


def _factor(name: str, levels: list[Any]) -> Any:
    """A hyper-parameter; those that differ come first in the interface."""
    from tensorboard.plugins.hparams.api_pb2 import HParamInfo
    from tensorboard.plugins.hparams.summary_v2 import Discrete, RealInterval

    info = HParamInfo(name=name, differs=len(levels) > 1)
    kind: Any = next(kind for kind, told in KINDS.items() if all(isinstance(level, told) for level in levels))
    several = [kind(level) for level in levels]
    ranges = kind is float and len(several) > MOST_LEVELS
    domain = RealInterval(min(several), max(several)) if ranges else Discrete(several)
    domain.update_hparam_info(info)
    return info


def _hyper(tag: str, **content: Any) -> Any:
    """What TensorBoard's plug-in of hyper-parameters reads."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR, create_summary_metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    about = create_summary_metadata(HParamsPluginData(**content))
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=NULL_TENSOR)])


def _text(tag: str, told: dict[str, Any]) -> Any:
    """A table in Markdown."""
    from tensorboard.plugins.text.summary_v2 import text_pb

    rows = [f"| {name} | {value} |" for name, value in told.items()]
    return text_pb(tag, "\n".join(["| | |", "| --- | --- |", *rows]))


def _held(value: float) -> bool:
    """Whether float32, which scalars are read as, holds the number: neither as infinity nor as 0."""
    with np.errstate(over="ignore", under="ignore"):
        return bool(np.isfinite(np.float32(value))) and (value == 0 or np.float32(value) != 0)
