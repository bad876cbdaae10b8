"""MLflow: an experiment a study, a run a network, logged in batches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from initbench.analysis.export.catalogue import Progress, Target, register
from initbench.analysis.export.parts import Export, Part
from initbench.analysis.export.runs import Run, runs_of
from initbench.core.errors import WorkError

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

SERVER = "MLFLOW_TRACKING_URI"
ID = "initbench.id"
"""The tag by which a run is known again: MLflow gives its own ids."""
MOST_METRICS, MOST_PARAMETERS = 1000, 100
"""That MLflow takes in a batch."""
PAGE = 1000


@register("mlflow", summary="Runs of an MLflow experiment, in DIR/mlflow.db or where MLFLOW_TRACKING_URI says.",
          source="https://mlflow.org/docs/latest/ml/tracking")  # fmt: skip
def mlflow() -> Target:
    return Target(_write, needs=("mlflow", "sqlalchemy", "alembic"))


def _write(export: Export, progress: Progress) -> list[str]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before it is imported
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    uri = os.environ.get(SERVER) or f"sqlite:///{(export.into / 'mlflow.db').absolute()}"
    runs, done = runs_of(export), 0
    try:
        client = MlflowClient(tracking_uri=uri)
        for part in export.parts:
            experiment = _experiment(client, part, export)
            there = _exported(client, experiment)
            for run in (run for run in runs if run.part is part):
                if run.id not in there:
                    _log(client, experiment, run)
                done += 1
                progress(done, len(runs))
    except MlflowException as error:
        raise WorkError(f"MLflow at {uri}: {str(error).partition(chr(10))[0]}") from None
    return [f"Runs:    {uri} ({len(runs):,})", f"Look:    mlflow ui --backend-store-uri {uri}"]


def _experiment(client: MlflowClient, part: Part, export: Export) -> str:
    """The id of the experiment of that name, made if there is none."""
    if found := client.get_experiment_by_name(part.study):
        return found.experiment_id
    told = {name: value if isinstance(value, str) else json.dumps(value)
            for name, value in part.results.manifest.items()}  # fmt: skip
    tags = {"mlflow.note.content": part.question, **{f"initbench.{name}": value for name, value in told.items()}}
    artifacts = None if os.environ.get(SERVER) else (export.into / "mlruns").absolute().as_uri()
    return client.create_experiment(part.study, artifacts, tags)


def _exported(client: MlflowClient, experiment: str) -> set[str]:
    """The ids of the runs that are there; one that an interrupted export left half-logged is removed."""
    there, token = set(), None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        for run in page:
            if run.info.status == "RUNNING" and ID in run.data.tags:
                client.delete_run(run.info.run_id)
            else:
                there.add(run.data.tags.get(ID, ""))
        token = page.token
        if not token:
            return there


def _log(client: MlflowClient, experiment: str, run: Run) -> None:
    from mlflow.entities import Param

    start, end = (round(1000 * seconds) for seconds in run.times)
    tags = {ID: run.id, "status": run.status, "study": run.part.study, **run.words}
    made = client.create_run(experiment, start_time=start, tags=tags, run_name=run.name).info.run_id
    parameters = [Param(name, str(value)) for name, value in run.config.items()]
    metrics = list(_metrics(run, end))
    for first in range(0, max(len(metrics), 1), MOST_METRICS - MOST_PARAMETERS):
        batch = metrics[first : first + MOST_METRICS - MOST_PARAMETERS]
        client.log_batch(made, metrics=batch, params=[] if first else parameters)
    client.set_terminated(made, "FINISHED" if run.done else "FAILED", end_time=end)


def _metrics(run: Run, time: int) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for step, values in [(0, run.numbers), *run.steps()]:
        yield from (Metric(name, value, time, step) for name, value in values.items())
