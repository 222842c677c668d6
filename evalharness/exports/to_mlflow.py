"""A run in MLflow: metrics, parameters, tags, and the reports as artefacts."""

from __future__ import annotations

import os
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from evalharness._lazy import require
from evalharness.errors import MissingExtraError, StoreError
from evalharness.exports.tracking import Tracked, without_password

_LONGEST_PARAM: Final = 6000
_DATABASES: Final = ("mysql", "mssql", "postgresql", "sqlite")
_AT_ONCE: Final = 500
"""Most metrics in one request; parameters and tags have a lower limit of their own."""


def log_to_mlflow(tracked: Tracked, *, uri: str, experiment: str, now: datetime) -> str:
    """Make one MLflow run. It is marked as failed where an artefact cannot be stored.

    Args:
        tracked: what it holds.
        uri: of the tracking server, a database, or a folder.
        experiment: made where there is none of this name.
        now: its start and end.

    Returns:
        The id of the run.

    Raises:
        MissingExtraError: MLflow is not installed, or what it needs for a database is not.
        StoreError: MLflow refused, or cannot be reached; says why.
    """
    if _is_folder(uri):
        # MLflow 3 keeps its folder format and asks that one opts in to it. Naming a folder says so.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = uri if uri.startswith("file:") else Path(uri).resolve().as_uri()
    # Its own 7 retries go on for four minutes without a word where no server listens.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    why = "export to MLflow"
    mlflow = require("mlflow", extra="mlflow", why=why)
    lacking = any(find_spec(name) is None for name in ("sqlalchemy", "alembic"))
    if urlsplit(uri).scheme.partition("+")[0] in _DATABASES and lacking:
        raise MissingExtraError(
            f"MLflow at {without_password(uri)}: mlflow-skinny knows servers and folders; for a database: "
            "pip install mlflow"
        )
    entities = require("mlflow.entities", extra="mlflow", why=why)
    when = int(now.timestamp() * 1000)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        of = found.experiment_id if found is not None else client.create_experiment(experiment)
        run = client.create_run(
            of, start_time=when, run_name=tracked.name, tags=dict(tracked.tags)
        ).info.run_id
        try:
            _fill(client, run, tracked, entities, when)
        except BaseException:
            client.set_terminated(run, status="FAILED", end_time=when)
            raise
        client.set_terminated(run, end_time=when)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        shown = without_password(uri)
        told = " ".join(str(error).replace(uri, shown).split())[:400]
        raise StoreError(
            f"MLflow at {shown}: {told}; check --tracking-uri and run the same command again"
        ) from error
    return str(run)


def _fill(client: Any, run: str, tracked: Tracked, entities: Any, when: int) -> None:
    metrics = [entities.Metric(key, value, when, 0) for key, value in tracked.metrics.items()]
    params = [entities.Param(key, value[:_LONGEST_PARAM]) for key, value in tracked.params.items()]
    for start in range(0, max(len(metrics), 1), _AT_ONCE):
        client.log_batch(run, metrics=metrics[start : start + _AT_ONCE])
    for start in range(0, len(params), 100):
        client.log_batch(run, params=params[start : start + 100])
    for path in tracked.files.values():
        client.log_artifact(run, str(path))


def _is_folder(uri: str) -> bool:
    return urlsplit(uri).scheme in ("", "file")
