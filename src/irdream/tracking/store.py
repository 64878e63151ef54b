"""What irdream asks of MLflow's runs and checkpoints, in a folder or on a server.

It adds two things to MLflow's client: a locked database and a server that is restarted are waited
for, and what a person can mend is said in one line. A server may do what it was asked and be ended
before it says so: most calls may be repeated; a new run or a new version of a model is looked for
first (`Store.once`). One SQLite file carries 8 processes on one machine.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import math
import os
import random
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from irdream.errors import InputError
from irdream.files import as_text
from irdream.tracking import mlflow_setup as setup

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OPENING_TAG = "irdream.opening"
"""A run's own word, by which it is found when the answer to its opening was lost."""

_PAIRS_PER_CALL = 100  # more are refused
_KNOWN_SERVER = "IRDREAM_KNOWN_SERVER"  # in the environment, so that a sweep's jobs inherit it

_RUN = re.compile(r"runs:/(?P<run_id>\w+)/(?P<path>.+)")
_MODEL = re.compile(r"models:/(?P<name>[^@/]+)(@(?P<alias>[\w\-]+)|/(?P<version>\d+))")
_copies: dict[tuple[str, str], Path] = {}

logger = logging.getLogger(__name__)

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

    Every call raises `InputError` for what a person can mend; other errors of MLflow's pass
    through.
    """

    def __init__(
        self, client: MlflowClient, *, where: str, artifacts: str | None, answered: bool = True
    ) -> None:
        self.client = client
        self.where = where  # its name in messages
        self._artifacts = artifacts  # the address of a local store's
        self._away_since = None if answered else -math.inf  # at first it is not waited for

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, making it when it is new; refuse one that was deleted."""
        from mlflow.exceptions import MlflowException

        found = self.patiently(self.client.get_experiment_by_name, name)
        if found is None:
            try:
                return self.patiently(
                    self.client.create_experiment, name, artifact_location=self._artifacts
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            return self.experiment(name)  # another process was faster
        if found.lifecycle_stage == "deleted":
            variable = f"MLFLOW_TRACKING_URI={setup.without_password(self.client.tracking_uri)}"
            restore = setup.command(
                "experiments", "restore", "-x", found.experiment_id, before=variable
            )
            raise InputError(
                f"experiment {name!r} was deleted in {self.where}; restore it with '{restore}' or "
                "choose another one: tracker.experiment=NAME"
            )
        return found.experiment_id

    def start_run(self, experiment_id: str, name: str | None, tags: Mapping[str, str]) -> str:
        """Return the id of a new run."""
        opening = {OPENING_TAG: uuid.uuid4().hex}
        every_tag = {key: as_text(value) for key, value in tags.items()} | opening
        run = self.once(
            lambda: self.client.create_run(experiment_id, run_name=name, tags=every_tag),
            lambda: next(iter(self.find_runs(opening, experiment_id=experiment_id)), None),
        )
        return run.info.run_id

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write at most 1000 points, parameters and tags; writing twice is harmless."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*point) for point in points]
        pairs = [Param(key, as_text(value)) for key, value in (params or {}).items()]
        words = [RunTag(key, as_text(value)) for key, value in (tags or {}).items()]
        for i in range(0, max(len(pairs), len(words), 1), _PAIRS_PER_CALL):
            batch = slice(i, i + _PAIRS_PER_CALL)
            given = {"metrics": [] if i else metrics, "params": pairs[batch], "tags": words[batch]}
            self.patiently(self.client.log_batch, run_id, **given)

    def log_file(self, run_id: str, path: Path, folder: str) -> None:
        """Copy a file, or a folder file by file, to the run's artifacts.

        Raises InputError when it cannot be copied; or to a server, where MLflow would keep a name
        with one of `%#?` under another one.
        """
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        for file in files if path.is_dir() else [path]:
            into = Path(folder, file.parent.relative_to(path.parent)).as_posix()
            if self._artifacts is None and (refused := set("%#?") & set(f"{into}{file.name}")):
                raise InputError(
                    f"cannot keep {file} with the run: a tracking server takes no "
                    f"{refused.pop()!r} in a name; rename it"
                )
            place = None if into == "." else into
            self._copy(path, self.client.log_artifact, run_id, str(file), place)

    def log_text(self, run_id: str, text: str, path: str) -> None:
        """Write a text to the run's artifacts; see `log_file`."""
        self._copy(path, self.client.log_text, run_id, text, path)

    def _copy(self, what: object, call: Callable[P, object], *args: P.args, **kw: P.kwargs) -> None:
        try:
            self.patiently(call, *args, **kw)
        except OSError as error:
            raise InputError(
                f"cannot copy {what} to the tracking store {self.where}: "
                f"{error.strerror or setup.first_line(error)}; free some space or make it writable"
            ) from error

    def end_run(self, run_id: str, status: str) -> None:
        self.patiently(self.client.set_terminated, run_id, status)

    def find_runs(
        self,
        tags: Mapping[str, str] | None = None,
        *,
        experiment_id: str | None = None,
        status: str | None = None,
    ) -> list[Run]:
        """Return the runs with these tags, of one experiment or of all, the latest first."""
        ids = [experiment_id] if experiment_id else []
        if not ids:
            ids = [one.experiment_id for one in self.patiently(self.client.search_experiments)]
        parts = [f"tags.`{name}` = '{value}'" for name, value in (tags or {}).items()]
        parts += [f"attributes.status = '{status}'"] if status else []
        query, order = " and ".join(parts), ["attributes.start_time DESC"]
        search = self.client.search_runs
        return list(self.patiently(search, ids, query, order_by=order, max_results=50_000))

    def once(self, create: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Create something; before a second try see whether the first one did it after all."""
        tries = itertools.count()
        return self.patiently(lambda: (find() if next(tries) else None) or create())

    def again(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call; where another process wrote the same row at the same time, call again."""
        from mlflow.exceptions import MlflowException

        try:
            self.patiently(call, *args, **kwargs)
        except MlflowException:
            self.patiently(call, *args, **kwargs)

    def patiently(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call; while the database is held or the server is away, wait and call again.

        The time runs from the first failure to the next success, whatever is called: a run whose
        server is gone waits once, not for its metrics, its tags and its end each.
        """
        from mlflow.exceptions import MlflowException

        pause_seconds = 0.1
        while True:
            try:
                answer = call(*args, **kwargs)
            except (MlflowException, OSError) as error:
                if not self._may_pass(error):
                    setup.explain(error, self.where)
                    raise
            else:
                self._away_since = None
                return answer
            time.sleep(random.uniform(0.5, 1.0) * pause_seconds)
            pause_seconds = min(2 * pause_seconds, 5.0)

    def _may_pass(self, error: Exception) -> bool:
        is_away = setup.is_away(error)
        if not (is_away or "is locked" in setup.first_line(error)):
            return False
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            if is_away:
                logger.warning(
                    "the tracking store %s does not answer; waiting for it, %.0f s at most",
                    self.where,
                    setup.PATIENCE_SECONDS,
                )
        return now - self._away_since <= setup.PATIENCE_SECONDS


def open_store(*, root: Path, uri: str | None = None) -> Store:
    """Open the store in the folder `root`, making it when there is none, or the server at `uri`.

    Raises InputError when the folder cannot be written, its file is no tracking store, or no server
    answers.
    """
    if uri is None or not uri.startswith(("http://", "https://")):
        where, artifacts = uri and setup.without_password(uri), None
        if not uri:
            setup.create_store(root)
            folder = Path(root).expanduser().resolve()
            where, artifacts = str(folder), (folder / setup.ARTIFACTS).as_uri()
            uri = setup.sqlite_uri(folder / setup.DATABASE)
        return _connect(uri, where=str(where), artifacts=artifacts)
    where = setup.without_password(uri)
    is_known = os.environ.pop(_KNOWN_SERVER, None) == where
    if not is_known:
        try:  # fails within seconds; MLflow itself would go on for a minute
            urllib.request.urlopen(f"{where.rstrip('/')}/health", timeout=5.0).close()
        except urllib.error.HTTPError as error:
            error.close()  # it did answer
        except (OSError, ValueError) as error:
            raise InputError(
                f"no tracking server answers at {where} ({error}); start it, correct the address, "
                "or track in a local folder: server=null store=mlruns"
            ) from error
    store = _connect(uri, where=where, artifacts=None, answered=is_known)
    os.environ[_KNOWN_SERVER] = where
    return store


def _connect(uri: str, *, where: str, artifacts: str | None, answered: bool = True) -> Store:
    setup.import_mlflow(local=artifacts is not None)
    import mlflow
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        store = Store(client, where=where, artifacts=artifacts, answered=answered)
        store.patiently(client.search_experiments, max_results=1)
    except InputError:
        raise
    except Exception as error:  # MLflow's, SQLAlchemy's, a missing database driver
        setup.explain(error, where)
        line = setup.first_line(error)
        remedy = "correct its address, such as http://HOST:5000, or run with tracker=none"
        if found := re.search(r"out-of-date database schema \(found version (\w+)", line):
            known = Path(mlflow.__file__).parent.glob("store/db_migrations/versions/*.py")
            if not any(path.stem.startswith(found[1]) for path in known):
                raise InputError(
                    f"cannot open the tracking store {where}: MLflow's tables in it are of a newer "
                    f"version than {mlflow.__version__}; install that one, or choose another store"
                ) from error
            line = "MLflow's tables in it are of an older version"
            remedy = f"run '{setup.command('db', 'upgrade', setup.without_password(uri))}'"
        raise InputError(f"cannot open the tracking store {where}: {line}; {remedy}") from error
    return store


# Checkpoints ----------------------------------------------------------------------------------


def fetch_checkpoint(uri: str, *, root: Path, uri_server: str | None = None) -> Path:
    """Return the local folder of `runs:/<run id>/<path>`, `models:/NAME@alias` or `models:/NAME/3`.

    In the local store `root` it is used where it lies; of a tracking server, `uri_server`, which is
    asked in its place, it is copied, once in a process, to a folder that goes at exit. Raises
    InputError when the address has another form, or nothing is there.
    """
    if not (_RUN.fullmatch(uri) or _MODEL.fullmatch(uri)):
        raise InputError(
            f"cannot read the checkpoint address {uri!r}; expected 'runs:/<run id>/checkpoint' "
            "or 'models:/<name>@<alias>'"
        )
    if uri_server:
        if (uri, uri_server) not in _copies:
            _copies[uri, uri_server] = _fetch(uri, open_store(root=root, uri=uri_server))
        return _copies[uri, uri_server]
    if not setup.exists(Path(root).expanduser() / setup.DATABASE):
        raise InputError(
            f"there is no tracking store in {root} to find {uri} in; name the checkpoint's folder "
            "instead, or the store's"
        )
    return _fetch(uri, open_store(root=root))


def check_names(name: str, alias: str) -> None:
    """Raise InputError unless `models:/name@alias` is an address."""
    if not re.fullmatch(r"\w[\w.\-]{0,99}", name):
        raise InputError(
            f"train.register={name!r}; expected a name of letters, digits, '-', '_' and '.', "
            "such as han"
        )
    is_reserved = re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE)  # by MLflow
    if is_reserved or not re.fullmatch(r"[\w\-]{1,100}", alias):
        raise InputError(
            f"train.alias={alias!r}; expected a word of letters, digits, '-' and '_', such as "
            "champion, not 'latest' nor a version such as 'v2'"
        )


def register(store: Store, run_id: str, *, name: str, path: str, alias: str) -> str:
    """Make a run's checkpoint the version of `name` that `alias` points to; return its address."""
    from mlflow.exceptions import MlflowException

    source = f"runs:/{run_id}/{path}"
    try:
        if not store.patiently(store.client.list_artifacts, run_id, path):
            raise _missing(source, store)
        try:
            store.patiently(store.client.create_registered_model, name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {OPENING_TAG: uuid.uuid4().hex}

        def added() -> Any:
            versions = store.client.search_model_versions(f"name = '{name}'")
            return next((one for one in versions if tags.items() <= one.tags.items()), None)

        create = store.client.create_model_version
        version = store.once(lambda: create(name, source, run_id, tags=tags), added)
        store.again(store.client.set_registered_model_alias, name, alias, str(version.version))
    except MlflowException as error:
        raise InputError(
            f"cannot register {source} as {name!r} in the tracking store {store.where}: "
            f"{setup.first_line(error)}; it stays there, and can be loaded as checkpoint={source}"
        ) from error
    return f"models:/{name}@{alias}"


def _fetch(uri: str, store: Store) -> Path:
    """Return the folder of an address, where it lies or where it is copied to."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client, place, copied_to = store.client, uri, None
    try:
        if model := _MODEL.fullmatch(uri):
            name, version = model["name"], model["version"]
            if version is None:
                by_alias = client.get_model_version_by_alias
                version = str(store.patiently(by_alias, name, model["alias"]).version)
            place = store.patiently(client.get_model_version_download_uri, name, version)
        if run := _RUN.fullmatch(place):
            artifacts = store.patiently(client.get_run, run["run_id"]).info.artifact_uri
            place = f"{artifacts}/{run['path']}"
        if not place.startswith("file:"):
            copied_to = tempfile.mkdtemp(prefix="irdream_checkpoint_")
            atexit.register(shutil.rmtree, copied_to, ignore_errors=True)
        given = {"artifact_uri": place, "dst_path": copied_to, "tracking_uri": client.tracking_uri}
        folder = Path(store.patiently(download_artifacts, **given))
    except (MlflowException, OSError) as error:
        raise _missing(uri, store) from error
    if not folder.is_dir():
        raise _missing(uri, store)
    return folder


def _missing(uri: str, store: Store) -> InputError:
    return InputError(
        f"no checkpoint folder at {uri} in the tracking store {store.where}; see the run's "
        "artifacts, or the registered models, in the MLflow UI"
    )
