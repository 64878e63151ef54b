"""Checkpoints that live in the tracking store: fetched by address, registered under a name.

A local store's folder is used where it lies; a server's is copied, once in a process, to a
temporary folder that is removed at exit.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from irdream.errors import InputError
from irdream.tracking.mlflow_setup import DATABASE, exists, first_line
from irdream.tracking.store import OPENING_TAG, Store, open_store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_RUN = re.compile(r"runs:/(?P<run_id>\w+)/(?P<path>.+)")
_MODEL = re.compile(r"models:/(?P<name>[^@/]+)(@(?P<alias>[\w\-]+)|/(?P<version>\d+))")
_copies: dict[tuple[str, str], Path] = {}


def fetch_checkpoint(uri: str, *, root: Path, uri_server: str | None = None) -> Path:
    """Return the local folder of `runs:/<run id>/<path>`, `models:/NAME@alias` or `models:/NAME/3`.

    `root` is the folder of the local store; `uri_server` a tracking server, asked in its place.
    Raises InputError when the address has another form, or nothing is there.
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
    if not exists(Path(root).expanduser() / DATABASE):
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
        version = _add_version(name, source, run_id, store)
        store.again(store.client.set_registered_model_alias, name, alias, str(version.version))
    except MlflowException as error:
        raise InputError(
            f"cannot register {source} as {name!r} in the tracking store {store.where}: "
            f"{first_line(error)}; it stays there, and can be loaded as checkpoint={source}"
        ) from error
    return f"models:/{name}@{alias}"


def _add_version(name: str, source: str, run_id: str, store: Store) -> ModelVersion:
    tags = {OPENING_TAG: uuid.uuid4().hex}

    def added() -> ModelVersion | None:
        versions = store.client.search_model_versions(f"name = '{name}'")
        return next((one for one in versions if tags.items() <= one.tags.items()), None)

    return store.once(
        lambda: store.client.create_model_version(name, source, run_id, tags=tags), added
    )


def _fetch(uri: str, store: Store) -> Path:
    from mlflow.exceptions import MlflowException

    try:
        folder = _local_folder(uri, store)
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


def _local_folder(uri: str, store: Store) -> Path:
    from mlflow.artifacts import download_artifacts

    client = store.client
    if model := _MODEL.fullmatch(uri):
        name, version = model["name"], model["version"]
        if version is None:
            by_alias = client.get_model_version_by_alias
            version = str(store.patiently(by_alias, name, model["alias"]).version)
        uri = store.patiently(client.get_model_version_download_uri, name, version)
    if run := _RUN.fullmatch(uri):
        artifacts = store.patiently(client.get_run, run["run_id"]).info.artifact_uri
        uri = f"{artifacts}/{run['path']}"
    copied_to = None
    if not uri.startswith("file:"):
        copied_to = tempfile.mkdtemp(prefix="irdream_checkpoint_")
        atexit.register(shutil.rmtree, copied_to, ignore_errors=True)
    where = client.tracking_uri
    return Path(
        store.patiently(
            download_artifacts, artifact_uri=uri, dst_path=copied_to, tracking_uri=where
        )
    )
