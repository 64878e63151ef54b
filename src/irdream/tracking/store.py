"""What irdream asks of MLflow, whether the store is a folder or a server.

It adds two things to MLflow's client: a locked database is waited for, and what a person can
mend is said in one line. mlflow is imported when a store is opened, not before: 1.2 s, and
0.7 s more for the first question.

One SQLite file carries 8 processes on one machine. On a network file system, or for several
machines, run an MLflow server and give its address instead. MLflow's fluent interface
(`mlflow.start_run`) was left out: it keeps the active run in a global, and its plain-file store
is gone.
"""

from __future__ import annotations

import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from irdream.errors import InputError
from irdream.tracking.database import ARTIFACTS, DATABASE, adopt, create_store, sqlite_uri
from irdream.tracking.manners import (
    PATIENCE_SECONDS,
    explain,
    first_line,
    import_mlflow,
    is_locked,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_SERVER_ANSWER_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")


class Point(NamedTuple):
    """One value of a metric; the timestamp is in milliseconds since 1970."""

    name: str
    value: float
    timestamp: int
    step: int


class Store:
    """MLflow's client, patient and plain-spoken.

    Every call raises `InputError` for what a person can mend (a full disk, a lock that stays, a
    server that is away); any other error of MLflow's passes through.
    """

    def __init__(self, client: MlflowClient, *, where: str, artifacts: str | None) -> None:
        self.client = client
        self.where = where
        self._artifacts = artifacts

    def experiment(self, name: str) -> str:
        """Return the id of the experiment called `name`, making it when it is new.

        Raises:
            InputError: when an experiment of this name was deleted.
        """
        found = self.patiently(self.client.get_experiment_by_name, name)
        if found is None:
            return self._new_experiment(name)
        if found.lifecycle_stage == "deleted":
            raise InputError(
                f"experiment {name!r} was deleted in {self.where}; restore it with 'mlflow "
                f"experiments restore -x {found.experiment_id}' or choose another name"
            )
        return found.experiment_id

    def _new_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return self.patiently(
                self.client.create_experiment, name, artifact_location=self._artifacts
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self.experiment(name)  # another process was faster

    def start_run(self, experiment_id: str, name: str | None, tags: Mapping[str, str]) -> str:
        """Return the id of a new run."""
        run = self.patiently(self.client.create_run, experiment_id, run_name=name, tags=dict(tags))
        return run.info.run_id

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[Point] = (),
        params: Sequence[tuple[str, str]] = (),
        tags: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Write at most 1000 points, 100 parameters and 100 tags; writing twice is harmless."""
        from mlflow.entities import Metric, Param, RunTag

        self.patiently(
            self.client.log_batch,
            run_id,
            metrics=[Metric(*point) for point in points],
            params=[Param(*pair) for pair in params],
            tags=[RunTag(*pair) for pair in tags],
        )

    def log_file(self, run_id: str, path: Path, folder: str) -> None:
        """Copy a file or a folder to the run's artifacts."""
        try:
            self.patiently(self.client.log_artifact, run_id, str(path), folder or None)
        except OSError as error:
            raise InputError(
                f"cannot copy {path} to the tracking store {self.where}: "
                f"{error.strerror or error}; free some space or make it writable"
            ) from error

    def end_run(self, run_id: str, status: str) -> None:
        """Mark a run as ended."""
        self.patiently(self.client.set_terminated, run_id, status)

    def find_runs(
        self, experiment_id: str, tags: Mapping[str, str], *, status: str | None = None
    ) -> list[Run]:
        """Return the runs of an experiment that have these tags, the last one first."""
        parts = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
        parts += [f"attributes.status = '{status}'"] if status else []
        found = self.patiently(
            self.client.search_runs,
            [experiment_id],
            " and ".join(parts),
            order_by=["attributes.start_time DESC"],
            max_results=1000,
        )
        return list(found)

    def running_children(self, run_id: str) -> list[str]:
        """Return the ids of the runs below `run_id` that are still marked RUNNING."""
        experiment_id = self.patiently(self.client.get_run, run_id).info.experiment_id
        query = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'RUNNING'"
        runs = self.patiently(self.client.search_runs, [experiment_id], query, max_results=50_000)
        return [run.info.run_id for run in runs]

    def patiently(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call; while another process holds the database, wait and call again."""
        from mlflow.exceptions import MlflowException

        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call(*args, **kwargs)
            except MlflowException as error:
                if not is_locked(error) or time.monotonic() > give_up:
                    explain(error, self.where)
                    raise
            time.sleep(random.uniform(0.05, 0.5))


def open_store(*, root: Path, uri: str | None = None) -> Store:
    """Open the store in the folder `root`, making it when there is none, or the server at `uri`.

    Raises:
        InputError: when the folder cannot be written, its file is no tracking store, or no
            server answers.
    """
    if uri:
        return _open_server(uri)
    create_store(root)
    folder = Path(root).resolve()
    artifacts = (folder / ARTIFACTS).as_uri()
    adopt(folder / DATABASE, artifacts)
    return _connect(sqlite_uri(folder / DATABASE), where=str(folder), artifacts=artifacts)


def _open_server(uri: str) -> Store:
    where = _without_password(uri)
    if uri.startswith(("http://", "https://")):
        _ask(where)
    return _connect(uri, where=where, artifacts=None)


def _ask(where: str) -> None:
    """Fail within seconds where nothing answers; MLflow itself tries for four minutes."""
    try:
        address = f"{where.rstrip('/')}/health"
        with urllib.request.urlopen(address, timeout=_SERVER_ANSWER_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()  # it did answer
    except (OSError, ValueError) as error:
        raise InputError(
            f"no tracking server answers at {where} ({error}); start it, correct the address, or "
            "leave it empty to track in a local folder"
        ) from error


def _connect(uri: str, *, where: str, artifacts: str | None) -> Store:
    import_mlflow(local=artifacts is not None)
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    except Exception as error:  # MLflow's, SQLAlchemy's, a missing database driver
        explain(error, where)
        raise InputError(
            f"cannot open the tracking store {where}: {first_line(error)}; correct its address, or "
            "run with tracker=none"
        ) from error
    return Store(client, where=where, artifacts=artifacts)


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
